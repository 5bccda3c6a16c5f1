"""Where a photo's bytes are: a file, a part of a file (a tar's member), or a cell of a parquet file.

A reference is small and names only what is on the disk, so that a million of them fit in memory and any
process can read any of them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seetell.core.errors import DataError


@dataclass(frozen=True, slots=True)
class FileSlice:
    """``size_bytes`` bytes of a file, from ``offset``: a member of an uncompressed tar. ``name`` is the
    member's own, for people."""

    path: Path
    offset: int
    size_bytes: int
    name: str


@dataclass(frozen=True, slots=True)
class ParquetCell:
    """A photo in a parquet file: one row of one row group, in the binary column ``column``, or in the field
    ``bytes`` of that column where ``nested``."""

    path: Path
    row_group: int
    row: int
    column: str
    nested: bool


# What stands in a clone for a file that Git LFS keeps elsewhere: a few lines that begin like this.
LFS_POINTER = b"version https://git-lfs.github.com/spec/"
LFS_ADVICE = "a Git LFS pointer and not the file itself; run git lfs pull in its folder"

PhotoRef = Path | FileSlice | ParquetCell


def ref_name(ref: PhotoRef) -> str:
    """What to call the photo in messages and reports."""
    if isinstance(ref, FileSlice):
        return f"{ref.path}:{ref.name}"
    if isinstance(ref, ParquetCell):
        return f"{ref.path}: row {ref.row} of row group {ref.row_group}"
    return str(ref)


def ref_file(ref: PhotoRef) -> Path:
    """The file that holds the photo."""
    return ref if isinstance(ref, Path) else ref.path


def lost(refs: Iterable[PhotoRef]) -> list[PhotoRef]:
    """Those whose file is not there, each once, in the given order. Their folders are listed, once each: on a
    network that is quicker than to ask for every file."""
    listed: dict[str, frozenset[str]] = {}
    found: list[PhotoRef] = []
    for ref in dict.fromkeys(refs):
        folder, name = os.path.split(ref_file(ref))
        if folder not in listed:
            try:
                listed[folder] = frozenset(os.listdir(folder or "."))
            except (OSError, ValueError):
                listed[folder] = frozenset()
        # A file system that takes upper case for lower lists one name and opens the other.
        if name not in listed[folder] and not os.path.exists(ref_file(ref)):
            found.append(ref)
    return found


def check_no_pointer(path: Path) -> None:
    """Raises DataError for a file that Git LFS has not fetched. One that cannot be read is left to its
    reader."""
    with suppress(OSError), open(path, "rb") as file:
        if file.read(len(LFS_POINTER)) == LFS_POINTER:
            raise DataError(f"{path}: {LFS_ADVICE}")


def ref_state(ref: PhotoRef) -> tuple[Any, ...]:
    """What changes when the photo's file does: its size and time, with where in it the photo is."""
    path = ref_file(ref)
    try:
        status = os.stat(path)
        state: tuple[Any, ...] = (status.st_size, status.st_mtime_ns)
    except (OSError, ValueError):
        state = ("missing",)
    where: tuple[Any, ...] = ()
    if isinstance(ref, FileSlice):
        where = (ref.offset, ref.size_bytes)
    elif isinstance(ref, ParquetCell):
        where = (ref.row_group, ref.row, ref.column)
    return (str(path), *where, *state)
