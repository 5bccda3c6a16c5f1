"""What there is in folders, beside what an index knows: what is new, what is gone, and what only cannot be
seen at present."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from seetell.media.listing import Skipped, has_photo_name, is_passed_over, photo_paths
from seetell.search.columns import Known
from seetell.search.details import Stamp
from seetell.search.paths import Below, RealPaths, folders_above, is_gone


@dataclass(frozen=True, slots=True)
class Survey:
    """listed: every photo there is, once, under the name that the index has for it or will have, with the
    stamp of its file, None where it is none. gone: photos of the index that are to be taken out of it. away:
    photos that are not there either, by the place that has lost them, and stay in the index: it looks like a
    disk that is not mounted. outright: what is named and a walk through the folders above it would leave out.
    """

    listed: dict[str, Stamp | None]
    gone: list[Known]
    away: dict[str, list[Known]]
    outright: set[str]
    _given: Below

    def covers(self, path: str) -> bool:
        """Whether the survey looked where this path is."""
        return path in self._given


def survey(
    given: Sequence[str],
    known: Iterable[Known],
    outright: Iterable[str],
    also: Iterable[str],
    skipped: Skipped,
) -> Survey:
    """Look through folders and files.

    Args:
        given: absolute paths.
        known: the photos of the index, all of them.
        outright: what was named in earlier runs and a walk leaves out.
        also: files to look at that nobody named.
        skipped: takes up what the walk leaves out.
    """
    looked = _Look(list(given), known, skipped)
    for path in (*given, *also):
        looked.walk(path)
    named = {path for path in given if _left_out(path) and os.path.lexists(path)}
    gone, away = looked.missing({*outright, *named})
    for left_out in (skipped.photos, skipped.folders):
        # Folders that hold one another leave it out twice, or take what is named besides.
        left_out[:] = [path for path in dict.fromkeys(left_out) if path not in named]
    return Survey(looked.listed, gone, away, named, Below(given))


class _Look:
    def __init__(self, given: list[str], known: Iterable[Known], skipped: Skipped) -> None:
        self.listed: dict[str, Stamp | None] = {}
        self._skipped = skipped
        self._real = RealPaths()
        self._folders = [path for path in given if os.path.isdir(path)]
        self._without_photos = set(self._folders)
        self._unlisted: set[str] = set()
        self._known: dict[str, Known] = {}
        self._twice: list[Known] = []
        for one in known:
            real = self._real.of(one.path)
            # One file under two names, of a link and of the folder: the first stays.
            if self._known.setdefault(real, one) is not one:
                self._twice.append(one)
        self._seen: set[str] = set()

    def walk(self, given: str) -> None:
        for path in photo_paths([given], self._skipped):
            real = self._real.of(path)
            if real in self._seen:
                self._without_photos.discard(given)
                continue
            self._seen.add(real)
            known = self._known.get(real)
            name = path if known is None else known.path
            try:
                found = os.stat(name)
            except (OSError, ValueError):
                self.listed[name] = None
            else:
                regular = stat.S_ISREG(found.st_mode)
                self.listed[name] = Stamp(found.st_size, found.st_mtime_ns) if regular else None
                if stat.S_ISDIR(found.st_mode):
                    self._unlisted |= {name, real}  # it cannot be looked into
                    continue
            self._without_photos.discard(given)

    def missing(self, outright: set[str]) -> tuple[list[Known], dict[str, list[Known]]]:
        """(photos to take out, photos that are away by the place that has lost them)."""
        gone, lost = list(self._twice), []
        named = Below(self._folders)
        really = Below(os.path.realpath(folder) for folder in self._folders)
        unlisted = Below(self._unlisted)
        for real, one in self._known.items():
            if real in self._seen or not (one.path in named or real in really):
                continue
            if one.path in unlisted or real in unlisted:
                continue
            if is_gone(one.path):
                lost.append(one)
            elif os.path.lexists(one.path) and not _is_named(one.path, outright):
                gone.append(one)  # the walk left it out: hidden since, or taken by an earlier seetell
        away = _Away(self._folders, self._without_photos, self._alive())
        places: dict[str, list[Known]] = {}
        for one in lost:
            place = away.place(one.path, self._real.of(one.path))
            if place is None:
                gone.append(one)
            else:
                places.setdefault(place, []).append(one)
        return gone, places

    def _alive(self) -> set[str]:
        """Folders with photos of the index that are there, at any depth."""
        return folders_above(one.path for real, one in self._known.items() if real in self._seen)


class _Away:
    """Whether a photo that is not there is deleted, or its disk is not mounted."""

    def __init__(self, folders: list[str], without_photos: set[str], alive: set[str]) -> None:
        self._folders = folders
        self._inside = Below(folders)
        self._without_photos = without_photos
        self._alive = alive
        self._of_folder: dict[str, str | None] = {}

    def place(self, path: str, real: str) -> str | None:
        """The place that looks as if a disk were missing; None where the photo has been deleted."""
        folder = os.path.dirname(path)
        if folder not in self._of_folder:
            self._of_folder[folder] = self._lost(folder) or self._whole(path, real)
        return self._of_folder[folder]

    def _lost(self, folder: str) -> str | None:
        place = lost_by(folder)
        if place is not None:
            return place
        # Another disk may be mounted there than the one with these photos.
        while folder not in self._alive and folder in self._inside:
            if os.path.ismount(folder):
                return folder
            folder = os.path.dirname(folder)
        return None

    def _whole(self, path: str, real: str) -> str | None:
        """The folder given that has lost all its photos at once."""
        for folder in self._folders:
            if folder in self._without_photos and (
                path in Below([folder]) or real in Below([os.path.realpath(folder)])
            ):
                return folder
        return None


def lost_by(folder: str) -> str | None:
    """What of a folder is still there and looks as if a disk should be mounted on it, or below it: an empty
    folder, or a link that leads nowhere. None where nothing does."""
    while not os.path.lexists(folder):
        folder = os.path.dirname(folder)
    leads_nowhere = os.path.islink(folder) and not os.path.exists(folder)
    return folder if leads_nowhere or _is_empty(folder) else None


def _is_empty(folder: str) -> bool:
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is None
    except OSError:
        return False


def _left_out(path: str) -> bool:
    """Whether a walk from the root of the disk would leave out what is named."""
    *above, name = path.split(os.sep)
    folder = os.path.isdir(path)
    return (
        any(is_passed_over(one, folder=True) for one in above)
        or is_passed_over(name, folder=folder)
        or not (folder or has_photo_name(name))
    )


def _is_named(path: str, outright: set[str]) -> bool:
    """Whether a walk from one of the places named outright takes the photo at ``path``."""
    if path in outright:
        return True
    folder, name = os.path.split(path)
    taken = has_photo_name(name)
    while taken and folder not in outright:
        above, name = os.path.split(folder)
        taken = above != folder and not is_passed_over(name, folder=True)
        folder = above
    return taken
