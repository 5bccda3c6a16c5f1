"""The index: what is found, in what order, and what could not be read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seetell.core.errors import TextError, UsageError
from seetell.core.results import Failure
from seetell.search.photo_index import PhotoIndex
from seetell.tasks.model import Model
from tests.runtime.toy import ToyEngine, make_manifest, make_tokenizer


@pytest.fixture(scope="module")
def model() -> Model:
    tokenizer = make_tokenizer()
    engine = ToyEngine(tokenizer.vocab_size)
    return Model(make_manifest(engine), tokenizer, engine, batch_size=3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    draw = np.random.default_rng(0)
    for number in range(7):
        place = tmp_path / ("below" if number % 2 else ".")
        place.mkdir(exist_ok=True)
        patches = draw.integers(0, 256, size=(2, 2, 3), dtype=np.uint8)
        Image.fromarray(patches.repeat(9, axis=0).repeat(9, axis=1)).save(place / f"{number}.png")
    (tmp_path / "broken.jpg").write_text("no photo")
    return tmp_path


def test_the_nearest_come_first(model: Model, folder: Path) -> None:
    index = PhotoIndex(None, model)
    done = index.add(folder)
    assert done.added == len(index) == 7
    assert [Path(one.photo).name for one in done.failures] == ["broken.jpg"]
    paths = sorted(folder.rglob("*.png"))
    cosines = model.embed_images(list(paths)) @ model.embed_texts("a dog")[0]
    hits = index.search("a dog", k=4)
    assert [hit.rank for hit in hits] == [1, 2, 3, 4]
    assert [Path(hit.photo) for hit in hits] == [paths[place] for place in np.argsort(-cosines)[:4]]
    assert [hit.score for hit in hits] == pytest.approx(np.sort(cosines)[::-1][:4].tolist(), abs=1e-5)
    assert len(index.search("a dog", k=99)) == 7


def test_a_photo_finds_itself_and_a_text_with_it_counts_half(model: Model, folder: Path) -> None:
    index = PhotoIndex(None, model)
    index.add([folder / "below", folder / "0.png"])
    (best, *_) = index.search(image=folder / "0.png")
    assert Path(best.photo) == folder / "0.png"
    assert best.score == pytest.approx(1, abs=1e-5)
    both = index.search("a dog", image=folder / "0.png", k=1)[0]
    mean = model.embed_images(folder / "0.png")[0] + model.embed_texts("a dog")[0]
    vectors = model.embed_images([both.photo])[0]
    assert both.score == pytest.approx(float(vectors @ mean / np.linalg.norm(mean)), abs=1e-5)


def test_a_photo_added_again_is_read_again(model: Model, folder: Path) -> None:
    index = PhotoIndex(None, model)
    index.add(folder)
    other = folder / "0.png"
    Image.new("RGB", (9, 9), "orange").save(other)
    index.add(other)
    assert len(index) == 7
    hit = index.search(image=other, k=1)[0]
    assert Path(hit.photo) == other
    assert hit.score == pytest.approx(1, abs=1e-5)


def test_progress(model: Model, folder: Path) -> None:
    index = PhotoIndex(None, model)
    seen = list(index.changes(folder))
    assert sum(isinstance(one, Failure) for one in seen) == 1
    assert len(seen) == 8
    assert len(index) == 7


def test_nothing_to_search(model: Model, tmp_path: Path) -> None:
    index = PhotoIndex(None, model)
    assert index.search("a dog") == []
    assert index.add(tmp_path).added == 0
    assert index.search("a dog") == []


def test_queries_that_cannot_be_meant(model: Model) -> None:
    index = PhotoIndex(None, model)
    with pytest.raises(UsageError, match="text, a photo, or both"):
        index.search()
    with pytest.raises(UsageError, match="k is at least 1"):
        index.search("a dog", k=0)
    with pytest.raises(TextError):
        index.search(" ")


def test_what_an_index_needs(model: Model) -> None:
    tokenizer = make_tokenizer()
    engine = ToyEngine(tokenizer.vocab_size, without=("image_embeds",))
    with pytest.raises(UsageError, match="toy cannot embed"):
        PhotoIndex(None, Model(make_manifest(engine), tokenizer, engine))


def test_one_photo_is_searched_by_and_no_list(model: Model, folder: Path) -> None:
    index = PhotoIndex(None, model)
    index.add(folder)
    for several in ([], [folder / "0.png"]):
        with pytest.raises(UsageError, match="one photo"):
            index.search(image=several)  # type: ignore[arg-type]  # what is tested
    with pytest.raises(UsageError, match="k is a whole number"):
        index.search("a dog", k="3")  # type: ignore[arg-type]  # what is tested
