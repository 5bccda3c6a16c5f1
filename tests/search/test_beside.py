"""A search over an index and photos known by their vectors alone gives what one index of all would give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seetell.core.errors import UsageError
from seetell.search.beside import Both
from seetell.search.photo_index import PhotoIndex
from seetell.tasks.context import unit
from tests.search.test_chances import model_of
from tests.search.toy_photos import draw

INDEXED = 8


@pytest.fixture(params=["memory", "disk"])
def both(request: Any, tmp_path: Path) -> Any:
    """An index of some photos, the vectors of others, and an index of all."""
    if request.param == "disk":
        pytest.importorskip("lancedb")
    for number in range(14):
        draw(tmp_path / ("photos" if number < INDEXED else "others") / f"{number:02}.png", number)

    def make(**thresholds: float) -> tuple[PhotoIndex, Any, PhotoIndex]:
        model = model_of(**thresholds)
        some = PhotoIndex(None if request.param == "memory" else tmp_path / "some.index", model)
        some.add(tmp_path / "photos")
        every = PhotoIndex(None, model)
        every.add([tmp_path / "photos", tmp_path / "others"])
        return some, model.embed_images(sorted((tmp_path / "others").iterdir())), every

    return make


def numbers(found: list[Any]) -> list[int]:
    return [int(Path(one.hit.photo).stem) if one.place is None else INDEXED + one.place for one in found]


@pytest.mark.parametrize("text", ["a dog", "a dog -water"])
def test_they_are_judged_as_if_they_were_of_the_index(both: Any, text: str) -> None:
    some, vectors, every = both()
    want = {int(Path(hit.photo).stem): hit for hit in every.search(text, k=14)}
    found = some.search_beside(text, vectors, k=14).found
    assert numbers(found) == list(want)
    for number, one in zip(numbers(found), found, strict=True):
        assert one.hit.score == pytest.approx(want[number].score, abs=1e-5)
        assert one.hit.probability == pytest.approx(want[number].probability, abs=1e-4)
        assert not one.hit.gone and (one.hit.photo == "") == (one.place is not None)
    assert [one.hit.rank for one in found] == list(range(1, 15))
    # So many of the index, and all of the others.
    few = numbers(some.search_beside(text, vectors, k=3).found)
    assert sorted(one for one in few if one >= INDEXED) == list(range(INDEXED, 14)) and len(few) == 6 + 3


def test_the_list_ends_where_an_index_of_all_would_end(both: Any) -> None:
    _, _, every = both()
    chances = [hit.probability for hit in every.search("a dog", k=14)]
    least = float(np.median(chances))
    some, vectors, _ = both(hit_below=least)
    want = {int(Path(hit.photo).stem) for hit in every.search("a dog", k=14, min_probability=least)}
    both_found = some.search_beside("a dog", vectors, k=14)
    assert set(numbers(both_found.found)) == want and 0 < len(want) < 14
    assert both_found.left_out == 14 - len(want)
    some, vectors, _ = both(nothing_below=1.0)
    assert some.search_beside("a dog", vectors, k=14) == Both([], 14)
    assert len(some.search_beside("a dog", vectors, k=14, min_probability=0).found) == 14


def test_others_like_a_photo_go_by_their_similarity(both: Any) -> None:
    some, vectors, _ = both(nothing_below=1.0)
    found = some.search_beside(vectors[2], vectors, k=5).found
    assert found[0].place == 2 and found[0].hit.score == pytest.approx(1.0, abs=1e-5)
    assert [one.hit.probability for one in found] == [None] * (5 + len(vectors))
    scores = [one.hit.score for one in found]
    assert scores == sorted(scores, reverse=True)


def test_one_of_the_two_may_be_empty(both: Any) -> None:
    some, vectors, _ = both()
    none = vectors[:0]
    alone = {hit.photo: hit.probability for hit in some.search("a dog", k=14)}
    found = some.search_beside("a dog", none, k=14).found
    assert {one.hit.photo: one.hit.probability for one in found} == pytest.approx(alone, abs=1e-4)
    empty = PhotoIndex(None, model_of())
    assert {one.place for one in empty.search_beside("a dog", vectors, k=14).found} == set(
        range(len(vectors))
    )
    assert empty.search_beside("a dog", np.zeros((0, 0), np.float32)) == Both([], 0)
    with pytest.raises(UsageError):
        some.search_beside("-water", vectors)


def test_a_copy_of_one_of_them_is_found_once(both: Any) -> None:
    some, _, every = both()
    model = model_of()
    paths = [hit.photo for hit in every.search("a dog", k=14)]
    copy = next(path for path in paths if int(Path(path).stem) < INDEXED)
    other = next(path for path in paths if int(Path(path).stem) >= INDEXED)
    vectors = model.embed_images([copy, other])
    assert len(some.search_beside("a dog", vectors, k=14).found) == INDEXED + 2
    names = [Path(copy).name, Path(other).name]
    before = some.search_beside("a dog", vectors[1:], names=names[1:], k=14).found
    # Made smaller, say.
    vectors[0] = unit(vectors[0] + 0.05 * vectors[1])
    found = some.search_beside("a dog", vectors, names=names, k=14).found
    assert [one.hit.probability for one in found] == [one.hit.probability for one in before]
    assert [one.hit.score for one in found] == [one.hit.score for one in before]
    assert sorted(one.place for one in found if one.place is not None) == [0, 1]
    assert len(found) == INDEXED + 1 and copy not in [one.hit.photo for one in found]
    # Photos of two cameras may have the same name.
    assert len(some.search_beside("a dog", vectors, names=names[::-1], k=14).found) == INDEXED + 2
