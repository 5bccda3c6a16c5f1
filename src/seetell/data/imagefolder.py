"""Folders of photos, one folder per label: ``ROOT/LABEL/photo.jpg`` (the layout of ImageNet)."""

from __future__ import annotations

from pathlib import Path

from seetell.core.errors import DataError
from seetell.data.records import LabelRecord
from seetell.media.listing import has_photo_name, is_passed_over


def read_imagefolder(path: Path) -> list[LabelRecord]:
    """Read labelled photos; the label is the folder's name. Order: labels, then photos, by name.

    What is hidden or the system's is passed over as in every walk, and so are folders without photos and
    files that are none by their ending (a README, a list). Photo files are not opened. Raises DataError when
    ``path`` is no folder or holds no labelled photo.
    """
    try:
        folders = sorted(entry for entry in path.iterdir() if entry.is_dir())
    except OSError as error:
        raise DataError(f"{path}: cannot be listed ({error.strerror or error})") from error
    records: list[LabelRecord] = []
    for folder in folders:
        if is_passed_over(folder.name, folder=True):
            continue
        try:
            photos = sorted(entry for entry in folder.iterdir() if has_photo_name(entry.name))
        except OSError as error:
            raise DataError(f"{folder}: cannot be listed ({error.strerror or error})") from error
        records.extend(LabelRecord(photo, folder.name) for photo in photos)
    if not records:
        raise DataError(f"{path}: no photos in it; expected one folder per label with photos inside")
    return records
