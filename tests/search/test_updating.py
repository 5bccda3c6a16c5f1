"""What an update reads, and what it reports: copies, files that cannot be read, photos that have moved."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from seetell.core.results import Failure
from seetell.media.images import MAX_FILE_BYTES
from seetell.search import details, remembered, updating
from seetell.search.details import read_file
from seetell.search.photo_index import PhotoIndex
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
        draw(tmp_path / "photos" / f"{number}.png", number)
    return tmp_path / "photos"


def write_old(path: Path, data: bytes) -> None:
    """Long ago, so that its time can be trusted."""
    path.write_bytes(data)
    os.utime(path, (1_600_000_000, 1_600_000_000))


@pytest.fixture
def broken(folder: Path) -> list[str]:
    """Names of files that cannot be read, each in its way."""
    good = (folder / "0.png").read_bytes()
    for name, data in {
        "cut.png": good[: len(good) // 2],
        "empty.jpg": b"",
        "letter.jpg": b"Dear reader,",
        "phone.heic": b"\x00\x00\x00\x18ftypheic" + bytes(3000),
        "damaged.png": good[:40] + bytes(len(good) - 40),
    }.items():
        write_old(folder / name, data)
    return ["cut.png", "damaged.png", "empty.jpg", "letter.jpg", "phone.heic"]


# --- files that cannot be read --------------------------------------------------------------------------


def failed(failures: tuple[Failure, ...]) -> list[str]:
    return sorted(Path(one.photo).name for one in failures)


def test_they_are_told_of_once_and_counted_from_then_on(
    model: CountingModel, folder: Path, broken: list[str], tmp_path: Path
) -> None:
    index = PhotoIndex(tmp_path / "i", model)
    done = index.add(folder)
    assert (done.added, failed(done.failures), done.failed_before) == (5, broken, 0)
    model.seen.clear()
    for _ in range(2):
        done = PhotoIndex(tmp_path / "i", model).add(folder)
        assert (done.unchanged, done.failures, done.failed_before) == (5, (), 5)
    assert model.seen == []
    assert [one.photo for one in index.changes(folder) if one.what == "failed_before"] == [  # type: ignore[union-attr]
        str(folder / name) for name in broken
    ]


def test_they_are_not_even_opened_again(
    model: CountingModel, folder: Path, broken: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = PhotoIndex(tmp_path / "i", model)
    index.add(folder)
    opened: list[str] = []
    monkeypatch.setattr(details, "read_file", lambda path: opened.append(path) or read_file(path))
    index.add(folder)
    assert opened == []


def test_one_that_has_changed_is_tried_again(
    model: CountingModel, folder: Path, broken: list[str], tmp_path: Path
) -> None:
    index = PhotoIndex(tmp_path / "i", model)
    index.add(folder)
    draw(folder / "cut.png", 30)
    write_old(folder / "letter.jpg", b"Dear other reader,")
    (folder / "empty.jpg").unlink()
    done = index.add(folder)
    assert (done.added, failed(done.failures), done.failed_before) == (1, ["letter.jpg"], 2)
    assert index.add(folder).failed_before == 3
    # Back with the same size and time, it is known no more.
    write_old(folder / "empty.jpg", b"")
    assert failed(index.add(folder).failures) == ["empty.jpg"]


def test_all_are_tried_again_when_asked(
    model: CountingModel, folder: Path, broken: list[str], tmp_path: Path
) -> None:
    index = PhotoIndex(tmp_path / "i", model)
    index.add(folder)
    done = index.add(folder, retry=True)
    assert (done.unchanged, failed(done.failures), done.failed_before) == (5, broken, 0)
    assert index.add(folder).failed_before == 5


def test_what_is_taken_out_is_told_of_again(
    model: CountingModel, folder: Path, broken: list[str], tmp_path: Path
) -> None:
    index = PhotoIndex(tmp_path / "i", model)
    index.add(folder)
    index.remove(folder / "cut.png")
    done = index.add(folder)
    assert (failed(done.failures), done.failed_before) == (["cut.png"], 4)


@pytest.mark.parametrize("what", ["version", "limit"])
def test_another_reader_tries_them_again(
    model: CountingModel,
    folder: Path,
    broken: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
) -> None:
    """A newer seetell or Pillow, an extra that was installed, another limit may read them."""
    index = PhotoIndex(tmp_path / "i", model)
    index.add(folder)
    if what == "version":
        monkeypatch.setattr(remembered.PIL, "__version__", "99.0")
    else:
        monkeypatch.setenv("SEETELL_MAX_PIXELS", "1000000")
    assert failed(index.add(folder).failures) == broken
    assert index.add(folder).failed_before == 5


def test_what_may_pass_is_not_remembered(
    model: CountingModel, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = PhotoIndex(tmp_path / "i", model)
    (folder / "gone.jpg").symlink_to(folder / "nowhere.jpg")
    (folder / "just-now.jpg").write_bytes(b"being written")
    soon = time.time() + 100  # however long the test takes
    os.utime(folder / "just-now.jpg", (soon, soon))
    for _ in range(2):
        done = index.add(folder)
        assert (failed(done.failures), done.failed_before) == (["gone.jpg", "just-now.jpg"], 0)

    def no_memory(*_: object) -> Any:
        raise MemoryError

    monkeypatch.setattr("seetell.media.images.from_pillow", no_memory)
    draw(folder / "large.png", 8)
    for _ in range(2):
        assert "large.png" in failed(index.add(folder).failures)
    monkeypatch.undo()
    assert index.add(folder).added == 1


def test_a_photo_that_is_spoilt_leaves_the_index(
    model: CountingModel, folder: Path, broken: list[str], tmp_path: Path
) -> None:
    index = PhotoIndex(tmp_path / "i", model)
    index.add(folder)
    for name in ("cut.png", "damaged.png", "letter.jpg"):
        shutil.copy2(folder / name, folder / "0.png")
        os.utime(folder / "0.png", (1_600_000_900, 1_600_000_900))
        assert failed(index.add(folder).failures) == ["0.png"]
        assert str(folder / "0.png") not in found(index)
        draw(folder / "0.png", 0)
        assert index.add(folder).added == 1


def test_only_the_beginning_is_read_of_what_is_no_image(tmp_path: Path) -> None:
    video = tmp_path / "holiday.jpg"
    with open(video, "wb") as file:
        file.write(b"\x00\x00\x00\x18ftypisom")
        file.truncate(MAX_FILE_BYTES)  # a hole, which would take its time to hash
    read = read_file(str(video))
    assert read.sha256 is None and read.stamp is not None
    draw(tmp_path / "photo.png", 1)
    assert read_file(str(tmp_path / "photo.png")).sha256 is not None


# --- copies ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [512, 2])
def test_copies_within_one_run_are_embedded_once(
    model: CountingModel, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    monkeypatch.setattr(updating, "_COMMIT_ROWS", rows)
    for number in range(12):
        shutil.copy2(folder / f"{number % 3}.png", folder / f"copy-{number:02}.png")
    index = PhotoIndex(tmp_path / "i", model)
    assert index.add(folder).added == 17
    assert sorted(model.seen) == ["0.png", "1.png", "2.png", "3.png", "4.png"]
    assert found(index) == pytest.approx(expected(model, folder), abs=1e-5)


def test_copies_of_what_cannot_be_read_each_have_their_line(
    model: CountingModel, folder: Path, tmp_path: Path
) -> None:
    data = (folder / "0.png").read_bytes()[:70]
    for name in ("a.png", "b.png", "c.png"):
        write_old(folder / name, data)
    done = PhotoIndex(tmp_path / "i", model).add(folder)
    assert [str(one.error) for one in sorted(done.failures, key=lambda one: one.photo)] == [
        f"{folder / name}: the file is cut off; copy or download it again"
        for name in ("a.png", "b.png", "c.png")
    ]
    assert len([name for name in model.seen if name in ("a.png", "b.png", "c.png")]) == 1
    assert PhotoIndex(tmp_path / "i", model).add(folder).failed_before == 3


def test_a_copy_of_a_photo_that_changes_while_it_is_read(
    model: CountingModel, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("copy-1.png", "copy-2.png"):
        shutil.copy2(folder / "0.png", folder / name)
    encode = model.engine.run

    def changed_meanwhile(role: str, *given: Any) -> Any:
        if role == "image_encoder" and model.seen[-1:] == ["4.png"]:
            draw(folder / "0.png", 77)
        return encode(role, *given)

    monkeypatch.setattr(model.engine, "run", changed_meanwhile)
    index = PhotoIndex(tmp_path / "i", model)
    done = index.add(folder)
    assert (done.added, failed(done.failures)) == (6, ["0.png"])
    monkeypatch.undo()
    assert index.add(folder).added == 1
    assert found(index) == pytest.approx(expected(model, folder), abs=1e-5)


def test_a_copy_of_one_of_two_that_changed(model: CountingModel, folder: Path, tmp_path: Path) -> None:
    """The other still has the bytes, so they are known."""
    shutil.copy2(folder / "0.png", folder / "same.png")
    index = PhotoIndex(tmp_path / "i", model)
    index.add(folder)
    model.seen.clear()
    draw(folder / "same.png", 60)
    index.add(folder)
    shutil.copy2(folder / "0.png", folder / "another.png")
    index.add(folder)
    assert model.seen == ["same.png"]
    assert found(index) == pytest.approx(expected(model, folder), abs=1e-5)


def test_copies_are_captioned_once(
    model: CountingModel, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        shutil.copy2(folder / "0.png", folder / f"copy-{number}.png")
    index = PhotoIndex(tmp_path / "i", model)
    index.add(folder)
    captioned: list[str] = []
    stream = model.stream

    def counted(verb: str, photos: Any, **options: Any) -> Iterator[Any]:
        def noted() -> Iterator[str]:
            for photo in photos:
                captioned.append(photo)
                yield photo

        return stream(verb, noted(), **options)

    monkeypatch.setattr(model, "stream", counted)
    assert len(list(index.caption("en"))) == 8
    assert len(captioned) == 5
    assert len(index.search("a dog", where="caption is not null", k=9, all_copies=True)) == 8


# --- moves ----------------------------------------------------------------------------------------------


def test_of_photos_with_the_same_bytes_each_keeps_its_name(
    model: CountingModel, folder: Path, tmp_path: Path
) -> None:
    for name in ("x.png", "y.png"):
        shutil.copy2(folder / "0.png", folder / name)
    index = PhotoIndex(tmp_path / "i", model)
    index.add(folder)
    known = {hit.photo for hit in index.search("a dog", k=9, all_copies=True)}
    (folder / "new").mkdir()
    for name in ("y.png", "x.png", "0.png"):
        (folder / name).rename(folder / "new" / name)
    done = index.add(folder)
    assert (done.moved, done.added, done.removed, len(known)) == (3, 0, 0, 7)
    assert found(index) == pytest.approx(expected(model, folder), abs=1e-5)


def test_one_gone_and_two_new_of_the_same_bytes(model: CountingModel, folder: Path, tmp_path: Path) -> None:
    index = PhotoIndex(tmp_path / "i", model)
    index.add(folder)
    model.seen.clear()
    shutil.copy2(folder / "0.png", folder / "copy.png")
    (folder / "0.png").rename(folder / "moved.png")
    done = index.add(folder)
    assert (done.moved, done.added, done.removed, model.seen) == (1, 1, 0, [])
    assert found(index) == pytest.approx(expected(model, folder), abs=1e-5)


@pytest.mark.slow
def test_many_folders_named_one_by_one(model: CountingModel, tmp_path: Path) -> None:
    """What an index of years of months does: nothing changed, some deleted, many taken out by name."""
    folders = [tmp_path / "photos" / f"{number:03}" for number in range(80)]
    for number in range(2400):
        draw(folders[number % 80] / f"{number}.png", number)
    index = PhotoIndex(tmp_path / "i", model)
    assert index.add(folders).added == 2400
    model.seen.clear()
    assert index.add(folders).unchanged == 2400
    every = sorted(path for one in folders for path in one.iterdir())
    for path in every[::8]:
        path.unlink()
    done = index.add(folders)
    assert (done.removed, done.unchanged, done.failures) == (300, 2100, ())
    assert index.remove(every[1::8]) == 300
    assert model.seen == []
    left = {str(path) for number, path in enumerate(every) if number % 8 > 1}
    assert set(found_many(index)) == left


def found_many(index: PhotoIndex) -> list[str]:
    return [hit.photo for hit in index.search("a dog", k=5000, all_copies=True)]
