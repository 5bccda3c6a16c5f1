"""What is deleted, hidden or the system's is no part of any source."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from seetell.data.sources.detect import read_source

HIDDEN = (".Trash-1000/files", "@eaDir", "__MACOSX", "$RECYCLE.BIN")


def photo(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), "teal").save(path)


@pytest.mark.parametrize("hidden", HIDDEN)
def test_photos_with_texts_beside_them(tmp_path: Path, hidden: str) -> None:
    for folder in (tmp_path, tmp_path / hidden):
        photo(folder / "a.jpg")
        (folder / "a.txt").write_text("a dog")
    photo(tmp_path / "._b.jpg")
    source = read_source(tmp_path)
    assert (source.format, [sample.key for sample in source.samples]) == ("folder", ["a.jpg"])
    assert (source.skipped.photos, source.skipped.folders) == (
        [str(tmp_path / "._b.jpg")],
        [str(tmp_path / hidden.split("/")[0])],
    )


@pytest.mark.parametrize("hidden", HIDDEN)
def test_folders_of_labels(tmp_path: Path, hidden: str) -> None:
    for folder in ("train/dog", "train/cat", "val/dog", hidden, f"train/{hidden}"):
        photo(tmp_path / folder / "a.jpg")
    photo(tmp_path / "train" / "dog" / ".trashed-1-b.jpg")
    source = read_source(tmp_path)
    assert source.format == "imagefolder"
    assert sorted((sample.key, sample.split) for sample in source.samples) == [
        ("train/cat/a.jpg", "train"),
        ("train/dog/a.jpg", "train"),
        ("val/dog/a.jpg", "val"),
    ]
    assert len(source.skipped) == 2


@pytest.mark.parametrize("name", ["deleted.tar", "deleted.parquet", "metadata.csv"])
@pytest.mark.parametrize("hidden", HIDDEN)
def test_files_that_would_be_another_format(tmp_path: Path, hidden: str, name: str) -> None:
    photo(tmp_path / "a.jpg")
    (tmp_path / "a.txt").write_text("a dog")
    (tmp_path / hidden).mkdir(parents=True)
    (tmp_path / hidden / name).write_bytes(b"whatever it was")
    (tmp_path / f"._{name}").write_bytes(b"\0\5\x16\7")  # what macOS leaves beside a file
    source = read_source(tmp_path)
    assert (source.format, [sample.key for sample in source.samples]) == ("folder", ["a.jpg"])


def test_tables_beside_what_macos_leaves(tmp_path: Path) -> None:
    photo(tmp_path / "a.jpg")
    (tmp_path / "captions.csv").write_text("filepath,title\na.jpg,a dog\n")
    (tmp_path / "._captions.csv").write_bytes(b"\0\5\x16\7")
    source = read_source(tmp_path)
    assert (source.format, len(source.samples), source.broken) == ("table", 1, ())
