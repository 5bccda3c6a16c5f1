"""The index on disk: it follows the folders, whatever is done to them, and tells whose it is."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from seetell.core.errors import ImageError, StorageError, UsageError
from seetell.core.results import Caption, Failure
from seetell.search import memory_rows, stored_rows, updating
from seetell.search.photo_index import PhotoIndex
from seetell.search.query import parse_query
from seetell.search.scan import VectorScan
from seetell.search.table import PhotoTable
from seetell.tasks.model import Model
from tests.broken_files import photo_pixels
from tests.runtime.toy import ToyEngine, make_manifest, make_tokenizer
from tests.search.toy_photos import CountingModel, draw, expected, found, make_model

pytest.importorskip("lancedb", reason="the extra `search` is not installed")


@pytest.fixture(scope="module")
def shared() -> CountingModel:
    return make_model()


@pytest.fixture
def model(shared: CountingModel) -> CountingModel:
    shared.seen = []
    return shared


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(5):
        draw(tmp_path / "photos" / ("below" if number % 2 else ".") / f"{number}.png", number)
    return tmp_path / "photos"


def test_only_what_has_changed_is_read(model: CountingModel, folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "photos.index"
    first = PhotoIndex(place, model).add(folder)
    assert (first.added, len(first.failures)) == (5, 0)
    model.seen.clear()
    index = PhotoIndex(place, model)
    assert index.add(folder).unchanged == 5
    assert model.seen == []
    assert found(index) == pytest.approx(expected(model, folder), abs=1e-5)
    draw(folder / "0.png", 50)
    draw(folder / "new.png", 51)
    (folder / "below" / "1.png").rename(folder / "moved.png")
    (folder / "2.png").unlink()
    shutil.copy2(folder / "4.png", folder / "copy.png")
    done = index.add(folder)
    assert (done.added, done.updated, done.moved, done.removed, done.unchanged) == (2, 1, 1, 1, 2)
    assert sorted(model.seen) == ["0.png", "new.png"]
    assert found(index) == pytest.approx(expected(model, folder), abs=1e-5)


def test_a_file_only_touched_is_not_embedded(model: CountingModel, folder: Path, tmp_path: Path) -> None:
    index = PhotoIndex(tmp_path / "i", model)
    index.add(folder)
    model.seen.clear()
    os.utime(folder / "0.png", (1_700_000_000, 1_700_000_000))
    assert index.add(folder).unchanged == 5
    assert model.seen == []


def test_a_photo_just_written_is_looked_at_again(model: CountingModel, tmp_path: Path) -> None:
    """Written again within one tick of the clock, at the same size, only its bytes tell."""
    photo = tmp_path / "p" / "a.png"
    draw(photo, 1)
    soon = time.time_ns() + 10**11  # however long the test takes
    os.utime(photo, ns=(soon, soon))
    stamp = photo.stat()
    index = PhotoIndex(tmp_path / "i", model)
    index.add(photo)
    draw(photo, 2)
    os.utime(photo, ns=(stamp.st_mtime_ns, stamp.st_mtime_ns))
    index.add(photo)
    assert found(index) == pytest.approx(expected(model, photo.parent), abs=1e-5)


def test_a_photo_that_changes_while_it_is_read(
    model: CountingModel, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = model.engine.run

    def changed_meanwhile(role: str, *given: Any) -> Any:
        if role == "image_encoder" and len(given[0]["pixel_values"]) == 3:
            draw(folder / "0.png", 77)
        return encode(role, *given)

    monkeypatch.setattr(model.engine, "run", changed_meanwhile)
    index = PhotoIndex(tmp_path / "i", model)
    (failure,) = index.add(folder).failures
    assert "0.png: changed while it was read" in str(failure.error)
    monkeypatch.undo()
    assert index.add(folder).added == 1
    assert found(index) == pytest.approx(expected(model, folder), abs=1e-5)


def test_names_of_every_kind(model: CountingModel, tmp_path: Path) -> None:
    folder = tmp_path / "p"
    names = [
        "猫 🐈.png",
        "e\u0301.png",
        "é.png",
        "quote'\".png",
        "new\nline.png",
        "n" * 251 + ".png",
        b"\xff\xfe.png".decode("utf-8", "surrogateescape"),
    ]
    for number, name in enumerate(names):
        draw(folder / name, number)
    index = PhotoIndex(tmp_path / "i", model)
    assert index.add(folder).added == len(names)
    assert {Path(path).name for path in found(PhotoIndex(tmp_path / "i", model))} == set(names)
    assert index.add(folder).unchanged == len(names)
    assert index.remove(folder / names[-1]) == 1


def test_an_unmounted_disk_empties_nothing(model: CountingModel, folder: Path, tmp_path: Path) -> None:
    index = PhotoIndex(tmp_path / "i", model)
    index.add(folder)
    folder.rename(tmp_path / "elsewhere")
    folder.mkdir()
    (failure,) = index.add(folder).failures
    assert failure.photo == str(folder)
    assert str(failure.error) == (
        f"{folder}: 5 indexed photos not there now, kept in the index: mount the disk, or take them out with "
        "--remove"
    )
    assert len(index) == 5
    assert index.remove(folder) == 5
    assert found(index) == {}


def test_what_cannot_be_listed_stays(
    model: CountingModel, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = PhotoIndex(tmp_path / "i", model)
    index.add(folder)
    scandir = os.scandir

    def refusing(path: Any = ".") -> Any:
        if Path(path) == folder / "below":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr("seetell.media.listing.os.scandir", refusing)
    done = index.add(folder)
    assert done.removed == 0
    assert len(done.failures) == 1
    assert len(index) == 5


def test_conditions(model: CountingModel, folder: Path, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "Canon", "Canon EOS R5\x00"
    exif.get_ifd(0x8769)[0x9003] = "2025:07:02 10:20:30"
    exif.get_ifd(0x8825).update({1: "S", 2: (33.0, 51.0, 36.0), 3: "E", 4: (151.0, 12.0, 0.0)})
    Image.new("RGB", (40, 30), "teal").save(folder / "summer.jpg", exif=exif)
    index = PhotoIndex(tmp_path / "i", model)
    index.add(folder)
    for where, names in {
        "taken > '2025-06-01' and camera like 'Canon%'": ["summer.jpg"],
        "taken < '2025-06-01'": [],
        "latitude between -33.87 and -33.85 and longitude > 151.1": ["summer.jpg"],
        "width = 40 and height = 30": ["summer.jpg"],
        "path like '%/below/%'": ["1.png", "3.png"],
    }.items():
        assert sorted(Path(hit.photo).name for hit in index.search("a dog", where=where)) == names, where
    for wrong in ("nonsense = 3", "taken >", "drop table photos"):
        with pytest.raises(UsageError, match="columns are: path"):
            index.search("a dog", where=wrong)


def test_an_index_knows_its_model(model: CountingModel, folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "i"
    PhotoIndex(place, model).add(folder)
    other = make_model(name="other", seed=5)
    with pytest.raises(UsageError, match="was made by toy, not other"):
        PhotoIndex(place, other).search("a dog")
    PhotoIndex(place, other).add(folder)
    # Side by side.
    assert found(PhotoIndex(place, other)) == pytest.approx(expected(other, folder), abs=1e-5)
    assert found(PhotoIndex(place, model)) == pytest.approx(expected(model, folder), abs=1e-5)


def test_a_model_that_has_changed_embeds_anew(model: CountingModel, folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "i"
    PhotoIndex(place, model).add(folder)
    changed = make_model(version="2", seed=9)
    with pytest.raises(UsageError, match="earlier state of toy"):
        PhotoIndex(place, changed).search("a dog")
    # Asked for a part of them, it embeds all, or the others could be found no longer.
    PhotoIndex(place, changed).add(folder / "below")
    assert found(PhotoIndex(place, changed)) == pytest.approx(expected(changed, folder), abs=1e-5)
    assert len(list(place.glob("*.lance"))) == 1


def test_many_queries_at_once_find_the_same(model: CountingModel, folder: Path, tmp_path: Path) -> None:
    index = PhotoIndex(tmp_path / "i", model)
    index.add(folder)
    texts = ["a dog", "two men", "red -blue"]
    for text, hits in zip(texts, index.search_many(texts, k=3), strict=True):
        alone = index.search(text, k=3)
        assert [hit.photo for hit in hits] == [hit.photo for hit in alone]
        assert [hit.score for hit in hits] == pytest.approx([hit.score for hit in alone], abs=1e-6)


def interrupted(index: PhotoIndex, *places: Path) -> None:
    """An update that ends after its first commit, as if its process were killed."""
    changes = index.changes(places)
    next(changes)
    changes.close()  # type: ignore[attr-defined]  # of a generator


def captioning(said: dict[str, str]) -> Callable[..., Iterator[Any]]:
    """In place of a model's ``stream``: what it says of the photos of these names; others cannot be read."""

    def caption(verb: str, photos: Any, **options: Any) -> Iterator[Any]:
        for photo in photos:
            name = Path(photo).name
            yield (
                Caption(said[name], -1.0, "en", "toy", "fp32")
                if name in said
                else Failure(photo, ImageError("missing", f"{photo}: no such file"))
            )

    return caption


