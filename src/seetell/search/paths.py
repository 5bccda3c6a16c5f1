"""Paths as an index compares them: what lies below what, where links lead, what is gone. Every question is
asked once for a folder, not once for each of its photos."""

from __future__ import annotations

import os
from collections.abc import Iterable


class Below:
    """``path in Below(places)``: whether a path is one of some places, or lies below one."""

    def __init__(self, places: Iterable[str]) -> None:
        self._places = set(places)
        self._folders: dict[str, bool] = {}

    def __contains__(self, path: object) -> bool:
        if not self._places:
            return False
        return path in self._places or self._holds(os.path.dirname(str(path)))

    def _holds(self, folder: str) -> bool:
        asked = []
        found = self._folders.get(folder)
        while found is None:
            asked.append(folder)
            above = os.path.dirname(folder)
            if folder in self._places:
                found = True
            elif above == folder:
                found = False
            else:
                folder = above
                found = self._folders.get(folder)
        self._folders.update(dict.fromkeys(asked, found))
        return found


class RealPaths:
    """Where photos lie once the links among the folders above them are followed. A photo that is a link
    itself keeps its name."""

    def __init__(self) -> None:
        self._folders: dict[str, str] = {}

    def of(self, path: str) -> str:
        """``path`` need not exist; it is absolute."""
        end = path.rfind(os.sep) + 1
        folder = path[:end]
        real = self._folders.get(folder)
        if real is None:
            real = self._folders[folder] = os.path.join(os.path.realpath(folder), "")
        return real + path[end:]


def folders_above(paths: Iterable[str]) -> set[str]:
    """Every folder that holds one of the paths, at any depth."""
    found: set[str] = set()
    for path in paths:
        folder = os.path.dirname(path)
        while folder not in found:
            found.add(folder)
            folder = os.path.dirname(folder)
    return found


def is_gone(path: str) -> bool:
    """Whether nothing has this name any more. Not where that cannot be told: what cannot be looked at may
    come back."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False
