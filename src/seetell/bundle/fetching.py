"""What holds for a fetch from any hub: what it gives, which files it takes, how bytes are counted, and that
they fit on the disk."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from seetell.bundle.checkpoint_files import CheckpointFiles, bundle_files, choose_files, names_in
from seetell.bundle.hub_ids import HubId
from seetell.bundle.manifest import MANIFEST_NAME
from seetell.core.errors import BundleNotFound, StorageError
from seetell.core.files import cache_folder, storage_error

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class HubCheckpoint:
    """Where a checkpoint's files lie on this machine (never write there), and the commit they are of."""

    folder: Path
    revision: str

    @property
    def is_bundle(self) -> bool:
        """Whether it is a bundle, and nothing is left to convert."""
        return (self.folder / MANIFEST_NAME).is_file()


def fetched_folder() -> Path:
    """The part of our cache that holds what was fetched from a hub that keeps none of its own; it need not
    exist."""
    return cache_folder() / "fetched"


def needed_files(
    names: Collection[str], place: HubId, revision: str | None, allow_pickle: bool
) -> CheckpointFiles:
    """Those of a bundle, else those a conversion needs, among all there are.

    Raises what ``choose_files`` does, and BundleNotFound where a shard is missing.
    """
    files = bundle_files(names) or choose_files(
        names, source=place.text, revision=revision, allow_pickle=allow_pickle
    )
    if files.missing_shards:
        raise BundleNotFound(f"{place.text}: it lacks {files.missing_shards[0]}, so its weights are partial")
    return files


def find_kept(
    folder: Path | None, place: HubId, revision: str | None, allow_pickle: bool, cache: Path, variables: str
) -> HubCheckpoint:
    """The checkpoint in its folder of a cache, where nothing may be fetched.

    Args:
        folder: None where the cache has nothing of it.
        cache, variables: where was looked, and what sets offline; for messages.

    Raises BundleNotFound where it is not there or not whole, and PickleRefused.
    """
    what = place.text if revision is None else f"{place.text} at {revision}"
    advice = f"run again with a network and without {variables}"
    if folder is None:
        raise BundleNotFound(f"{what}: not in the cache ({cache}), and set offline; {advice}")
    try:
        names = names_in(folder)
        files = bundle_files(names) or choose_files(
            names, source=place.text, revision=revision, allow_pickle=allow_pickle
        )
        missing = files.missing_shards
    except BundleNotFound as error:  # another tool has fetched the config alone, say
        raise BundleNotFound(f"{what}: only a part is in the cache ({folder}); {advice}") from error
    except OSError as error:
        raise BundleNotFound(f"{what}: its cache cannot be listed ({folder}: {error.strerror})") from error
    if missing:
        raise BundleNotFound(f"{what}: {missing[0]} is not in the cache ({folder}); {advice}")
    return HubCheckpoint(folder, place.commit(folder))


class Counter:
    """Counts bytes over all files. ``total``: those to fetch; nothing is told before it is set."""

    def __init__(self, report: Progress | None) -> None:
        self._report = report
        self.total = 0
        self._complete = 0
        self._current = 0
        self.failure: Exception | None = None

    def add(self, n_bytes: float | None) -> None:
        """More bytes of the current file; fewer when a server makes it start again."""
        self._current += int(n_bytes or 0)
        self._tell()

    def file_done(self, size_bytes: int) -> None:
        """The current file is complete; what was counted of it gives way to what it has."""
        self._complete, self._current = self._complete + size_bytes, 0
        self._tell()

    def _tell(self) -> None:
        if self._report is None or not self.total:
            return
        try:
            self._report(max(0, min(self._complete + self._current, self.total)), self.total)
        except Exception as error:  # told apart from the hub's errors, which it would be among
            self.failure = error
            raise


def check_space(hub_id: str, needed_bytes: int, cache: Path, variable: str) -> None:
    """Raises StorageError where the cache's disk has less room. ``variable`` is what moves the cache."""
    folders = (cache.absolute(), *cache.absolute().parents)
    place = next(path for path in folders if os.path.isdir(path))
    try:
        free_bytes = shutil.disk_usage(place).free
    except OSError as error:
        raise storage_error(error, cache) from error
    if needed_bytes > free_bytes:
        raise StorageError(
            f"{hub_id}: {_megabytes(needed_bytes)} to fetch, but {cache} has {_megabytes(free_bytes)} free; "
            f"free some space or set {variable} to a folder elsewhere"
        )


def _megabytes(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:,.1f} MB"
