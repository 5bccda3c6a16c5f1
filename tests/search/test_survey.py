"""What is gone from a folder and what only cannot be seen: disks that are not mounted, hidden pictures, and
what was named outright."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seetell.core.errors import UsageError
from seetell.core.results import Caption, Failure
from seetell.media import listing
from seetell.search.paths import Below
from seetell.search.photo_index import Added, PhotoIndex
from tests.search.toy_photos import CountingModel, draw, found, make_model

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
    """Two photos, and three more in a folder that may be a disk of its own."""
    for number in range(5):
        draw(tmp_path / "photos" / ("disk" if number > 1 else ".") / f"{number}.png", number)
    return tmp_path / "photos"


def names(index: PhotoIndex) -> list[str]:
    return sorted(Path(path).name for path in found(index))


def caption_all(model: CountingModel, index: PhotoIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    def caption(verb: str, photos: Any, **options: Any) -> Any:
        for photo in photos:
            yield Caption(f"a zebra in {Path(photo).stem}", -1.0, "en", "toy", "fp32")

    with monkeypatch.context() as patched:
        patched.setattr(model, "stream", caption)
        list(index.caption())


def captions(index: PhotoIndex) -> dict[str, str]:
    """By name of the photo, as conditions find them."""
    said = {}
    for name in names(index):
        stem = Path(name).stem
        if index.search("a dog", where=f"caption = 'a zebra in {stem}' and path like '%/{name}'"):
            said[name] = f"a zebra in {stem}"
    return said


def away(folder: Path) -> Path:
    return folder.rename(folder.parent.parent / "away")


def emptied(folder: Path) -> tuple[Path, Callable[[], None]]:
    """A disk that was mounted at ``disk`` is not; how it comes back."""
    disk = folder / "disk"
    kept = away(disk)
    disk.mkdir()

    def back() -> None:
        disk.rmdir()
        kept.rename(disk)

    return disk, back


def dangling(folder: Path) -> tuple[Path, Callable[[], None]]:
    """A link to it leads nowhere."""
    disk = folder / "disk"
    kept = away(disk)
    disk.symlink_to(kept)
    elsewhere = kept.rename(kept.with_name("gone"))
    return disk, lambda: (elsewhere.rename(kept), None)[1]


@pytest.mark.skipif(os.name != "posix", reason="links of POSIX")
@pytest.mark.parametrize("unmount", [emptied, dangling])
def test_a_disk_that_is_not_mounted_keeps_its_photos_and_is_named(
    model: CountingModel,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    unmount: Callable[[Path], tuple[Path, Callable[[], None]]],
) -> None:
    index = PhotoIndex(tmp_path / "i", model)
    index.add(folder)
    caption_all(model, index, monkeypatch)
    disk, back = unmount(folder)
    (folder / "0.png").unlink()
    draw(folder / "new.png", 9)
    for removed, added in ((1, 1), (0, 0)):
        done = index.add(folder)
        assert (done.removed, done.added) == (removed, added), "the rest is brought up to date"
        (failure,) = done.failures
        assert failure.photo == str(disk)
        assert str(failure.error).startswith(f"{disk}: 3 indexed photos not there now, kept in the index")
        assert failure.error.kind == "missing"
    assert names(index) == ["1.png", "2.png", "3.png", "4.png", "new.png"]
    assert [Path(hit.photo).name for hit in index.search("a dog", k=9) if not hit.gone] != []
    assert sum(hit.gone for hit in index.search("a dog", k=9)) == 3
    back()
    model.seen.clear()
    done = index.add(folder)
    assert (done.unchanged, done.failures, model.seen) == (5, (), [])
    assert captions(index).keys() == {"1.png", "2.png", "3.png", "4.png"}


def test_its_photos_leave_the_index_with_remove(model: CountingModel, folder: Path, tmp_path: Path) -> None:
    index = PhotoIndex(tmp_path / "i", model)
    index.add(folder)
    disk, _ = emptied(folder)
    assert index.remove(disk) == 3
    assert index.add(folder) == Added(0, (), unchanged=2)


def test_one_of_several_folders(model: CountingModel, folder: Path, tmp_path: Path) -> None:
    """The others are brought up to date all the same."""
    draw(tmp_path / "more" / "9.png", 9)
    index = PhotoIndex(tmp_path / "i", model)
    index.add([folder / "disk", tmp_path / "more"])
    emptied(folder)
    (folder / "disk" / "notes.txt").write_text("not a photo")
    draw(tmp_path / "more" / "10.png", 10)
    done = index.add([folder / "disk", tmp_path / "more"])
    assert (done.added, done.unchanged, done.removed) == (1, 1, 0)
    assert [failure.photo for failure in done.failures] == [str(folder / "disk")]


@pytest.mark.parametrize("small_disk", ["1m"], indirect=True)
def test_another_disk_in_its_place(model: CountingModel, tmp_path: Path, small_disk: Path) -> None:
    for number in range(3):
        draw(small_disk / "dcim" / f"{number}.png", number)
    draw(tmp_path / "9.png", 9)
    index = PhotoIndex(tmp_path / "i", model)
    index.add([tmp_path / "9.png", small_disk])
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small_disk)], check=True)
    try:
        draw(small_disk / "other.png", 50)
        done = index.add(small_disk)
        assert (done.added, done.removed) == (1, 0)
        assert [failure.photo for failure in done.failures] == [str(small_disk)]
    finally:
        subprocess.run(["umount", str(small_disk)], check=True)
    assert index.add(small_disk).unchanged == 3
    # What is deleted on a disk that is there goes as anywhere.
    (small_disk / "dcim" / "0.png").unlink()
    assert index.add(small_disk).removed == 1


def test_photos_deleted_with_their_folder_go(model: CountingModel, folder: Path, tmp_path: Path) -> None:
    index = PhotoIndex(tmp_path / "i", model)
    index.add(folder)
    away(folder / "disk")
    done = index.add(folder)
    assert (done.removed, done.failures) == (3, ())


def test_captions_come_back_with_their_photos(
    model: CountingModel, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = PhotoIndex(tmp_path / "i", model)
    index.add(folder)
    caption_all(model, index, monkeypatch)
    kept = away(folder / "disk")  # deleted, as far as can be told
    original = (folder / "0.png").read_bytes()
    draw(folder / "0.png", 40)  # edited
    index.add(folder)
    assert captions(index) == {"1.png": "a zebra in 1"}
    (folder / "1.png").write_bytes(original[:60])  # spoilt by a copy that was broken off
    os.utime(folder / "1.png", (1_600_000_500, 1_600_000_500))
    second = (folder / "1.png").stat().st_mtime
    assert len(PhotoIndex(tmp_path / "i", model).add(folder).failures) == 1
    kept.rename(folder / "disk")
    (folder / "0.png").write_bytes(original)
    draw(folder / "1.png", 1)
    assert (folder / "1.png").stat().st_mtime != second
    PhotoIndex(tmp_path / "i", model).add(folder)
    assert captions(index) == {f"{number}.png": f"a zebra in {number}" for number in range(5)}
    # Their words are found as before.
    assert len(index.search("zebra", hybrid=True, k=9)) == 5


def test_what_is_removed_is_forgotten(
    model: CountingModel, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = PhotoIndex(tmp_path / "i", model)
    index.add(folder)
    caption_all(model, index, monkeypatch)
    kept = away(folder / "disk")
    index.add(folder)  # their captions are remembered
    assert index.remove(folder / "disk") == 0
    assert index.remove(folder / "0.png") == 1
    kept.rename(folder / "disk")
    index.add(folder)
    assert captions(index) == {"1.png": "a zebra in 1"}
    assert "zebra in 2" not in "".join(path.read_text() for path in (tmp_path / "i").glob("*.json"))


def test_a_model_that_changes_while_a_disk_is_away(
    model: CountingModel, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "i"
    PhotoIndex(place, model).add(folder)
    caption_all(model, PhotoIndex(place, model), monkeypatch)
    disk, back = emptied(folder)
    later = make_model(version="2", seed=9)
    index = PhotoIndex(place, later)
    (failure,) = index.add(folder).failures
    assert failure.photo == str(disk)
    assert "3 photos that an earlier state of the model had seen" in str(failure.error)
    assert names(index) == ["0.png", "1.png"]
    back()
    assert index.add(folder).added == 3
    assert captions(index).keys() == {f"{number}.png" for number in range(5)}


def test_photos_that_are_away_are_not_captioned_and_not_complained_about(
    model: CountingModel, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = PhotoIndex(tmp_path / "i", model)
    index.add(folder)
    emptied(folder)
    said = list(index.caption("en"))
    assert [type(one) for one in said] == [Caption, Caption]


# --- hidden pictures, and what is named -----------------------------------------------------------------

HIDDEN = (".trashed-1712-a.jpg.png", ".thumbnails/1.png", "@eaDir/0.png/THUMB.png", "$RECYCLE.BIN/9.png")


@pytest.fixture
def with_hidden(folder: Path) -> Path:
    for number, name in enumerate(HIDDEN, 20):
        draw(folder / name, number)
    return folder


def test_hidden_pictures_are_skipped_and_counted(
    model: CountingModel, with_hidden: Path, tmp_path: Path
) -> None:
    (with_hidden / "raw.cr2").write_bytes(b"x")
    index = PhotoIndex(tmp_path / "i", model)
    done = index.add(with_hidden)
    assert (done.added, done.skipped, done.failures) == (5, 5, ())
    assert index.add([with_hidden, with_hidden]).skipped == 6, "but for the count of what is not read, once"
    memory = PhotoIndex(None, model)
    assert (memory.add(with_hidden).added, len(memory)) == (5, 5)


def test_an_old_index_drops_them(
    model: CountingModel, with_hidden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = PhotoIndex(tmp_path / "i", model)
    with monkeypatch.context() as patched:
        patched.setattr(listing, "is_passed_over", lambda name, *, folder: False)
        assert index.add(with_hidden).added == 9
    done = index.add(with_hidden)
    assert (done.removed, done.unchanged, done.failures) == (4, 5, ())
    assert names(index) == [f"{number}.png" for number in range(5)]


def test_an_old_index_of_nothing_else(
    model: CountingModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(tmp_path / "photos" / "@eaDir" / "0.png", 0)
    index = PhotoIndex(tmp_path / "i", model)
    with monkeypatch.context() as patched:
        patched.setattr(listing, "is_passed_over", lambda name, *, folder: False)
        index.add(tmp_path / "photos")
    assert index.add(tmp_path / "photos") == Added(0, (), removed=1, skipped=1)


def test_what_is_named_outright_is_taken_and_stays(
    model: CountingModel, with_hidden: Path, tmp_path: Path
) -> None:
    (with_hidden / "photo.dat").write_bytes((with_hidden / "0.png").read_bytes())
    named = [with_hidden / ".thumbnails", with_hidden / HIDDEN[0], with_hidden / "photo.dat"]
    draw(with_hidden / ".thumbnails" / ".trashed-2.png", 31)
    index = PhotoIndex(tmp_path / "i", model)
    assert index.add(named).added == 3
    done = index.add(with_hidden)
    assert (done.added, done.removed) == (5, 0)
    assert sorted({"1.png", HIDDEN[0], "photo.dat"} & set(names(index))) == sorted(
        {"1.png", HIDDEN[0], "photo.dat"}
    )
    assert PhotoIndex(tmp_path / "i", model).add(with_hidden).removed == 0
    # Until it is taken out, or deleted.
    (with_hidden / HIDDEN[0]).unlink()
    assert index.add(with_hidden).removed == 1
    assert index.remove(named) == 2
    assert index.add(with_hidden).unchanged == 5


def test_named_together_with_what_holds_it(model: CountingModel, with_hidden: Path, tmp_path: Path) -> None:
    index = PhotoIndex(tmp_path / "i", model)
    done = index.add([with_hidden, with_hidden / ".thumbnails"])
    assert (done.added, done.skipped) == (6, 3)


# --- paths ----------------------------------------------------------------------------------------------


def test_an_empty_path_is_nowhere(model: CountingModel, folder: Path, tmp_path: Path) -> None:
    """It would be the current folder, and --remove take out everything."""
    for place in (tmp_path / "i", None):
        index = PhotoIndex(place, model)
        index.add(folder)
        for ask in (index.remove, index.add, index.changes):
            for given in ("", ["", str(folder)], [str(folder), ""]):
                with pytest.raises(UsageError, match="an empty path"):
                    ask(given)
        assert len(index) == 5


def test_what_lies_below() -> None:
    below = Below(["/a/b", "/c"])
    for path, inside in {
        "/a/b": True,
        "/a/b/c/d.jpg": True,
        "/a/bc/d.jpg": False,
        "/a/b.jpg": False,
        "/a": False,
        "/c/x": True,
        "/": False,
    }.items():
        for _ in range(2):
            assert (path in below) is inside, path
    assert "/x" in Below(["/"]) and "/x" not in Below([])
    assert "/d" * 1500 not in below, "however deep"


def test_failures_are_of_places(model: CountingModel, folder: Path, tmp_path: Path) -> None:
    """What the iterator gives while it goes on, as programs read it."""
    index = PhotoIndex(tmp_path / "i", model)
    index.add(folder)
    disk, _ = emptied(folder)
    given = [one.photo for one in index.changes(folder) if isinstance(one, Failure)]
    assert given == [str(disk)]
