"""Folders of photos, one folder per label: ``ROOT/LABEL/photo.jpg`` (the layout of ImageNet)."""

from __future__ import annotations

from pathlib import Path

from seetell.core.errors import DataError
from seetell.data.records import LabelRecord
from seetell.media.listing import Skipped, has_photo_ending, is_passed_over


def read_imagefolder(path: Path, skipped: Skipped | None = None) -> list[LabelRecord]:
    """Read labelled photos; the label is the folder's name. Order: labels, then photos, by name.

    What is hidden or the system's is passed over as in every walk, and so are folders without photos and
    files that are none by their ending (a README, a list). Photo files are not opened. skipped: takes up what
    was passed over. Raises DataError when ``path`` is no folder or holds no labelled photo.
    """
    try:
        folders = sorted(entry for entry in path.iterdir() if entry.is_dir())
    except OSError as error:
        raise DataError(f"{path}: cannot be listed ({error.strerror or error})") from error
    skipped = Skipped() if skipped is None else skipped
    records: list[LabelRecord] = []
    for folder in folders:
        if is_passed_over(folder.name, folder=True):
            skipped.folders.append(str(folder))
            continue
        try:
            names = sorted(entry.name for entry in folder.iterdir())
        except OSError as error:
            raise DataError(f"{folder}: cannot be listed ({error.strerror or error})") from error
        for name in filter(has_photo_ending, names):
            if is_passed_over(name, folder=False):
                skipped.photos.append(str(folder / name))
            else:
                records.append(LabelRecord(folder / name, folder.name))
    if not records:
        raise DataError(f"{path}: no photos in it; expected one folder per label with photos inside")
    return records
