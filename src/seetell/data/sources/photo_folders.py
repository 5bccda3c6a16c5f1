"""In which folder the photos of a list lie: the likely ones are tried against the list's first names."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from seetell.core.errors import DataError
from seetell.data.documents import photo_in
from seetell.data.sources.fields import split_in
from seetell.media.listing import is_passed_over

# Names that are looked for before a folder is chosen: enough that some of them are there.
FIRST_NAMES = 100

# Folders beside a list that are tried; one with more is a folder of labels or the like.
_MAX_BESIDE = 100
_SHOWN = 6


@dataclass(frozen=True, slots=True)
class PhotoFolders:
    """The folders where the photos of ``file`` may lie, the likeliest first. notes: takes up that they are in
    none, for people."""

    file: Path
    folders: tuple[Path, ...]
    notes: list[str] = field(default_factory=list)

    def holding(self, names: Sequence[str]) -> Path:
        """The likeliest folder that holds half of ``names``, else the one that holds the most of them, else
        the likeliest."""

        names = names[:FIRST_NAMES]

        def count(folder: Path) -> int:
            paths = [_path_in(folder, name) for name in names]
            return sum(path is not None and os.path.isfile(path) for path in paths)

        return self.best(count, names)

    def best(self, count: Callable[[Path], int], names: Sequence[str]) -> Path:
        """The same with another way to count how many of ``names`` a folder holds."""
        best, most = self.folders[0], 0
        for folder in self.folders:
            found = count(folder)
            if found > most:
                best, most = folder, found
            # Small copies in a folder of their own may be more complete than the photos.
            if 2 * most >= len(names):
                break
        if not most:
            self._note(names)
        return best

    def _note(self, names: Sequence[str]) -> None:
        """Say where the first photo was looked for; names that may lie nowhere are broken entries anyway."""
        listed = ([_path_in(folder, name) for folder in self.folders] for name in names)
        tried = next(([repr(str(path)) for path in paths if path] for paths in listed if any(paths)), [])
        if tried:
            more = f" and in {len(tried) - _SHOWN} more folders" if len(tried) > _SHOWN else ""
            self.notes.append(
                f"{self.file}: none of the first {len(names)} photos that it names is there; tried "
                f"{', '.join(tried[:_SHOWN])}{more}; name their folder with --images"
            )


def _path_in(folder: Path, name: str) -> Path | None:
    try:
        return photo_in(folder, name, "")
    except DataError:
        return None


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
    upper = [above] if here.absolute().name.lower() in ("annotations", "labels", "lists") else []
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
