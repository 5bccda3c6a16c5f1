"""Which photos the files and folders named by a user stand for."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from seetell.media.formats import PHOTO_SUFFIXES


def list_photos(paths: Iterable[Path | str]) -> Iterator[Path]:
    """The photos that files and folders name, folders searched recursively in sorted order.

    A file named explicitly is always given, so that a wrong one is reported rather than skipped; inside
    folders only files with a photo's suffix are. Given too, to fail by name when decoded: a folder that
    cannot be listed, and an empty folder named like a photo. Links to folders are followed, each folder once.
    """
    for path in map(Path, paths):
        try:
            is_folder = path.is_dir()
        except (OSError, ValueError):
            is_folder = False
        if is_folder:
            yield from _walk(path, set())
        else:
            yield path


def _walk(folder: Path, seen: set[tuple[int, int]]) -> Iterator[Path]:
    try:
        identity = folder.stat()
        if (identity.st_dev, identity.st_ino) in seen:
            return
        seen.add((identity.st_dev, identity.st_ino))
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries)
    except OSError:
        yield folder
        return
    if not names and folder.suffix.lower() in PHOTO_SUFFIXES:
        yield folder
    for name in names:
        path = folder / name
        # Unlike DirEntry.is_dir, simply false for a link that leads nowhere or round in circles.
        if os.path.isdir(path):
            yield from _walk(path, seen)
        elif path.suffix.lower() in PHOTO_SUFFIXES:
            yield path
