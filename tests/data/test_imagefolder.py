"""Folders of labelled photos."""

from __future__ import annotations

from pathlib import Path

import pytest

from seetell.core.errors import DataError
from seetell.data.imagefolder import read_imagefolder


def test_labels_are_folder_names_and_only_photos_count(tmp_path: Path) -> None:
    for name in ("dog/b.JPG", "dog/a.png", "dog/notes.txt", "french horn/x.webp", ".hidden/y.jpg", "top.jpg"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    for name in ("dog/._a.png", "dog/.trashed-1-c.jpg", "@eaDir/z.jpg", "$RECYCLE.BIN/z.jpg", "dog/c.heic"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    (tmp_path / "empty").mkdir()
    records = read_imagefolder(tmp_path)
    assert [(record.label, record.photo.name) for record in records] == [
        ("dog", "a.png"),
        ("dog", "b.JPG"),
        ("dog", "c.heic"),
        ("french horn", "x.webp"),
    ]


@pytest.mark.parametrize("make", ["missing", "file", "flat"])
def test_what_is_no_imagefolder_is_a_data_error(tmp_path: Path, make: str) -> None:
    path = tmp_path / "set"
    if make == "file":
        path.touch()
    if make == "flat":
        path.mkdir()
        (path / "a.jpg").touch()
    with pytest.raises(DataError, match="set"):
        read_imagefolder(path)