def describe(model: Model, index: PhotoIndex, said: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(model, "stream", captioning(said))
        assert sum(isinstance(one, Caption) for one in index.caption()) == len(said)


def test_a_model_that_changes_twice_loses_nothing(
    model: CountingModel, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "i"
    PhotoIndex(place, model).add(folder)
    describe(model, PhotoIndex(place, model), {"0.png": "a zebra", "1.png": "a bus"}, monkeypatch)
    monkeypatch.setattr(updating, "_COMMIT_ROWS", 1)
    # Also of what only the interrupted rebuild has seen.
    draw(tmp_path / "later" / "9.png", 9)
    interrupted(PhotoIndex(place, make_model(version="2", seed=9)), tmp_path / "later")
    third = make_model(version="3", seed=11)
    index = PhotoIndex(place, third)
    interrupted(index, folder / "below")
    index.add(folder / "below")
    photos = expected(third, folder) | expected(third, tmp_path / "later")
    assert found(index) == pytest.approx(photos, abs=1e-5)
    assert len(list(place.glob("*.lance"))) == 1
    captioned = index.search("a dog", where="caption is not null", k=9)
    assert sorted(Path(hit.photo).name for hit in captioned) == ["0.png", "1.png"]
    # Their words can be looked for at once.
    hits = index.search("zebra", hybrid=True, k=1, where="path like '%png'")
    assert [Path(hit.photo).name for hit in hits] == ["0.png"]


def test_back_to_the_model_before_and_on_again(
    model: CountingModel, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, later = tmp_path / "i", make_model(version="2", seed=9)
    PhotoIndex(place, model).add(folder)
    monkeypatch.setattr(updating, "_COMMIT_ROWS", 1)
    interrupted(PhotoIndex(place, later), folder)
    index = PhotoIndex(place, model)
    describe(model, index, {f"{number}.png": "a zebra" for number in range(5)}, monkeypatch)
    # What is taken out stays out, whichever state of the model has it.
    assert index.remove(folder / "0.png") == 1
    index = PhotoIndex(place, later)
    index.add(folder / "below")
    photos = expected(later, folder)
    del photos[str(folder / "0.png")]
    assert found(index) == pytest.approx(photos, abs=1e-5)
    assert len(index.search("a dog", where="caption = 'a zebra'", k=9)) == 4


def test_a_rebuild_killed_while_its_table_was_made(
    model: CountingModel, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "i"
    PhotoIndex(place, model).add(folder)
    interrupted(PhotoIndex(place, make_model(version="2", seed=9)), folder)
    for manifest in (place / "photos-1.lance" / "_versions").iterdir():
        manifest.unlink()
    assert len(PhotoIndex(place, make_model(version="2", seed=9))) == 0
    third = make_model(version="3", seed=11)
    PhotoIndex(place, third).add(folder / "below")
    assert found(PhotoIndex(place, third)) == pytest.approx(expected(third, folder), abs=1e-5)


def test_what_was_taken_out_stays_out_of_a_rebuild(
    model: CountingModel, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, later = tmp_path / "i", make_model(version="2", seed=9)
    PhotoIndex(place, model).add(folder)
    monkeypatch.setattr(updating, "_COMMIT_ROWS", 1)
    interrupted(PhotoIndex(place, later), folder / "below")
    index = PhotoIndex(place, later)
    index.remove(folder / "0.png")
    index.add(folder / "below")
    assert sorted(Path(path).name for path in found(index)) == ["1.png", "2.png", "3.png", "4.png"]


@pytest.mark.parametrize("limit", [{"_COMMIT_ROWS": 8}, {"_COMMIT_AFTER_S": -1.0}])
def test_a_renamed_folder_is_written_bit_by_bit(
    model: CountingModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: dict[str, Any]
) -> None:
    folder, place = tmp_path / "photos", tmp_path / "i"
    for number in range(30):
        draw(folder / "old" / f"{number:02}.png", number)
    PhotoIndex(place, model).add(folder)
    (folder / "old").rename(folder / "new")
    for name, value in limit.items():
        monkeypatch.setattr(updating, name, value)
    sizes: list[int] = []
    commit = PhotoTable.commit

    def counted(self: PhotoTable, given: Any, **options: Any) -> None:
        sizes.append(len(given))
        commit(self, given, **options)

    monkeypatch.setattr(PhotoTable, "commit", counted)
    model.seen.clear()
    index = PhotoIndex(place, model)
    changes = index.changes([folder])
    assert next(changes).what == "moved"  # type: ignore[union-attr]  # no failure
    assert len(sizes) == 1
    assert max(sizes) <= 8
    changes.close()  # type: ignore[attr-defined]  # of a generator
    # As if killed: what was written stays, and nothing is lost or there twice.
    assert len(PhotoIndex(place, model)) == 30
    draw(folder / "15.png", 1000)
    done = index.add(folder)
    assert (done.moved, done.unchanged, done.added) == (30 - sizes[0], sizes[0], 1)
    assert max(sizes) <= 8 + 1  # the new one was being embedded
    assert model.seen == ["15.png"]
    assert found(index) == pytest.approx(expected(model, folder), abs=1e-5)


def test_an_index_can_be_asked_whose_it_is(model: CountingModel, folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "i"
    PhotoIndex(place, model).require_model()
    PhotoIndex(None, model).require_model()
    PhotoIndex(place, model).add(folder)
    PhotoIndex(place, model).require_model()
    with pytest.raises(UsageError, match="was made by toy, not other; search with that --model"):
        PhotoIndex(place, make_model(name="other", seed=5)).require_model()
    with pytest.raises(UsageError, match="earlier state of toy"):
        PhotoIndex(place, make_model(version="2")).require_model()


def test_searches_use_the_threads_they_are_given(
    model: CountingModel, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, scan = [], VectorScan

    def noted(shared_dim: int, threads: int | None) -> object:
        told.append(threads)
        return scan(shared_dim, threads)

    for module in (stored_rows, memory_rows):
        monkeypatch.setattr(module, "VectorScan", noted)
    for place in (tmp_path / "i", None):
        index = PhotoIndex(place, model, threads=2)
        index.add(folder)
        index.search("a dog")
    assert told == [2, 2]
    with pytest.raises(UsageError, match="threads is at least 1"):
        PhotoIndex(None, model, threads=0)


def test_what_is_no_index(model: CountingModel, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no index and holds other files"):
        PhotoIndex(folder, model)
    place = tmp_path / "i"
    PhotoIndex(place, model).add(folder)
    (place / "index.json").write_text("{")
    with pytest.raises(StorageError, match="damaged"):
        PhotoIndex(place, model)
    (place / "index.json").write_text('{"kind": "seetell-index", "format": 99, "models": []}')
    with pytest.raises(StorageError, match="newer"):
        PhotoIndex(place, model)
    assert PhotoIndex(tmp_path / "none", model).search("a dog") == []
    assert not (tmp_path / "none").exists()


# --- against a plain folder -----------------------------------------------------------------------------

NAMES = ("a.png", "b.png", "below/a.png", "below/c.png")
ACTS = st.one_of(
    st.tuples(st.just("write"), st.sampled_from(NAMES), st.integers(0, 3)),
    st.tuples(st.just("delete"), st.sampled_from(NAMES)),
    st.tuples(st.just("move"), st.sampled_from(NAMES), st.sampled_from(NAMES)),
    st.tuples(st.just("swap"), st.sampled_from(NAMES), st.sampled_from(NAMES)),
    st.tuples(st.just("index")),
    st.tuples(st.just("reopen")),
)


def act(folder: Path, what: str, *names: Any) -> None:
    path = folder / names[0]
    if what == "write":
        draw(path, names[1])
    elif path.exists():
        other = folder / names[-1]
        other.parent.mkdir(exist_ok=True)
        if what == "delete":
            path.unlink()
        elif what == "move" and other != path:
            path.replace(other)
        elif what == "swap" and other.exists() and other != path:
            aside = path.with_suffix(".aside")
            path.rename(aside)
            other.rename(path)
            aside.rename(other)
        for place in {path.parent, other.parent}:
            if not any(place.iterdir()):
                place.rmdir()  # left empty, it would look like a disk that is not mounted


@settings(max_examples=5)
@given(acts=st.lists(ACTS, min_size=4, max_size=12))
def test_it_follows_the_folder(
    shared: CountingModel, tmp_path_factory: pytest.TempPathFactory, acts: list[Any]
) -> None:
    base = tmp_path_factory.mktemp("follow")
    folder = base / "p"
    draw(folder / "stays.png", 99)
    index = PhotoIndex(base / "i", shared)
    for what, *names in [*acts, ("index",)]:
        if what == "reopen":
            index = PhotoIndex(base / "i", shared)
        elif what == "index":
            done = index.add(folder)
            photos = expected(shared, folder)
            assert found(index) == pytest.approx(photos, abs=1e-5)
            assert done.added + done.updated + done.moved + done.unchanged == len(photos)
        else:
            act(folder, what, *names)


# --- other opinions, and what is measured ----------------------------------------------------------------


def test_the_words_of_captions_count(
    model: CountingModel, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = PhotoIndex(tmp_path / "i", model)
    index.add(folder)
    captions = {
        "0.png": "a zebra drinks",
        "1.png": "two zebras run",
        "2.png": "一只斑马",
        "4.png": "a red bus",
    }
    monkeypatch.setattr(model, "stream", captioning(captions))
    said = list(index.caption())
    assert sum(isinstance(one, Failure) for one in said) == 1
    assert len(said) == 5
    assert len(list(index.caption())) == 1, "those with a caption are left alone"
    monkeypatch.undo()
    ranked = [Path(hit.photo).name for hit in index.search("zebra", k=5, hybrid=True)]
    assert set(ranked[:2]) == {"0.png", "1.png"}
    # The scores stay cosines, also of photos that captions brought in.
    scores = {hit.photo: hit.score for hit in index.search("zebra", k=5)}
    assert {hit.photo: hit.score for hit in index.search("zebra", k=5, hybrid=True)} == pytest.approx(scores)
    assert [Path(hit.photo).name for hit in index.search("a dog", where="caption like '%bus'")] == ["4.png"]
    # A moved photo keeps its caption; one that has changed loses it.
    (folder / "0.png").rename(folder / "zebra.png")
    draw(folder / "4.png", 70)
    index.add(folder)
    captioned = index.search("a dog", where="caption is not null", k=9)
    assert sorted(Path(hit.photo).name for hit in captioned) == ["1.png", "2.png", "zebra.png"]
    again = [Path(hit.photo).name for hit in index.search("zebra", k=5, hybrid=True)]
    assert set(again[:2]) == {"zebra.png", "1.png"}
    # Words that no caption has leave what the vectors find.
    for options in ({}, {"where": "caption is null"}):
        assert index.search("skyscraper", hybrid=True, **options) == index.search("skyscraper", **options)


def test_words_are_looked_for_only_where_captions_are(
    model: CountingModel, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = PhotoIndex(tmp_path / "i", model)
    assert index.search("zebra", hybrid=True) == []
    index.add(folder)
    for options in ({}, {"where": "width > 1"}):
        with pytest.raises(UsageError, match=r"no captions in this index; .*seetell index FOLDER --caption"):
            index.search("zebra", hybrid=True, **options)
    # Captioning that was ended before its last photo has left some that cannot be looked through yet.
    with monkeypatch.context() as patched:
        patched.setattr(stored_rows, "_CAPTIONED_AT_ONCE", 1)
        patched.setattr(model, "stream", captioning({"0.png": "a zebra"}))
        captions = index.caption()
        while not isinstance(next(captions), Caption):
            pass
        captions.close()  # type: ignore[attr-defined]  # of a generator
    with pytest.raises(UsageError, match=r"captions in this index are not complete; .*--caption"):
        index.search("zebra", hybrid=True)
    describe(model, index, {"4.png": "a bus"}, monkeypatch)
    assert len(index.search("skyscraper", hybrid=True)) == 5
    # Those with captions go.
    with_captions = [hit.photo for hit in index.search("a dog", where="caption is not null")]
    assert index.remove(with_captions) == 2
    with pytest.raises(UsageError, match="no captions in this index"):
        index.search("zebra", hybrid=True)
    assert index.remove(folder) == 3
    assert index.search("zebra", hybrid=True) == []


def test_the_matching_head_ranks_again(model: CountingModel, folder: Path, tmp_path: Path) -> None:
    index = PhotoIndex(tmp_path / "i", model)
    index.add(folder)
    gone = folder / "2.png"
    gone.unlink()
    hits = index.search("a dog", k=3, rerank=True)
    fits = {
        str(path): model.match(path, ["a dog"])[0].probability
        for path in folder.rglob("*.png")
        if path != gone
    }
    assert [hit.photo for hit in hits] == sorted(fits, key=lambda path: -(fits[path] or 0))[:3]
    assert [hit.score for hit in hits] == pytest.approx([fits[hit.photo] for hit in hits], abs=1e-5)
    with pytest.raises(UsageError, match="give one"):
        index.search(image=folder / "0.png", rerank=True)
    engine = ToyEngine(300, without=("match_logits",))
    headless = Model(make_manifest(engine), make_tokenizer(), engine)
    memory = PhotoIndex(None, headless)
    memory.add(folder)
    with pytest.raises(UsageError, match="no matching head"):
        memory.search("a dog", rerank=True)


def test_photos_that_look_alike(model: CountingModel, tmp_path: Path) -> None:
    folder = tmp_path / "p"
    folder.mkdir()
    for seed in range(4):
        Image.fromarray(photo_pixels(seed, 240, 320)).save(folder / f"{seed}.png")
    one = Image.open(folder / "1.png")
    one.resize((160, 120)).save(folder / "1-small.png")
    one.save(folder / "1-again.jpg", quality=60)
    shutil.copy(folder / "2.png", folder / "2-copy.png")
    index = PhotoIndex(tmp_path / "i", model)
    index.add(folder)
    (alike, same) = index.duplicates()
    assert [Path(path).name for path in alike[1:]].count("1-small.png") == 1
    assert sorted(Path(path).name for path in alike) == ["1-again.jpg", "1-small.png", "1.png"]
    assert sorted(Path(path).name for path in same) == ["2-copy.png", "2.png"]


def test_what_check_measures(
    model: CountingModel, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = PhotoIndex(tmp_path / "i", model)
    index.add(folder)
    measured = index.check(k=3, queries=4)
    assert (measured.photos, measured.recall_by_photo, measured.recall_by_text) == (5, 1.0, 1.0)
    nearest = stored_rows.StoredRows.nearest

    def forgetful(self: Any, vectors: Any, k: int, where: Any) -> Any:
        return [found[: k - 1] for found in nearest(self, vectors, k, where)]

    monkeypatch.setattr(stored_rows.StoredRows, "nearest", forgetful)
    measured = index.check(k=3, queries=4)
    assert measured.recall_by_photo == measured.recall_by_text == pytest.approx(2 / 3)


def test_beyond_what_is_scanned(
    model: CountingModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "p"
    for seed in range(400):
        draw(folder / f"{seed:03}.png", seed)
    index = PhotoIndex(tmp_path / "i", model)
    index.add(folder)
    exact = index.search("a dog", k=5)
    monkeypatch.setattr(stored_rows, "EXACT_ROWS", 100)
    # Without an index LanceDB scores every row.
    hits = index.search("a dog", k=5)
    assert [hit.photo for hit in hits] == [hit.photo for hit in exact]
    assert [hit.score for hit in hits] == pytest.approx([hit.score for hit in exact], abs=1e-5)
    draw(folder / "new.png", 1000)
    index.add(folder)
    assert PhotoIndex(tmp_path / "i", model).check(k=5, queries=40).recall_by_photo >= 0.9
    (hit,) = index.search("a dog", where="path like '%new.png'")
    assert Path(hit.photo).name == "new.png"
    with pytest.raises(UsageError, match="columns are"):
        index.search("a dog", where="nonsense = 1")


# --- a user's text is no program's syntax ----------------------------------------------------------------


@pytest.fixture
def captioned(
    model: CountingModel, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> PhotoIndex:
    index = PhotoIndex(tmp_path / "i", model)
    index.add(folder)
    said = {
        "0.png": "two dogs run",
        "1.png": "a zebra",
        "2.png": "a bus",
        "3.png": "a cat",
        "4.png": "people",
    }
    describe(model, index, said, monkeypatch)
    return index


@pytest.mark.parametrize(
    "text",
    [
        '"two dogs"',
        "“two dogs”",
        'dogs in a "sign',
        "+dogs AND (OR NOT",
        "dogs* ~2 ^3 [x TO y]",
        "caption:dogs",
        "dogs\ttwo\nrun",
        "dogs \udcff",
        "dogs -people",
        "dogs –people",
        "\\ {dogs}",
    ],
)
@pytest.mark.parametrize("where", [None, "width > 1"])
def test_words_are_looked_for_as_they_are(captioned: PhotoIndex, text: str, where: str | None) -> None:
    assert len(captioned.search(text, hybrid=True, k=5, where=where)) == 5
    rows = captioned._rows
    assert isinstance(rows, stored_rows.StoredRows)
    wanted = parse_query(text, None).wanted
    assert wanted is not None
    (best, *_) = rows.matching(wanted, rows._model.embed_texts([text])[0], 5, where)
    assert Path(best.path).name == "0.png"


def test_signs_alone_are_no_words(captioned: PhotoIndex) -> None:
    for text in ('"', "“”", "...", "🐕"):
        assert captioned.search(text, hybrid=True) == captioned.search(text)


def test_what_is_wrong_with_a_query_is_told_of_it(
    captioned: PhotoIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lancedb.query import PhraseQuery

    monkeypatch.setattr("lancedb.query.MatchQuery", PhraseQuery)  # which our index of captions cannot answer
    with pytest.raises(UsageError, match=r"the words of 'zebra' cannot be looked for \("):
        captioned.search("zebra", hybrid=True)
    for where in ("nonsense = 1", "path like", "path = '\udcff'", "1"):
        with pytest.raises(UsageError, match=r"^where .*the columns are: path"):
            captioned.search("zebra", where=where)


def test_damage_is_told_of_the_index(captioned: PhotoIndex, tmp_path: Path) -> None:
    for file in (tmp_path / "i" / "photos-0.lance" / "data").iterdir():
        file.unlink()
    for options in ({}, {"where": "width > 1"}, {"hybrid": True}, {"hybrid": True, "where": "width > 1"}):
        with pytest.raises(StorageError, match=r"/i cannot be read \("):
            captioned.search("zebra", **options)


# --- folders of every name -------------------------------------------------------------------------------


@pytest.mark.skipif(os.name != "posix", reason="names of POSIX")
@pytest.mark.parametrize(
    "name",
    [
        "line\nbreak",
        "tab\t",
        "bell\x07",
        b"caf\xe9".decode("utf-8", "surrogateescape"),
        "a%20b #?",
        "照片\u3000",
    ],
)
def test_folders_of_every_name(
    model: CountingModel, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, place = tmp_path / name / "photos", tmp_path / name / "photos.index"
    for number in range(3):
        draw(folder / f"{number}.png", number)
    index = PhotoIndex(place, model)
    assert index.add(folder).added == 3
    describe(model, index, {f"{number}.png": "a zebra" for number in range(3)}, monkeypatch)
    (folder / "0.png").rename(folder / "moved.png")
    (folder / "1.png").unlink()
    done = PhotoIndex(place, model).add(folder)
    assert (done.moved, done.removed, done.unchanged) == (1, 1, 1)
    assert found(PhotoIndex(place, model)) == pytest.approx(expected(model, folder), abs=1e-5)
    assert len(PhotoIndex(place, model).search("zebra", hybrid=True)) == 2
    assert PhotoIndex(place, model).duplicates() == []
    # And moved to a name of the usual kind, together.
    plain = (tmp_path / name).rename(tmp_path / "plain")
    assert set(found(PhotoIndex(plain / "photos.index", model))) == set(expected(model, plain / "photos"))
