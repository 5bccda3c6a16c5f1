"""The walk through folders: what it takes, what it leaves out, and that it says so."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from seetell.media.listing import Skipped, has_photo_name, is_passed_over, list_photos, photo_paths

HIDDEN_PHOTOS = (
    "._a.jpg",  # what macOS writes beside a file on other systems' disks
    ".trashed-1712345678-a.jpg",  # deleted on Android
    ".pending-1712345678-b.jpg",
    "2024/.hidden.png",
)
IN_SYSTEM_FOLDERS = (
    ".Trash-1000/files/a.jpg",
    ".thumbnails/1.jpg",
    ".@__thumb/a.jpg",
    "@eaDir/a.jpg/SYNOPHOTO_THUMB_XL.jpg",
    "2024/@eaDir/a.jpg/SYNOPHOTO_THUMB_M.jpg",
    "#recycle/a.jpg",
    "@Recycle/a.jpg",
    "__MACOSX/a.jpg",
    "lost+found/#123.jpg",
    "LOST.DIR/1.jpg",
    "$RECYCLE.BIN/S-1-5/$R1.jpg",
    "$Recycle.Bin/S-1-5/$R2.jpg",
    "System Volume Information/a.jpg",
)


def put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def listed(folder: Path, skipped: Skipped | None = None) -> list[str]:
    return [str(path.relative_to(folder)) for path in list_photos([folder], skipped)]


def test_deleted_and_hidden_pictures_are_left_out_and_counted(tmp_path: Path) -> None:
    put(tmp_path, *HIDDEN_PHOTOS, *IN_SYSTEM_FOLDERS, "a.jpg", "2024/b.jpg", "#1 of 3.jpg", "@home.jpg")
    put(tmp_path, ".nomedia", ".DS_Store", "Recycled art/c.jpg")
    skipped = Skipped()
    assert listed(tmp_path, skipped) == [
        "#1 of 3.jpg",
        "2024/b.jpg",
        "@home.jpg",
        "Recycled art/c.jpg",
        "a.jpg",
    ]
    assert sorted(skipped.photos) == sorted(str(tmp_path / name) for name in HIDDEN_PHOTOS)
    assert len(skipped.folders) == 13
    assert skipped.words() == [
        "skipped 4 hidden photos and 13 hidden or system folders; what is named outright is taken"
    ]


@pytest.mark.parametrize("name", [*HIDDEN_PHOTOS, *IN_SYSTEM_FOLDERS])
def test_what_is_named_outright_is_taken(name: str, tmp_path: Path) -> None:
    put(tmp_path, name)
    photo = tmp_path / name
    assert list(list_photos([photo])) == [photo]
    if "/" in name:
        # A folder's own name, and those above it, are the user's affair.
        assert listed(photo.parent) == ([] if photo.name.startswith(".") else [photo.name])


def test_nothing_left_out_is_nothing_said(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg", "notes.txt", ".DS_Store")
    skipped = Skipped()
    assert listed(tmp_path, skipped) == ["a.jpg"]
    assert skipped.words() == []


def test_endings(tmp_path: Path) -> None:
    taken = ["a.jpg", "b.JPEG", "c.mpo", "d.pjpeg", "e.pjp", "f.hif", "g.heic", "h.jxl", "i.dng"]
    taken += ["i.heics", "i.insp", "i.j2c", "i.jpf", "i.jps"]
    put(tmp_path, *taken, "j.cr2", "k.NEF", "l.nef", "m.psd", "notes.txt", "n.mov", ".o.mp4", "p.MP4")
    skipped = Skipped()
    assert listed(tmp_path, skipped) == taken
    assert skipped.unread == {".cr2": 1, ".nef": 2, ".psd": 1}
    assert skipped.words() == [
        "skipped 4 files of kinds that are not read (.cr2 .nef .psd); export them as JPEG",
        "skipped 2 videos; photos are read alone",
    ]
    assert len(skipped) == 6


def test_names() -> None:
    assert is_passed_over("@EADIR", folder=True) and not is_passed_over("@eadir", folder=False)
    assert is_passed_over(".x", folder=False) and not is_passed_over("x.", folder=True)
    assert has_photo_name("a.JPG") and not has_photo_name(".a.jpg") and not has_photo_name("a.txt")


@pytest.mark.skipif(os.name != "posix", reason="links of POSIX")
def test_a_link_to_a_hidden_folder_is_a_name_of_its_own(tmp_path: Path) -> None:
    put(tmp_path, "in/a.jpg", ".store/b.jpg")
    (tmp_path / "in" / "album").symlink_to(tmp_path / ".store")
    (tmp_path / "in" / ".album").symlink_to(tmp_path / ".store")
    assert listed(tmp_path / "in") == ["a.jpg", "album/b.jpg"]


def test_folders_nested_deeper_than_a_program_calls_itself(tmp_path: Path) -> None:
    here = os.getcwd()
    os.chdir(tmp_path)
    try:
        for _ in range(1000):
            os.mkdir("d")
            os.chdir("d")
        Path("a.jpg").write_bytes(b"x")
        assert [path[-10:] for path in photo_paths([str(tmp_path)])] == ["/d/d/a.jpg"]
        Path("a.jpg").unlink()
        # Taken away again here: what tidies up after the tests does call itself.
        for _ in range(1000):
            os.chdir("..")
            os.rmdir("d")
    finally:
        os.chdir(here)
