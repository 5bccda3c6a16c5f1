"""Files of the same bytes count as one photo in a search, unless all are asked for."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from seetell.core.results import Caption
from seetell.search import stored_rows
from seetell.search.photo_index import PhotoIndex
from tests.search.toy_photos import CountingModel, draw, make_model

pytest.importorskip("lancedb", reason="the extra `search` is not installed")

TEXT = "a dog"


@pytest.fixture(scope="module")
def model() -> CountingModel:
    return make_model()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six photos, of which the one that comes first has five copies in other folders."""
    folder = tmp_path / "photos"
    for number in range(6):
        draw(folder / f"{number}.png", number)
    return folder


def ranked(model: CountingModel, folder: Path) -> list[str]:
    """The names of the six, best first, scored one by one."""
    scores = {
        path.name: float(model.embed_images(path)[0] @ model.embed_texts(TEXT)[0])
        for path in sorted(folder.glob("*.png"))
    }
    return sorted(scores, key=lambda name: -scores[name])


def with_copies(model: CountingModel, folder: Path) -> list[str]:
    names = ranked(model, folder)
    for number in range(5):
        copy = folder / f"backup-{number}" / names[0]
        copy.parent.mkdir()
        shutil.copy2(folder / names[0], copy)
    return names


def names_of(hits: Any) -> list[str]:
    return [Path(hit.photo).name for hit in hits]


@pytest.fixture(params=["disk", "memory", "beyond what is scanned"])
def index(
    request: pytest.FixtureRequest, model: CountingModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> PhotoIndex:
    if request.param == "beyond what is scanned":
        monkeypatch.setattr(stored_rows, "EXACT_ROWS", 0)
        monkeypatch.setattr(stored_rows.PhotoTable, "index_vectors", lambda self: None)  # too few to train it
    return PhotoIndex(None if request.param == "memory" else tmp_path / "i", model)


def test_five_copies_are_one_photo(index: PhotoIndex, model: CountingModel, folder: Path) -> None:
    names = with_copies(model, folder)
    index.add(folder)
    assert len(index) == 11
    assert names_of(index.search(TEXT, k=5)) == names[:5]
    assert names_of(index.search(TEXT, k=100)) == names
    assert [names_of(hits) for hits in index.search_many([TEXT, TEXT], k=2)] == [names[:2]] * 2
    assert names_of(index.search(image=folder / names[0], k=1)) == names[:1]


def test_all_copies_when_asked(index: PhotoIndex, model: CountingModel, folder: Path) -> None:
    names = with_copies(model, folder)
    index.add(folder)
    assert names_of(index.search(TEXT, k=5, all_copies=True)) == [names[0]] * 5
    everything = index.search(TEXT, k=100, all_copies=True)
    assert names_of(everything) == [names[0]] * 6 + names[1:]
    assert len({hit.photo for hit in everything}) == 11
    (many,) = index.search_many([TEXT], k=7, all_copies=True)
    assert many == everything[:7]


def test_a_copy_that_is_still_there_is_shown(index: PhotoIndex, model: CountingModel, folder: Path) -> None:
    names = with_copies(model, folder)
    index.add(folder)
    first = index.search(TEXT, k=3)[0].photo
    Path(first).unlink()
    (hit, *_) = index.search(TEXT, k=3)
    assert (Path(hit.photo).name, hit.gone, hit.photo == first) == (names[0], False, False)


def test_photos_that_only_look_the_same_are_several(index: PhotoIndex, tmp_path: Path) -> None:
    draw(tmp_path / "p" / "a.png", 1)
    # The same pixels in a file of other bytes.
    (tmp_path / "p" / "b.png").write_bytes((tmp_path / "p" / "a.png").read_bytes() + b"\0")
    index.add(tmp_path / "p")
    assert len(index.search(TEXT, k=5)) == 2


def test_words_of_captions_and_the_matching_head_count_copies_once(
    model: CountingModel, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = with_copies(model, folder)
    index = PhotoIndex(tmp_path / "i", model)
    index.add(folder)

    def caption(verb: str, photos: Any, **options: Any) -> Any:
        for photo in photos:
            text = "a zebra" if Path(photo).name == names[0] else "a bus"
            yield Caption(text, -1.0, "en", "toy", "fp32")

    with monkeypatch.context() as patched:
        patched.setattr(model, "stream", caption)
        list(index.caption())
    assert sorted(names_of(index.search("zebra", hybrid=True, k=6))) == sorted(names)
    assert names_of(index.search("zebra", hybrid=True, k=6, all_copies=True)) == [names[0]] * 6
    assert sorted(names_of(index.search(TEXT, rerank=True, k=6))) == sorted(names)
