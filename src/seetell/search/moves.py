"""Where photos lie now, when an index has been moved together with them.

An index records where it lay when it was last written. Found elsewhere, it looks for its photos in the same
place beside it: of ``/a/Phone.index`` with photos in ``/a/Phone``, moved to ``/b``, they are in ``/b/Phone``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

# Photos looked for of each folder, to tell whether it came along.
_LOOKED_FOR = 50


@dataclass(slots=True)
class Moves:
    """Folders that have moved: former place -> present one. Absolute, none within another."""

    folders: Mapping[str, str]
    _known: dict[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.folders)

    def now(self, path: str) -> str:
        """Where a photo lies that lay at ``path``."""
        if not self.folders:
            return path
        folder, name = os.path.split(path)
        moved = self._known.get(folder)
        if moved is None:
            moved = self._known[folder] = _mapped(folder, self.folders)
        return os.path.join(moved, name)

    def before(self, path: str) -> str:
        """Where a photo lay that lies at ``path`` now."""
        return _mapped(path, {now: former for former, now in self.folders.items()})


NOWHERE = Moves({})


def moves_of(former: Path, present: Path, photos: Iterable[tuple[str, int]]) -> Moves:
    """Which folders of photos came along when an index moved from ``former`` to ``present``.

    photos: (path, bytes) as the index has them. A folder has come along where some of its photos, of their
    sizes, are in the same place beside the index as before.
    """
    inside: dict[str, list[tuple[str, int]]] = {}
    for path, size_bytes in photos:
        inside.setdefault(os.path.dirname(path), []).append((path, size_bytes))
    groups: dict[tuple[str, str], list[tuple[str, int]]] = {}
    for folder, here in inside.items():
        shared = _shared(folder, str(former))
        if shared is None:
            continue
        now = os.path.normpath(os.path.join(present, os.path.relpath(shared, former)))
        if shared in inside:  # the index lies among the photos, and they are one folder
            group = (shared, now)
        else:
            first = os.path.relpath(folder, shared).split(os.sep)[0]
            group = (os.path.join(shared, first), os.path.join(now, first))
        groups.setdefault(group, []).extend(here)
    folders = {}
    for (old, new), photos_of in groups.items():
        some = photos_of[:: max(1, len(photos_of) // _LOOKED_FOR)]
        if old != new and any(_lies_at(new + path[len(old) :], size_bytes) for path, size_bytes in some):
            folders[old] = new
    return Moves(folders)


def _shared(folder: str, former: str) -> str | None:
    """The innermost folder that held both; None where that cannot have moved, as the root of a disk."""
    try:
        shared = os.path.commonpath([folder, former])
    except ValueError:  # two disks of Windows
        return None
    return None if shared == os.path.dirname(shared) else shared


def _lies_at(path: str, size_bytes: int) -> bool:
    try:
        return os.stat(path).st_size == size_bytes
    except (OSError, ValueError):
        return False


def _mapped(path: str, folders: Mapping[str, str]) -> str:
    for old, new in folders.items():
        if path == old or path.startswith(old + os.sep):
            return new + path[len(old) :]
    return path
