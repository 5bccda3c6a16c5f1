"""A search says when nothing fits: hits with probabilities, and those too improbable left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seetell.core.errors import UsageError
from seetell.search.photo_index import PhotoIndex
from seetell.tasks.context import unit
from seetell.tasks.fitting import background_text
from seetell.tasks.model import Model
from tests.runtime.toy import DIM, ToyEngine, make_manifest, make_tokenizer
from tests.search.toy_photos import draw

CONTRAST = ["a cat", "a room", "a dog outside", "water", "a man", "grass", "two men"]
FIT = {"bias": 0.2, "cosine": 9.0, "contrast": -3.0, "mean": -5.0, "spread": 1.0, "skewness": 0.2}


def model_of(nothing_below: float = 0.0, hit_below: float = 0.0) -> Model:
    tokenizer = make_tokenizer()
    engine = ToyEngine(tokenizer.vocab_size)
    dim = Model(make_manifest(engine), tokenizer, engine).embed_texts(["a dog"]).shape[1]
    background = unit(np.random.default_rng(5).normal(size=(12, dim)).astype(np.float32))
    fit = {**FIT, "nothing_below": nothing_below, "hit_below": hit_below}
    score = {"search": {"en": fit}, "background": background_text(background)}
    manifest = make_manifest(engine, score=score, prompts={"contrast": {"en": CONTRAST}})
    return Model(manifest, tokenizer, engine, batch_size=3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(14):
        draw(tmp_path / "photos" / f"{number:02}.png", number)
    return tmp_path / "photos"


@pytest.fixture(params=["memory", "disk"])
def indexed(request: Any, folder: Path, tmp_path: Path) -> Any:
    """An index of the folder by a model with these thresholds."""
    if request.param == "disk":
        pytest.importorskip("lancedb")

    def make(**thresholds: float) -> PhotoIndex:
        place = None if request.param == "memory" else tmp_path / "photos.index"
        index = PhotoIndex(place, model_of(**thresholds))
        index.add(folder)
        return index

    return make


def test_a_hit_has_the_probability_that_the_model_gives(indexed: Any, folder: Path) -> None:
    index, model = indexed(), model_of()
    hits = index.search("a dog", k=4)
    (text,) = model.embed_texts(["a dog"])
    judge = model.fitting("a dog", text)
    assert judge is not None
    every = model.embed_images(sorted(folder.iterdir()))
    nearest = every[np.argsort(-(every @ text))[:10]]
    chances = sorted(judge.chances(nearest, every).tolist(), reverse=True)
    assert [hit.probability for hit in hits] == pytest.approx(chances[:4], abs=1e-4)
    assert [hit.rank for hit in hits] == [1, 2, 3, 4]
    (many,) = index.search_many(["a dog"], k=4)
    assert [hit.photo for hit in many] == [hit.photo for hit in hits]
    assert [hit.probability for hit in many] == pytest.approx([hit.probability for hit in hits])
    # What is not wanted moves the ranking, and not what is wanted.
    chance = {hit.photo: hit.probability for hit in index.search("a dog", k=14)}
    for hit in index.search("a dog -water", k=14):
        assert hit.probability == pytest.approx(chance[hit.photo], abs=1e-4)


def test_the_most_probable_comes_first_and_not_the_nearest(indexed: Any) -> None:
    index = indexed()
    (many,) = index.search_many(["a dog"], k=14)
    for hits in (index.search("a dog", k=14), many, index.search("a dog", k=14, min_probability=0)):
        chances, scores = [hit.probability for hit in hits], [hit.score for hit in hits]
        assert chances == sorted(chances, reverse=True)
        assert scores != sorted(scores, reverse=True), "else this shows nothing"
    beside = index.search_beside("a dog", np.zeros((0, DIM), np.float32), k=14)
    assert [one.hit.photo for one in beside.found] == [hit.photo for hit in many]


def test_what_is_not_wanted_counts_in_the_order(indexed: Any) -> None:
    index = indexed()
    plain = [hit.photo for hit in index.search("a dog", k=14)]
    (many,) = index.search_many(["a dog -water"], k=14)
    for hits in (index.search("a dog -water", k=14), many):
        scores = [hit.score for hit in hits]
        assert scores == sorted(scores, reverse=True)
        assert [hit.photo for hit in hits] != plain


def test_nothing_fits_where_the_best_is_improbable(indexed: Any) -> None:
    best = max(hit.probability for hit in indexed().search("a dog", k=14))
    for nothing_below, there in ((best - 1e-4, True), (best + 1e-4, False)):
        index = indexed(nothing_below=nothing_below)
        assert bool(index.search("a dog", k=3)) == there
        assert bool(index.search_many(["a dog"], k=3)[0]) == there
        assert len(index.search("a dog", k=3, min_probability=0)) == 3
    # However few are asked for, the same is said.
    assert not indexed(nothing_below=best + 1e-4).search("a dog", k=1)


def test_hits_that_are_too_improbable_are_left_out(indexed: Any) -> None:
    every = indexed().search("a dog", k=14)
    chances = [hit.probability for hit in every]
    least = float(np.median(chances))
    expected = [hit.photo for hit in every if hit.probability >= least]
    assert 0 < len(expected) < 14
    for found in (
        indexed(hit_below=least).search("a dog", k=14),
        indexed().search("a dog", k=14, min_probability=least),
        indexed().search_many(["a dog"], k=14, min_probability=least)[0],
        # What is asked for stands in place of what the bundle says.
        indexed(nothing_below=1.0).search("a dog", k=14, min_probability=least),
    ):
        assert [hit.photo for hit in found] == expected
        assert [hit.rank for hit in found] == list(range(1, len(expected) + 1))
    assert indexed().search("a dog", min_probability=1.0) == []


def test_what_has_no_probabilities_is_found_as_ever(indexed: Any, folder: Path) -> None:
    index = indexed(nothing_below=1.0)
    photo = folder / "03.png"
    for query in ({"image": photo}, {"text": "a dog", "image": photo}, {"text": "一只狗"}):
        hits = index.search(**query, k=3)
        assert [hit.probability for hit in hits] == [None] * 3
        assert len(index.search(**query, k=3, min_probability=0)) == 3
        with pytest.raises(UsageError, match="has no probabilities"):
            index.search(**query, min_probability=0.5)
    for wrong in (-0.1, 1.5, float("nan")):
        with pytest.raises(UsageError, match="between 0 and 1"):
            index.search("a dog", min_probability=wrong)


def test_an_empty_index_has_no_hits() -> None:
    assert PhotoIndex(None, model_of()).search("a dog") == []


def test_a_second_look_keeps_the_probability(indexed: Any) -> None:
    index = indexed()
    chance = {hit.photo: hit.probability for hit in index.search("a dog", k=14)}
    again = index.search("a dog", k=3, rerank=True)
    assert len(again) == 3
    for hit in again:
        assert hit.probability == pytest.approx(chance[hit.photo], abs=1e-4)
    scores = [hit.score for hit in again]
    assert scores == sorted(scores, reverse=True), "the second look has the last word"


def test_above_what_is_held_in_memory_there_are_probabilities_too(
    indexed: Any, request: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if request.node.callspec.params["indexed"] == "memory":
        pytest.skip("an index in memory holds all")
    every = {hit.photo: hit.probability for hit in indexed().search("a dog", k=14)}
    monkeypatch.setattr("seetell.search.stored_rows.EXACT_ROWS", 1)
    hits = indexed().search("a dog", k=5)
    assert len(hits) == 5
    for hit in hits:
        assert hit.probability == pytest.approx(every[hit.photo], abs=1e-3)
