"""Bringing an index up to date with folders: what is new is read, what has moved is recognised, what is gone
goes. Photos whose size and time have not changed are not opened."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from seetell.core.errors import ImageError, StorageError, UsageError
from seetell.core.lines import printable
from seetell.core.results import Failure
from seetell.media.images import list_photos
from seetell.search.details import FileRead, Stamp, read_file, stamp_of
from seetell.search.table import Known, PhotoTable, in_groups, row_path
from seetell.tasks.model import Model

What = Literal["added", "updated", "moved", "removed", "unchanged"]

# Rows are written when so many are waiting or the first has waited so long: what a killed process loses.
_COMMIT_ROWS = 512
_COMMIT_AFTER_S = 5.0
# Commits between two tidyings; each leaves a small file behind.
_TIDY_EVERY = 40
# Files read ahead, to know their hashes, while photos are embedded.
_AHEAD = 32
_READERS = 2
# A file written so shortly before it was read may be written again without its time telling.
_SETTLED_NS = 2_000_000_000
# Failures that say nothing about the photo itself: what was indexed of it stays.
_MAY_PASS = frozenset({"permission", "missing", "unreadable"})


@dataclass(frozen=True, slots=True)
class Change:
    """What has become of one photo of the index. ``moved``: its file has a new name or place."""

    what: What
    photo: str


@dataclass(frozen=True, slots=True)
class _Row:
    """A row about to be written, and what it means once it is. source: the id of the row that has the vector
    and the caption of these bytes already; its columns lack them."""

    columns: dict[str, Any]
    source: int | None
    change: Change


class Updater:
    """One update of a table. The caller holds the lock.

    Args:
        table: to bring up to date.
        model: gives the vectors.
        captions: by content hash, of an earlier table of the same photos.
    """

    def __init__(self, table: PhotoTable, model: Model, captions: dict[str, str]) -> None:
        self._table = table
        self._model = model
        self._captions = captions
        self._known = {one.path: one for one in table.known()}
        self._of_hash = {one.sha256: one for one in self._known.values()}
        self._next_id = 1 + max((one.id for one in self._known.values()), default=0)
        self._commit_number = 1 + table.newest_commit()
        self._waiting: list[_Row] = []
        self._waiting_since = 0.0
        self._commits = 0
        self._gone: dict[str, Known] = {}
        self._gone_of_hash: dict[str, list[Known]] = {}
        self._dropped: list[int] = []

    def changes(self, given: Iterable[str | os.PathLike[str]]) -> Iterator[Change | Failure]:
        """Bring folders and files up to date. A change is given once it is written, in no set order.

        Raises UsageError for a folder that has lost all its photos, and StorageError.
        """
        folders, listed = self._listed(given)
        self._gone = self._missing(folders, listed)
        for one in self._gone.values():
            self._gone_of_hash.setdefault(one.sha256, []).append(one)
        candidates = []
        for path in listed:
            known, stamp = self._known.get(str(path)), stamp_of(path)
            if known is not None and stamp == Stamp(known.size_bytes, known.mtime_ns):
                yield Change("unchanged", str(path))
            else:
                candidates.append(path)
        yield from self._read(candidates)
        yield from self._flush()
        yield from self._remove_gone()
        if self._commits:
            self._tidy()

    # --- what there is ----------------------------------------------------------------------------------

    def _listed(self, given: Iterable[str | os.PathLike[str]]) -> tuple[list[Path], dict[Path, None]]:
        """The folders among what is given, and the photos of all, each once and in order."""
        places = [Path(os.path.abspath(one)) for one in given]
        folders = [place for place in places if place.is_dir()]
        return folders, dict.fromkeys(list_photos(places))

    def _missing(self, folders: list[Path], listed: dict[Path, None]) -> dict[str, Known]:
        """Photos known below the folders and not there any more."""
        unlisted = [path for path in listed if path.is_dir()]  # cannot be looked into
        inside = [one for one in self._known.values() if _below(one.path, folders)]
        gone = {
            one.path: one
            for one in inside
            if Path(one.path) not in listed and not _below(one.path, unlisted) and _looked_for(one.path)
        }
        for folder in folders:
            mine = [one for one in inside if _below(one.path, [folder])]
            if (
                mine
                and all(one.path in gone for one in mine)
                and not any(_below(p, [folder]) for p in listed)
            ):
                # A disk that is not mounted looks like this.
                raise UsageError(
                    f"{folder}: none of its {len(mine)} indexed photos is there any more; mount the disk, or "
                    "take them out of the index with --remove"
                )
        return gone

    # --- reading ----------------------------------------------------------------------------------------

    def _read(self, candidates: list[Path]) -> Iterator[Change | Failure]:
        with closing(_read_ahead(candidates)) as reads:
            left = True
            while left:
                left = yield from self._read_until_due(reads)
                if self._due():
                    yield from self._flush()

    def _read_until_due(self, reads: Iterator[FileRead]) -> Generator[Change | Failure, None, bool]:
        """Read until known files are to be written; whether any files are left.

        The model asks for files until it has a batch, and gives nothing meanwhile: where all are known, as in
        a folder that was renamed, its stream has to end for anything to be written.
        """
        embedding: deque[FileRead] = deque()
        left = False

        def to_embed() -> Iterator[Path]:
            nonlocal left
            for read in reads:
                same = None if read.sha256 is None else self._of_hash.get(read.sha256)
                if same is None:
                    embedding.append(read)
                    yield read.path
                    continue
                self._put(read, source=same.id)
                if self._due():
                    left = True
                    return

        for result in self._model.stream("embed_images", to_embed()):
            read = embedding.popleft()
            if isinstance(result, Failure):
                yield self._failed(read, result)
            elif read.sha256 is None or stamp_of(read.path) != read.stamp:
                changed = f"{printable(str(read.path))}: changed while it was read; index again"
                yield self._failed(read, Failure(str(read.path), ImageError("unreadable", changed)))
            else:
                self._put(read, vector=result)
            if self._due():
                yield from self._flush()
        return left

    def _put(
        self, read: FileRead, *, vector: NDArray[np.float32] | None = None, source: int | None = None
    ) -> None:
        """Have the photo written with the next commit, with its vector or the one of row ``source``."""
        assert read.sha256 is not None and read.stamp is not None
        path = str(read.path)
        known = self._known.get(path)
        if known is not None:
            what: What = "unchanged" if known.sha256 == read.sha256 else "updated"
            number = known.id
            if what == "updated" and self._of_hash.get(known.sha256) is known:
                # Its row will hold other bytes. What is waiting for the old ones gets them before.
                del self._of_hash[known.sha256]
        elif alike := self._gone_of_hash.get(read.sha256):
            moved = alike.pop()
            del self._gone[moved.path]
            what, number = "moved", moved.id
        else:
            what, number = "added", self._next_id
            self._next_id += 1
        settled = time.time_ns() - read.stamp.mtime_ns > _SETTLED_NS
        columns = {
            "id": number,
            "commit": self._commit_number,
            **row_path(path),
            "size_bytes": read.stamp.size_bytes,
            "mtime_ns": read.stamp.mtime_ns if settled else -1,
            "sha256": read.sha256,
            **asdict(read.details),
            "caption": self._captions.get(read.sha256),
            "vector": vector,
        }
        if not self._waiting:
            self._waiting_since = time.monotonic()
        self._waiting.append(_Row(columns, source, Change(what, path)))

    def _failed(self, read: FileRead, failure: Failure) -> Failure:
        known = self._known.get(str(read.path))
        if known is not None and getattr(failure.error, "kind", "") not in _MAY_PASS:
            self._dropped.append(known.id)  # what is indexed is not what is there
        return failure

    # --- writing ----------------------------------------------------------------------------------------

    def _due(self) -> bool:
        late = time.monotonic() - self._waiting_since > _COMMIT_AFTER_S
        return len(self._waiting) >= _COMMIT_ROWS or (bool(self._waiting) and late)

    def _flush(self) -> Iterator[Change]:
        if not self._waiting:
            return
        rows, self._waiting = self._waiting, []
        sources = self._table.contents_of([row.source for row in rows if row.source is not None])
        for row in rows:
            if row.source is not None:
                source = sources[row.source]
                row.columns["vector"], row.columns["caption"] = source.vector, source.caption
        self._table.commit(
            [row.columns for row in rows], replaces=any(row.change.what != "added" for row in rows)
        )
        self._commit_number += 1
        self._commits += 1
        if self._commits % _TIDY_EVERY == 0:
            self._tidy()
        for row in rows:
            yield row.change

    def _remove_gone(self) -> Iterator[Change]:
        ids = [*self._dropped, *(one.id for one in self._gone.values())]
        for group in in_groups(ids, _COMMIT_ROWS):
            self._table.remove(group)
            self._commits += 1
        for path in self._gone:
            yield Change("removed", path)

    def _tidy(self) -> None:
        # Everything is written; that there is no room to write it more neatly is no failure.
        with suppress(StorageError):
            self._table.tidy()


def _read_ahead(paths: list[Path]) -> Generator[FileRead]:
    """Read files in order, the next ones while the last is used. The bytes are let go at once."""
    with ThreadPoolExecutor(_READERS, thread_name_prefix="seetell-hash") as pool:
        waiting: deque[Future[FileRead]] = deque()
        try:
            for path in paths:
                waiting.append(pool.submit(read_file, path))
                if len(waiting) >= _AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _below(path: str | Path, folders: list[Path]) -> bool:
    return any(Path(path).is_relative_to(folder) for folder in folders)


def _looked_for(path: str) -> bool:
    """Whether a photo that is not listed is known to be no longer where it was, or to be listed elsewhere."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False  # may come back
    return True
