"""Folders of photos, one folder per label: ``ROOT/LABEL/photo.jpg`` (the layout of ImageNet)."""

from __future__ import annotations

from pathlib import Path

from seetell.core.errors import DataError
from seetell.data.records import LabelRecord

# What counts as a photo inside a label's folder; anything else there (a README, a list) is no record.
PHOTO_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})


def read_imagefolder(path: Path) -> list[LabelRecord]:
    """Read labelled photos; the label is the folder's name. Order: labels, then photos, by name.

    Hidden folders and folders without photos are passed over. Photo files are not opened. Raises
    DataError when ``path`` is no folder or holds no labelled photo.
    """
    try:
        folders = sorted(entry for entry in path.iterdir() if entry.is_dir())
    except OSError as error:
        raise DataError(f"{path}: cannot be listed ({error.strerror or error})") from error
    records: list[LabelRecord] = []
    for folder in folders:
        if folder.name.startswith("."):
            continue
        try:
            photos = sorted(entry for entry in folder.iterdir() if entry.suffix.lower() in PHOTO_SUFFIXES)
        except OSError as error:
            raise DataError(f"{folder}: cannot be listed ({error.strerror or error})") from error
        records.extend(LabelRecord(photo, folder.name) for photo in photos)
    if not records:
        raise DataError(f"{path}: no photos in it; expected one folder per label with photos inside")
    return records
