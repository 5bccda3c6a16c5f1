"""In which folder the photos of a list lie: the likely ones are tried against the list's first names."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from seetell.core.errors import DataError
from seetell.data.sources.fields import photo_in, split_in
from seetell.media.listing import is_passed_over

# Names that are looked for before a folder is chosen: enough that some of them are there.
FIRST_NAMES = 100

# Folders beside a list that are tried; one with more is a folder of labels or the like.
_MAX_BESIDE = 100
_SHOWN = 6


@dataclass(frozen=True, slots=True)
class PhotoFolders:
    """The folders where the photos of ``file`` may lie, the likeliest first. notes: takes up, for people, that
    they are in none."""

    file: Path
    folders: tuple[Path, ...]
    notes: list[str] = field(default_factory=list)

    def holding(self, names: Sequence[str]) -> Path:
        """The folder that holds the most of ``names``; the likeliest where none holds any."""
        return self.best(lambda folder: sum(_lies_in(folder, name) for name in names), names)

    def best(self, count: Callable[[Path], int], names: Sequence[str]) -> Path:
        """The same with another way to count how many of ``names`` a folder holds."""
        best, most = self.folders[0], 0
        for folder in self.folders:
            found = count(folder)
            if found > most:
                best, most = folder, found
            if names and most == len(names):
                break
        if names and not most:
            shown = ", ".join(repr(str(folder / names[0])) for folder in self.folders[:_SHOWN])
            more = f" and {len(self.folders) - _SHOWN} more folders" if len(self.folders) > _SHOWN else ""
            self.notes.append(
                f"{self.file}: none of the first {len(names)} photos that it names is there; tried {shown}{more}; "
                "name their folder with --images"
            )
        return best


def _lies_in(folder: Path, name: str) -> bool:
    try:
        return os.path.isfile(photo_in(folder, name, ""))
    except (DataError, ValueError):
        return False


def photo_folders(file: Path, source: Path, images: Path | None, notes: list[str]) -> PhotoFolders:
    """Where the photos of ``file`` may lie: in ``images`` where the user named it; else in ``images`` beside
    the file, in ``source`` or one level up, in the folder of the file, in one with its name in the file's
    (COCO's ``train2017`` of ``annotations/captions_train2017.json``), and in any beside it."""
    if images is not None:
        return PhotoFolders(file, (images,), notes)
    here = file.parent
    above = here / ".." if here.name in ("", "..") else here.parent
    root = source if source.is_dir() else here
    usual = [base / name for base in (here, root, above) for name in ("images", "photos")]
    beside = [folder for base in (here, root) for folder in _folders_in(base)]
    named = [
        folder
        for folder in (*beside, *_folders_in(above))
        if split_in(folder.name) and folder.name.lower() in file.name.lower()
    ]
    # Itself only where that is surely part of the data set: a list must not open somebody's other photos.
    upper = [above] if here.name.lower() in ("annotations", "labels", "lists") else []
    tried = [*(folder for folder in usual if folder.is_dir()), here, root, *named, *upper, *beside]
    return PhotoFolders(file, tuple(dict.fromkeys(tried)), notes)


def _folders_in(base: Path) -> list[Path]:
    try:
        found = sorted(
            Path(base, entry.name)
            for entry in os.scandir(base)
            if entry.is_dir() and not is_passed_over(entry.name, folder=True)
        )
    except OSError:
        return []
    return found if len(found) <= _MAX_BESIDE else []
