"""Hugging Face's imagefolder: one folder per label, or a ``metadata.csv`` or ``.jsonl`` naming the photos."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from seetell.core.errors import DataError
from seetell.data.imagefolder import read_imagefolder
from seetell.data.records import Item, Sample
from seetell.data.sources.fields import SPLIT_NAMES, Columns, relative_key, split_name
from seetell.data.sources.photo_folders import photo_folders
from seetell.data.sources.table import grouped, rows_of
from seetell.media.listing import Skipped, files_below, is_passed_over

METADATA_NAMES = ("metadata.csv", "metadata.jsonl", "metadata.tsv")


def metadata_files(root: Path) -> list[Path]:
    """The metadata files in ``root`` and its folders, in sorted order."""
    found = files_below(root, (".csv", ".jsonl", ".tsv"))
    return [path for path in found if path.name in METADATA_NAMES and path.is_file()]


def read_metadata_folder(
    root: Path, columns: Columns, images: Path | None, notes: list[str]
) -> Iterator[Item]:
    """The photos that the metadata files of ``root`` name, each file relative to its own folder, or where
    ``images`` is given to that. notes: takes up where they were looked for in vain."""
    for path in metadata_files(root):
        folder = path.parent
        parts = folder.relative_to(root).parts
        split = next((part.lower() for part in parts if part.lower() in SPLIT_NAMES), None)
        # The form itself says that names are relative to the file.
        tried = photo_folders(path, root, images, notes)
        tried = (
            tried
            if images is not None
            else replace(tried, folders=tuple(dict.fromkeys((folder, *tried.folders))))
        )
        yield from grouped(rows_of(path), tried, columns, split, root)


def label_folders(root: Path) -> list[tuple[str | None, Path]]:
    """(split, folder) of the folders that hold one folder per label: ``root`` itself, or its splits. Empty if
    it is none."""
    try:
        folders = [
            entry
            for entry in sorted(root.iterdir())
            if entry.is_dir() and not is_passed_over(entry.name, folder=True)
        ]
    except OSError as error:
        raise DataError(f"{root}: cannot be listed ({error.strerror or error})") from error
    splits = [folder for folder in folders if folder.name.lower() in SPLIT_NAMES]
    if splits and len(splits) == len(folders):
        whole = all(any(e.is_dir() for e in folder.iterdir()) for folder in splits)
        return [(split_name(folder.name), folder) for folder in splits] if whole else []
    return [(None, root)] if folders else []


def read_label_folders(root: Path, skipped: Skipped | None = None) -> Iterator[Item]:
    """Labelled photos; the label is the folder's name. skipped: takes up what is passed over. Raises
    DataError where there are none."""
    found = label_folders(root)
    if not found:
        raise DataError(f"{root}: no photos in it; expected one folder per label with photos inside")
    for split, folder in found:
        for record in read_imagefolder(folder, skipped):
            yield Sample(relative_key(record.photo, root), record.photo, label=record.label, split=split)
