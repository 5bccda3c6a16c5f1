"""An index that is moved, alone or together with its photos, and folders with two names."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from seetell.search import stored_rows
from seetell.search.moves import moves_of
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
    """Five photos at /a/Phone, two of them below it."""
    for number in range(5):
        draw(tmp_path / "a" / "Phone" / ("below" if number % 2 else ".") / f"{number}.png", number)
    return tmp_path / "a" / "Phone"


def move_together(folder: Path, place: Path, to: Path) -> tuple[Path, Path]:
    to.mkdir(parents=True)
    return folder.rename(to / folder.name), place.rename(to / place.name)


def test_moved_together_photos_are_found_at_once(model: CountingModel, folder: Path, tmp_path: Path) -> None:
    place = folder.with_name("Phone.index")
    PhotoIndex(place, model).add(folder)
    folder, place = move_together(folder, place, tmp_path / "b" / "deeper")
    index = PhotoIndex(place, model)
    assert found(index) == pytest.approx(expected(model, folder), abs=1e-5)
    assert not any(hit.gone for hit in index.search("a dog", k=9))
    assert str(folder / "0.png") in index
    assert str(tmp_path / "a" / "Phone" / "0.png") not in index
    # By --hybrid's door and --where's, too.
    assert {hit.photo for hit in index.search("a dog", where="path like '%/below/%'", k=9)} == {
        str(folder / "below" / "1.png"),
        str(folder / "below" / "3.png"),
    }


def test_moved_together_and_brought_up_to_date_every_photo_is_there_once(
    model: CountingModel, folder: Path, tmp_path: Path
) -> None:
    place = folder.with_name("Phone.index")
    PhotoIndex(place, model).add(folder)
    folder, place = move_together(folder, place, tmp_path / "b")
    draw(folder / "2.png", 77)
    model.seen.clear()
    done = PhotoIndex(place, model).add(folder)
    assert (done.moved, done.updated, done.added, done.removed, done.unchanged) == (4, 1, 0, 0, 0)
    assert model.seen == ["2.png"], "the others are not even opened"
    index = PhotoIndex(place, model)
    assert found(index) == pytest.approx(expected(model, folder), abs=1e-5)
    # What stands in the table is where they lie now.
    assert len(index.search("a dog", where=f"path like '{folder}%'", k=9)) == 5
    assert index.add(folder).unchanged == 5
    assert model.seen == ["2.png"]


def test_a_reader_follows_a_move_that_is_written_down_meanwhile(
    model: CountingModel, folder: Path, tmp_path: Path
) -> None:
    place = folder.with_name("Phone.index")
    PhotoIndex(place, model).add(folder)
    folder, place = move_together(folder, place, tmp_path / "b")
    reader = PhotoIndex(place, model)
    before = found(reader)
    PhotoIndex(place, model).add(folder)
    assert found(reader) == before == pytest.approx(expected(model, folder), abs=1e-5)


@pytest.mark.parametrize("where", ["inside", "hidden inside", "elsewhere"])
def test_wherever_the_index_lies(model: CountingModel, folder: Path, tmp_path: Path, where: str) -> None:
    places = {
        "inside": folder / "index",
        "hidden inside": folder / ".index",
        "elsewhere": tmp_path / "a" / "indexes" / "phone",
    }
    place = places[where]
    PhotoIndex(place, model).add(folder)
    (tmp_path / "a").rename(tmp_path / "b")
    folder, place = (tmp_path / "b" / one.relative_to(tmp_path / "a") for one in (folder, place))
    index = PhotoIndex(place, model)
    assert found(index) == pytest.approx(expected(model, folder), abs=1e-5)
    assert index.add(folder).moved == 5
    assert found(PhotoIndex(place, model)) == pytest.approx(expected(model, folder), abs=1e-5)


def test_a_folder_moved_alone_is_known_by_its_photos(
    model: CountingModel, folder: Path, tmp_path: Path
) -> None:
    index = PhotoIndex(tmp_path / "i", model)
    index.add(folder)
    to = tmp_path / "elsewhere" / "Telephone"
    to.parent.mkdir()
    folder.rename(to)
    hits = index.search("a dog", k=9)
    assert len(hits) == 5 and all(hit.gone for hit in hits)
    model.seen.clear()
    done = index.add(to)
    assert (done.moved, done.added, done.removed) == (5, 0, 0)
    assert model.seen == [], "known by their hash, wherever they lay"
    assert found(index) == pytest.approx(expected(model, to), abs=1e-5)
    assert index.add(to).unchanged == 5


def test_an_index_moved_alone_has_its_photos_where_they_are(
    model: CountingModel, folder: Path, tmp_path: Path
) -> None:
    place = folder.with_name("Phone.index")
    PhotoIndex(place, model).add(folder)
    # Where it goes there is a folder of the same name, with other photos.
    draw(tmp_path / "b" / "Phone" / "0.png", 70)
    draw(tmp_path / "b" / "Phone" / "others.png", 71)
    os.truncate(tmp_path / "b" / "Phone" / "0.png", 40)
    place = place.rename(tmp_path / "b" / "Phone.index")
    index = PhotoIndex(place, model)
    assert found(index) == pytest.approx(expected(model, folder), abs=1e-5)
    assert index.add(folder).unchanged == 5


def test_a_copy_beside_a_copy_is_an_index_of_it(model: CountingModel, folder: Path, tmp_path: Path) -> None:
    place = folder.with_name("Phone.index")
    PhotoIndex(place, model).add(folder)
    shutil.copytree(tmp_path / "a", tmp_path / "b", copy_function=shutil.copy2)
    copy, beside = tmp_path / "b" / "Phone", tmp_path / "b" / "Phone.index"
    assert PhotoIndex(beside, model).add(copy).moved == 5
    assert set(found(PhotoIndex(beside, model))) == set(expected(model, copy))
    assert set(found(PhotoIndex(place, model))) == set(expected(model, folder))


def test_a_move_of_which_half_is_written_down(
    model: CountingModel, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = folder.with_name("Phone.index")
    PhotoIndex(place, model).add(folder)
    folder, place = move_together(folder, place, tmp_path / "b")
    monkeypatch.setattr(stored_rows, "_AT_ONCE", 2)
    rename, calls = stored_rows.PhotoTable.rename, list[int]()

    def killed(self: stored_rows.PhotoTable, paths: dict[int, str], commit: int) -> None:
        if calls:
            raise KeyboardInterrupt
        calls.append(commit)
        rename(self, paths, commit)

    monkeypatch.setattr(stored_rows.PhotoTable, "rename", killed)
    with pytest.raises(KeyboardInterrupt):
        PhotoIndex(place, model).add(folder)
    monkeypatch.setattr(stored_rows.PhotoTable, "rename", rename)
    assert found(PhotoIndex(place, model)) == pytest.approx(expected(model, folder), abs=1e-5)
    PhotoIndex(place, model).add(folder)
    assert found(PhotoIndex(place, model)) == pytest.approx(expected(model, folder), abs=1e-5)


def test_what_is_remembered_moves_too(model: CountingModel, folder: Path, tmp_path: Path) -> None:
    (folder / "broken.jpg").write_bytes(b"no photo")
    os.utime(folder / "broken.jpg", (1_600_000_000, 1_600_000_000))
    place = folder.with_name("Phone.index")
    assert len(PhotoIndex(place, model).add(folder).failures) == 1
    folder, place = move_together(folder, place, tmp_path / "b")
    done = PhotoIndex(place, model).add(folder)
    assert (len(done.failures), done.failed_before) == (0, 1)


def test_removing_from_a_moved_index(model: CountingModel, folder: Path, tmp_path: Path) -> None:
    place = folder.with_name("Phone.index")
    PhotoIndex(place, model).add(folder)
    folder, place = move_together(folder, place, tmp_path / "b")
    index = PhotoIndex(place, model)
    assert index.remove(folder / "below") == 2
    assert sorted(Path(path).name for path in found(index)) == ["0.png", "2.png", "4.png"]


# --- the same folder through a link ---------------------------------------------------------------------


@pytest.fixture
def link(folder: Path, tmp_path: Path) -> Path:
    (tmp_path / "link").symlink_to(folder)
    return tmp_path / "link"


@pytest.mark.skipif(os.name != "posix", reason="links of POSIX")
@pytest.mark.parametrize("first", ["link", "folder"])
def test_a_folder_through_a_link_is_the_same_folder(
    model: CountingModel, folder: Path, link: Path, tmp_path: Path, first: str
) -> None:
    names = [link, folder] if first == "link" else [folder, link]
    index = PhotoIndex(tmp_path / "i", model)
    assert index.add(names[0]).added == 5
    model.seen.clear()
    assert index.add(names[1]).unchanged == 5
    assert index.add(names).unchanged == 5
    assert model.seen == []
    assert found(index) == pytest.approx(expected(model, names[0]), abs=1e-5)
    (folder / "0.png").unlink()
    assert index.add(names[1]).removed == 1
    assert index.remove(names[1]) == 4


@pytest.mark.skipif(os.name != "posix", reason="links of POSIX")
def test_links_among_the_folders(model: CountingModel, folder: Path, tmp_path: Path) -> None:
    album = tmp_path / "albums"
    album.mkdir()
    (album / "phone").symlink_to(folder / "below")
    index = PhotoIndex(tmp_path / "i", model)
    done = index.add([album, folder])
    assert (done.added, len(index)) == (5, 5)
    assert index.add(folder).unchanged == 5
    # Without the link they are where they always were.
    (album / "phone").unlink()
    done = index.add(folder)
    assert (done.moved, done.unchanged, done.added) == (2, 3, 0)
    assert found(index) == pytest.approx(expected(model, folder), abs=1e-5)


@pytest.mark.skipif(os.name != "posix", reason="links of POSIX")
def test_in_memory_too(model: CountingModel, folder: Path, link: Path) -> None:
    index = PhotoIndex(None, model)
    index.add(folder)
    assert index.add(link).updated == 5
    assert len(index) == 5
    assert index.remove(link / "below") == 2


@pytest.mark.skipif(os.name != "posix", reason="links of POSIX")
def test_what_was_there_twice_is_there_once(
    model: CountingModel, folder: Path, link: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An index of an earlier seetell, which took the two for two."""
    index = PhotoIndex(tmp_path / "i", model)
    with monkeypatch.context() as patched:
        patched.setattr("seetell.search.survey.RealPaths.of", lambda self, path: path)
        index.add([folder, link])
    assert len(index) == 10
    done = index.add(folder)
    assert (done.removed, done.unchanged) == (5, 5)
    assert found(index) == pytest.approx(expected(model, folder), abs=1e-5)


