"""Which photos the files and folders named by a user stand for."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from seetell.media.formats import PHOTO_SUFFIXES, UNREAD_SUFFIXES, VIDEO_SUFFIXES

# Where systems keep what was deleted and small pictures of their own, under names that do not begin with a
# dot; in lower case.
SYSTEM_FOLDERS = frozenset(
    # NAS: Synology, QNAP, NetApp
    {"@eadir", "@tmp", "#recycle", "#snapshot", "@recycle", "@recently-snapshot", "@__thumb", "~snapshot"}
    # phones' memory cards, Linux
    | {"lost.dir", "lost+found"}
    # macOS, where it writes archives and other systems' disks
    | {"__macosx", "network trash folder", "temporary items"}
    # Windows
    | {"$recycle.bin", "recycler", "recycled", "system volume information"}
)


@dataclass(slots=True)
class Skipped:
    """What a walk through folders left out.

    photos, folders: hidden ones and those of the system, as paths; what lies in such a folder is not looked
    at. unread: how many files of kinds that are not read, by ending. videos: how many. ``len()``: all of
    these.
    """

    photos: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    unread: Counter[str] = field(default_factory=Counter)
    videos: int = 0

    def __len__(self) -> int:
        return len(self.photos) + len(self.folders) + self.unread.total() + self.videos

    def words(self) -> list[str]:
        """The same for people, a line for each kind there is."""
        said = list[str]()
        parts = [
            f"{count:,} {what}{'' if count == 1 else 's'}"
            for count, what in (
                (len(self.photos), "hidden photo"),
                (len(self.folders), "hidden or system folder"),
            )
            if count
        ]
        if parts:
            said.append(f"skipped {' and '.join(parts)}; what is named outright is taken")
        if self.unread:
            endings = " ".join(sorted(self.unread))
            count = self.unread.total()
            said.append(
                f"skipped {count:,} file{'' if count == 1 else 's'} of kinds that are not read ({endings}); "
                "export them as JPEG"
            )
        if self.videos:
            said.append(
                f"skipped {self.videos:,} video{'' if self.videos == 1 else 's'}; photos are read alone"
            )
        return said


def list_photos(paths: Iterable[Path | str], skipped: Skipped | None = None) -> Iterator[Path]:
    """The photos that files and folders name, folders searched recursively in sorted order.

    A file named explicitly is always given, so that a wrong one is reported rather than skipped; inside
    folders only files with a photo's suffix are, and nothing that is hidden or the system's
    (:func:`is_passed_over`). Given too, to fail by name when decoded: a folder that cannot be listed, and an
    empty folder named like a photo. Links to folders are followed, each folder once.

    skipped: takes up what was left out.
    """
    return map(Path, photo_paths(paths, skipped))


def photo_paths(paths: Iterable[Path | str], skipped: Skipped | None = None) -> Iterator[str]:
    """As :func:`list_photos`, as text, which is faster for many."""
    skipped = Skipped() if skipped is None else skipped
    for one in paths:
        path = os.fspath(one)
        if os.path.isdir(path):
            yield from _walk(path, skipped)
        else:
            yield path


def files_below(folder: Path, endings: Iterable[str], skipped: Skipped | None = None) -> list[Path]:
    """The files of other endings (``.tar``, in lower case) in a folder and below it, sorted; nothing that is
    hidden or the system's. Links to folders are not followed."""
    skipped, wanted, found = Skipped() if skipped is None else skipped, set(endings), []
    for here, folders, names in os.walk(folder):
        left_out = [name for name in folders if is_passed_over(name, folder=True)]
        skipped.folders += [os.path.join(here, name) for name in left_out]
        folders[:] = [name for name in folders if name not in left_out]
        found += [
            Path(here, name)
            for name in names
            if _ending(name) in wanted and not is_passed_over(name, folder=False)
        ]
    return sorted(found)


def is_passed_over(name: str, *, folder: bool) -> bool:
    """Whether a walk leaves out what has this name inside a folder: it begins with a dot, as what phones and
    desktops hide or have deleted does, or it is a folder of the system."""
    return name.startswith(".") or (folder and name.lower() in SYSTEM_FOLDERS)


def has_photo_name(name: str) -> bool:
    """Whether a file of this name is taken for a photo inside a folder."""
    return has_photo_ending(name) and not is_passed_over(name, folder=False)


def has_photo_ending(name: str) -> bool:
    """Whether a name ends like a photo's."""
    return _ending(name) in PHOTO_SUFFIXES


def _walk(top: str, skipped: Skipped) -> Iterator[str]:
    seen: set[tuple[int, int]] = set()
    # Entries left at each level; not by recursion, because folders may be nested deeper than that goes.
    levels: list[Iterator[tuple[str, bool]]] = [iter([(top, True)])]
    while levels:
        path, is_folder = next(levels[-1], ("", False))
        if not path:
            levels.pop()
        elif not is_folder:
            yield path
        else:
            inside = _inside(path, seen, skipped)
            if inside is None:
                yield path
            else:
                levels.append(iter(inside))


def _inside(folder: str, seen: set[tuple[int, int]], skipped: Skipped) -> list[tuple[str, bool]] | None:
    """The photos and folders in a folder, sorted by name, and which are folders; None where the folder
    itself is to be given."""
    try:
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen:
            return []
        seen.add((status.st_dev, status.st_ino))
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError:
        return None
    if not entries and _ending(os.path.basename(folder)) in PHOTO_SUFFIXES:
        return None
    taken = []
    for entry in entries:
        name = entry.name
        ending = _ending(name)
        if _is_folder(entry):
            if is_passed_over(name, folder=True):
                skipped.folders.append(entry.path)
            else:
                taken.append((entry.path, True))
        elif ending in PHOTO_SUFFIXES:
            if is_passed_over(name, folder=False):
                skipped.photos.append(entry.path)
            else:
                taken.append((entry.path, False))
        elif ending in UNREAD_SUFFIXES and not is_passed_over(name, folder=False):
            skipped.unread[ending] += 1
        elif ending in VIDEO_SUFFIXES and not is_passed_over(name, folder=False):
            skipped.videos += 1
    return taken


def _is_folder(entry: os.DirEntry[str]) -> bool:
    # Of a link DirEntry.is_dir raises where it leads round in circles; os.path.isdir is simply false.
    try:
        return os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def _ending(name: str) -> str:
    return os.path.splitext(name)[1].lower()
