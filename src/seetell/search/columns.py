"""What the index keeps of a photo: its columns, and the shapes its rows come in."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# What a filter may ask about. The type is the one a column has in the table.
COLUMNS: Mapping[str, Any] = {
    "path": str,
    "size_bytes": int,
    "taken": str | None,
    "camera": str | None,
    "latitude": float | None,
    "longitude": float | None,
    "width": int | None,
    "height": int | None,
    "caption": str | None,
    "sha256": str,
}

Ids = NDArray[np.int64]
Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Known:
    """A photo of the index. mtime_ns: of the file when it was read, -1 where it is to be read again."""

    id: int
    path: str
    size_bytes: int
    mtime_ns: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows. ids: int64[B]; vectors: float32[B, S]; hashes: of the contents. commit: the newest among
    them."""

    ids: Ids
    vectors: Vectors
    paths: list[str]
    hashes: list[str]
    commit: int


@dataclass(frozen=True, slots=True)
class Contents:
    """What is kept of one photo. vector: float32[S]."""

    path: str
    sha256: str
    caption: str | None
    vector: NDArray[np.float32]


def path_text(path: str) -> str:
    """A path as text for people and filters: bytes that are no UTF-8 appear as escapes."""
    return path.encode("utf-8", "backslashreplace").decode("utf-8")


def row_path(path: str) -> dict[str, Any]:
    """The columns that hold a path: text, and its bytes where they are not UTF-8."""
    text = path_text(path)
    return {"path": text, "raw_path": None if text == path else os.fsencode(path)}


def in_groups(ids: Iterable[int], size: int) -> Iterator[list[int]]:
    """Lists of at most ``size``."""
    group: list[int] = []
    for one in ids:
        group.append(one)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group