# --- which folders came along ---------------------------------------------------------------------------


def photos_at(*paths: Path) -> Iterator[tuple[str, int]]:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"12345")
        yield str(path), 5


def test_a_folder_that_stayed_behind(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    photos = [*photos_at(a / "Phone" / "x" / "1.jpg", a / "Tablet" / "2.jpg"), ("/other/disk/3.jpg", 5)]
    b.mkdir()
    (a / "Phone").rename(b / "Phone")
    moves = moves_of(a / "i", b / "i", photos)
    assert moves.folders == {str(a / "Phone"): str(b / "Phone")}
    assert moves.now(photos[0][0]) == str(b / "Phone" / "x" / "1.jpg")
    assert moves.now(photos[1][0]) == photos[1][0]
    assert moves.before(str(b / "Phone" / "x" / "1.jpg")) == photos[0][0]
    assert moves.now(str(a / "Phones" / "1.jpg")) == str(a / "Phones" / "1.jpg")


def test_photos_of_other_sizes_are_others(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    photos = list(photos_at(a / "Phone" / "1.jpg"))
    (path, size_bytes), *_ = photos_at(b / "Phone" / "1.jpg")
    assert moves_of(a / "i", b / "i", photos)
    Path(path).write_bytes(b"1" * (size_bytes + 1))
    assert not moves_of(a / "i", b / "i", photos)
