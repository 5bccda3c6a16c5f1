"""Bringing an index up to date with folders: what is new is read, what has moved is recognised, what is gone
goes. Photos whose size and time have not changed are not opened, nor are files known to be unreadable."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from seetell.core.errors import ImageError, StorageError
from seetell.core.lines import printable
from seetell.core.results import Failure
from seetell.media.listing import Skipped
from seetell.search.columns import Known, in_groups, row_path
from seetell.search.details import FileRead, Stamp, read_ahead, stamp_of
from seetell.search.paths import is_gone
from seetell.search.remembered import Remembered
from seetell.search.survey import Survey, survey
from seetell.search.table import PhotoTable
from seetell.tasks.api import AnyModel

What = Literal["added", "updated", "moved", "removed", "unchanged", "failed_before"]

# Rows are written when so many are waiting or the first has waited so long: what a killed process loses.
_COMMIT_ROWS = 512
_COMMIT_AFTER_S = 5.0
# Commits between two tidyings; each leaves a small file behind.
_TIDY_EVERY = 40
# Rows taken out together.
_REMOVED_AT_ONCE = 10_000
# Failures that are over when the file can be opened again.
_MAY_PASS = frozenset({"permission", "missing"})


@dataclass(frozen=True, slots=True)
class Change:
    """What has become of one photo of the index. ``moved``: its file has a new name or place.
    ``failed_before``: a file that could not be read in an earlier run and has not changed since; it was not
    tried again."""

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
        remembered: what belongs to the table besides; saved when there is something new.
        retry: also try files that could not be read before.
        moved: ids of photos whose folders have moved together with the index.
    """

    def __init__(
        self,
        table: PhotoTable,
        model: AnyModel,
        remembered: Remembered,
        *,
        retry: bool = False,
        moved: frozenset[int] = frozenset(),
    ) -> None:
        self._table = table
        self._model = model
        self._remembered = remembered
        self._retry = retry
        self._moved = moved
        self._known = {one.path: one for one in table.known()}
        # By content hash: the rows that hold the bytes, by id, and of these the photos that are not where
        # they were, by name, once they have been looked for.
        self._of_hash: dict[str, dict[int, Known]] = {}
        for one in self._known.values():
            self._of_hash.setdefault(one.sha256, {})[one.id] = one
        self._strayed: dict[str, dict[str, list[Known]]] = {}
        self._captioned = table.has_captions()
        self._next_id = 1 + max((one.id for one in self._known.values()), default=0)
        self._commit_number = 1 + table.newest_commit()
        self._waiting: list[_Row] = []
        self._waiting_since = 0.0
        # By content hash: vectors of rows that wait, and copies of photos that are being embedded.
        self._vectors: dict[str, NDArray[np.float32]] = {}
        self._copies: dict[str, list[FileRead]] = {}
        self._again: deque[FileRead] = deque()
        self._commits = 0
        self._claimed: set[int] = set()
        self._dropped: list[Known] = []

    def changes(
        self, given: Sequence[str], also: Iterable[str] = (), skipped: Skipped | None = None
    ) -> Iterator[Change | Failure]:
        """Bring folders and files up to date. A change is given once it is written, in no set order.

        Args:
            given: absolute paths.
            also: files to look at that nobody named.
            skipped: takes up what the walk leaves out.

        Raises StorageError.
        """
        found = survey(
            given,
            self._known.values(),
            self._remembered.outright,
            also,
            Skipped() if skipped is None else skipped,
        )
        self._remembered.outright |= found.outright
        candidates = []
        for path, stamp in found.listed.items():
            known = self._known.get(path)
            if known is not None and stamp == Stamp(known.size_bytes, known.mtime_ns):
                yield Change("moved" if known.id in self._moved else "unchanged", path)
            elif stamp is not None and stamp == self._remembered.failed.get(path) and not self._retry:
                yield Change("failed_before", path)
            else:
                candidates.append(path)
        self._forget_failures(found)
        yield from self._read(candidates)
        yield from self._flush()
        yield from self._remove([*found.gone, *self._dropped])
        yield from self._named(found)
        self._remembered.save()
        if self._commits:
            self._tidy()

    def _forget_failures(self, found: Survey) -> None:
        """Those of files that are not there any more, or have changed."""
        for path, stamp in list(self._remembered.failed.items()):
            gone = path not in found.listed and found.covers(path)
            if gone or (path in found.listed and (self._retry or found.listed[path] != stamp)):
                del self._remembered.failed[path]

    def _named(self, found: Survey) -> Iterator[Failure]:
        """The places that look as if a disk were not mounted."""
        for place, photos in found.away.items():
            count = sum(one.id not in self._claimed for one in photos)
            if count:
                yield Failure(place, _lost(place, count))

    # --- reading ----------------------------------------------------------------------------------------

    def _read(self, candidates: list[str]) -> Iterator[Change | Failure]:
        with closing(read_ahead(candidates)) as reads:
            left = bool(candidates)
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

        def to_embed() -> Iterator[str]:
            nonlocal left
            while (read := self._again.popleft() if self._again else next(reads, None)) is not None:
                if not self._have(read):
                    embedding.append(read)
                    yield read.path
                elif self._due():
                    left = True
                    return

        for result in self._model.stream("embed_images", to_embed()):
            yield from self._embedded(embedding.popleft(), result)
            if self._due():
                yield from self._flush()
        return left or bool(self._again)

    def _have(self, read: FileRead) -> bool:
        """Whether the vector of these bytes is there or on its way, so that they need not be embedded."""
        if read.sha256 is None:
            return False
        if rows := self._of_hash.get(read.sha256):
            self._put(read, source=next(reversed(rows)))
        elif read.sha256 in self._vectors:
            self._put(read, vector=self._vectors[read.sha256])
        elif read.sha256 in self._copies:
            self._copies[read.sha256].append(read)
        else:
            self._copies[read.sha256] = []
            return False
        return True

    def _embedded(self, read: FileRead, result: Any) -> Iterator[Failure]:
        """Have a photo written with its vector, and its copies; or say why not."""
        copies = [] if read.sha256 is None else self._copies.pop(read.sha256)
        if isinstance(result, Failure):
            yield self._failed(read, result)
            for copy in copies:  # the bytes are the same, and so is what is wrong with them
                said = str(result.error).replace(printable(read.path), printable(copy.path), 1)
                kind = getattr(result.error, "kind", "unreadable")
                yield self._failed(copy, Failure(copy.path, ImageError(kind, said)))
            return
        if read.sha256 is None or stamp_of(read.path) != read.stamp:
            yield self._failed(read, _changed(read.path))
            self._again.extend(copies)
            return
        self._put(read, vector=result)
        for copy in copies:
            if stamp_of(copy.path) == copy.stamp:
                self._put(copy, vector=result)
            else:
                yield self._failed(copy, _changed(copy.path))

    def _put(
        self, read: FileRead, *, vector: NDArray[np.float32] | None = None, source: int | None = None
    ) -> None:
        """Have the photo written with the next commit, with its vector or the one of row ``source``."""
        assert read.sha256 is not None and read.stamp is not None
        known = self._known.get(read.path)
        if known is not None:
            what: What = "unchanged" if known.sha256 == read.sha256 else "updated"
            if what == "unchanged" and known.id in self._moved:
                what = "moved"
            number = known.id
            if what == "updated":
                # Its row will hold other bytes. What is waiting for the old ones gets them before.
                self._forget_row(known)
        elif (moved := self._moved_from(read)) is not None:
            self._claimed.add(moved.id)
            what, number = "moved", moved.id
        else:
            what, number = "added", self._next_id
            self._next_id += 1
        kept = self._remembered.captions.get(read.sha256)
        columns = {
            "id": number,
            "commit": self._commit_number,
            **row_path(read.path),
            "size_bytes": read.stamp.size_bytes,
            "mtime_ns": read.stamp.mtime_ns if read.settled else -1,
            "sha256": read.sha256,
            **asdict(read.details),
            "caption": None if kept is None else kept.text,
            "vector": vector,
        }
        if not self._waiting:
            self._waiting_since = time.monotonic()
        if vector is not None:
            self._vectors[read.sha256] = vector
        self._waiting.append(_Row(columns, source, Change(what, read.path)))

    def _moved_from(self, read: FileRead) -> Known | None:
        """The photo of the same bytes that is not where it was, wherever that is; of several one that has
        kept its name."""
        assert read.sha256 is not None
        strayed = self._strayed.get(read.sha256)
        if strayed is None:
            strayed = self._strayed[read.sha256] = {}
            for one in self._of_hash.get(read.sha256, {}).values():
                if is_gone(one.path):
                    strayed.setdefault(os.path.basename(one.path), []).append(one)
        if not strayed:
            return None
        name = os.path.basename(read.path)
        name = name if name in strayed else next(iter(strayed))
        found = strayed[name].pop()
        if not strayed[name]:
            del strayed[name]
        return found

    def _forget_row(self, known: Known) -> None:
        rows = self._of_hash.get(known.sha256, {})
        rows.pop(known.id, None)
        if not rows:
            self._of_hash.pop(known.sha256, None)

    def _failed(self, read: FileRead, failure: Failure) -> Failure:
        kind = getattr(failure.error, "kind", "")
        if kind in _MAY_PASS or stamp_of(read.path) != read.stamp:
            return failure  # it says nothing about the photo: what was indexed of it stays
        if kind == "unreadable" and read.sha256 is None:
            return failure  # the disk was, not the photo
        known = self._known.get(read.path)
        if known is not None:
            self._dropped.append(known)  # what is indexed is not what is there
            self._forget_row(known)
        if read.stamp is not None and read.settled and _will_fail_again(failure):
            self._remembered.failed[read.path] = read.stamp
        return failure

    # --- writing ----------------------------------------------------------------------------------------

    def _due(self) -> bool:
        late = time.monotonic() - self._waiting_since > _COMMIT_AFTER_S
        return len(self._waiting) >= _COMMIT_ROWS or (bool(self._waiting) and late)

    def _flush(self) -> Iterator[Change]:
        if not self._waiting:
            return
        rows, self._waiting, self._vectors = self._waiting, [], {}
        sources = self._table.contents_of([row.source for row in rows if row.source is not None])
        for row in rows:
            if row.source is not None:
                source = sources[row.source]
                row.columns["vector"] = source.vector
                row.columns["caption"] = source.caption or row.columns["caption"]
        self._keep_captions([row.columns["id"] for row in rows if row.change.what == "updated"])
        self._table.commit(
            [row.columns for row in rows], replaces=any(row.change.what != "added" for row in rows)
        )
        self._commit_number += 1
        self._commits += 1
        for row in rows:
            self._written(row)
        if self._commits % _TIDY_EVERY == 0:
            self._tidy()
        for row in rows:
            yield row.change

    def _written(self, row: _Row) -> None:
        columns = row.columns
        self._captioned = self._captioned or columns["caption"] is not None
        written = Known(
            columns["id"], row.change.photo, columns["size_bytes"], columns["mtime_ns"], columns["sha256"]
        )
        self._of_hash.setdefault(written.sha256, {})[written.id] = written
        if columns["caption"] is not None:
            self._remembered.captions.pop(written.sha256, None)

    def _remove(self, gone: list[Known]) -> Iterator[Change]:
        left = {one.id: one for one in gone if one.id not in self._claimed}
        for group in in_groups(left, _REMOVED_AT_ONCE):
            self._keep_captions(group)
            self._table.remove(group)
            self._commits += 1
        dropped = {one.id for one in self._dropped}
        for number, one in left.items():
            if number not in dropped:  # of those it has been said why
                yield Change("removed", one.path)

    def _keep_captions(self, ids: list[int]) -> None:
        """Remember the captions of rows that are about to go: their photos may come back."""
        if ids and self._captioned:
            self._remembered.keep(self._table.captions_of(ids))
            self._remembered.save()

    def _tidy(self) -> None:
        # Everything is written; that there is no room to write it more neatly is no failure.
        with suppress(StorageError):
            self._table.tidy()


def _will_fail_again(failure: Failure) -> bool:
    """Not where memory was short, nor where somebody refused the photo."""
    error = failure.error
    return isinstance(error, ImageError) and not isinstance(error.__cause__, MemoryError)


def _changed(path: str) -> Failure:
    said = f"{printable(path)}: changed while it was read; index again"
    return Failure(path, ImageError("unreadable", said))


def not_embedded_anew(place: str, count: int) -> ImageError:
    """What is said of photos that an earlier state of the model had seen, and that are not there now."""
    which = f"{count:,} photo{'' if count == 1 else 's'} that an earlier state of the model had seen"
    return ImageError("missing", f"{printable(place)}: {which}: mount the disk, and index again")


def _lost(place: str, count: int) -> ImageError:
    which = f"{count:,} indexed photo{'' if count == 1 else 's'} not there now, kept in the index"
    return ImageError(
        "missing", f"{printable(place)}: {which}: mount the disk, or take them out with --remove"
    )
