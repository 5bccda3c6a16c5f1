"""Where the photos of an index are kept: in memory, or in a folder on disk."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from seetell.core.errors import UsageError
from seetell.core.results import Caption, Failure
from seetell.media.images import list_photos
from seetell.search.duplicates import alike, groups_of
from seetell.search.index_folder import IndexFolder, ModelTable
from seetell.search.scan import Found, VectorScan
from seetell.search.table import PhotoTable, in_groups, require_lancedb
from seetell.search.updating import Change, Updater
from seetell.tasks.model import Model

# Above this LanceDB's index answers in place of the scan in memory.
EXACT_ROWS = 1_000_000

# A photo's path and its score.
Scored = tuple[str, float]

_REMOVED_AT_ONCE = 512
# Captions written together; a killed process loses fewer.
_CAPTIONED_AT_ONCE = 64


class Rows(Protocol):
    """Photos by path, each with a vector."""

    def count(self) -> int:
        """How many photos there are."""
        ...

    def has(self, path: str) -> bool:
        """Whether there is a photo of that path."""
        ...

    def changes(self, given: Iterable[str | os.PathLike[str]]) -> Iterator[Change | Failure]:
        """Bring folders and files up to date."""
        ...

    def remove(self, places: Sequence[Path]) -> int:
        """Forget files, and all below folders; how many there were."""
        ...

    def nearest(self, vectors: NDArray[np.float32], k: int, where: str | None) -> list[list[Scored]]:
        """The ``k`` best photos for each of the vectors float32[Q, S], best first."""
        ...


class MemoryRows:
    """Held by this process alone; a photo known already is read again."""

    def __init__(self, model: Model, threads: int | None = None) -> None:
        self._model = model
        self._threads = threads
        self._lock = threading.Lock()
        self._ids: dict[str, int] = {}
        self._paths: dict[int, str] = {}
        self._scan: VectorScan | None = None
        self._next_id = 0

    def count(self) -> int:
        return len(self._ids)

    def has(self, path: str) -> bool:
        return path in self._ids

    def changes(self, given: Iterable[str | os.PathLike[str]]) -> Iterator[Change | Failure]:
        names: list[str] = []

        def paths() -> Iterator[Path]:
            for path in list_photos(Path(one) for one in given):
                names.append(str(path))
                yield path

        for done, result in enumerate(self._model.stream("embed_images", paths())):
            if isinstance(result, Failure):
                yield result
            else:
                yield self._keep(names[done], result)

    def remove(self, places: Sequence[Path]) -> int:
        with self._lock:
            gone = [path for path in self._ids if _inside(path, places)]
            for path in gone:
                del self._paths[self._ids.pop(path)]
            if gone and self._scan is not None:
                self._scan.keep_only(np.array(list(self._paths), np.int64))
        return len(gone)

    def nearest(self, vectors: NDArray[np.float32], k: int, where: str | None) -> list[list[Scored]]:
        if where is not None:
            raise UsageError("a condition needs an index on disk: make one with seetell index")
        with self._lock:
            if self._scan is None:
                return [[] for _ in vectors]
            found = self._scan.search(vectors, k)
            return _named(found, self._paths)

    def _keep(self, path: str, vector: NDArray[np.float32]) -> Change:
        with self._lock:
            known = self._ids.get(path)
            number = self._next_id if known is None else known
            if self._scan is None:
                self._scan = VectorScan(len(vector), self._threads)
            self._scan.put(np.array([number]), vector[None])
            self._ids[path], self._paths[number] = number, path
            self._next_id += known is None
        return Change("added" if known is None else "updated", path)


class StoredRows:
    """In a folder on disk. Other processes may write it meanwhile; a search finds what is committed.

    Raises StorageError and MissingExtra. An index of other models is opened, for this one may be added to it
    by :meth:`changes`; until then all else raises UsageError.
    """

    def __init__(self, place: Path, model: Model, threads: int | None = None) -> None:
        require_lancedb()
        self._place = place
        self._model = model
        self._threads = threads
        self._folder = IndexFolder(place)
        self._lock = threading.RLock()
        self._table: PhotoTable | None = None
        self._version = 0
        self._commit = 0
        self._count, self._counted = 0, -1
        self._paths: dict[int, str] = {}
        self._scan: VectorScan | None = None
        self._folder.tables()  # for its errors

    def require_model(self) -> None:
        """Raises UsageError where other models made the index, or an earlier state of this one."""
        self._folder.table_of(self._model)

    def count(self) -> int:
        with self._lock:
            table = self._opened()
            if table is None:
                return 0
            table.refresh()
            return table.count()

    def has(self, path: str) -> bool:
        with self._lock:
            table = self._opened()
            if table is None:
                return False
            table.refresh()
            return table.has(path)

    def changes(self, given: Iterable[str | os.PathLike[str]]) -> Iterator[Change | Failure]:
        given = list(given)
        with self._folder.writing():
            entry = self._folder.make_table(self._model, self._shared_dim())
            table = PhotoTable(self._place, entry.table, entry.shared_dim, create=True)
            captions: dict[str, str] = {}
            if entry.unfinished is not None:
                # The photos of the model's other states, wherever they lie, are embedded anew.
                for older in self._others(entry):
                    captions |= older.captions()
                    given += [one.path for one in older.known() if os.path.lexists(one.path)]
            yield from Updater(table, self._model, captions).changes(given)
            if entry.unfinished is not None:
                _carry_over(captions, table)
                self._folder.finish(entry)
            if table.count() > EXACT_ROWS:
                table.index_vectors()

    def remove(self, places: Sequence[Path]) -> int:
        with self._folder.writing():
            entry = self._folder.table_of(self._model)
            if entry is None:
                return 0
            # From the model's other states first: whatever is left there comes back when it is embedded anew.
            for older in self._others(entry):
                _remove(older, places)
            table = self._opened()
            return 0 if table is None else _remove(table, places)

    def nearest(self, vectors: NDArray[np.float32], k: int, where: str | None) -> list[list[Scored]]:
        with self._lock:
            table = self._opened()
            if table is None:
                return [[] for _ in vectors]
            version = table.refresh()
            if self._size(table, version) > EXACT_ROWS:
                return [table.nearest(vector, k, where) for vector in vectors]
            scan = self._brought_up_to_date(table, version)
            allowed = None if where is None else table.ids(where)
            found = scan.search(vectors, k, allowed)
            return _named(found, self._paths)

    def matching(self, text: str, vector: NDArray[np.float32], k: int, where: str | None) -> list[Scored]:
        """The ``k`` photos whose captions have the words of a text, best first, and their cosines with
        float32[S]. Raises UsageError where there are photos, and no captions to look through."""
        with self._lock:
            table = self._opened()
            if table is None:
                return []
            table.refresh()
            ids = table.matching(text, k, where)
            contents = table.contents_of(ids)
            return [(contents[one].path, float(contents[one].vector @ vector)) for one in ids]

    def batches(self) -> Iterator[tuple[list[str], NDArray[np.float32]]]:
        """Every path and vector, as the table has them: (B paths, float32[B, S])."""
        table = self._opened()
        if table is not None:
            table.refresh()
            for _, vectors, paths, _ in table.rows_since(0):
                yield paths, vectors

    def captions(self) -> list[str]:
        """All different captions."""
        table = self._opened()
        return [] if table is None else sorted(set(table.captions().values()))

    def duplicates(self) -> list[list[str]]:
        """Groups of photos that are the same or look it."""
        with self._lock:
            table = self._opened()
            if table is None:
                return []
            scan = self._brought_up_to_date(table, table.refresh())
            rows = ((ids, vectors) for ids, vectors, _, _ in table.rows_since(0))
            paths = sorted(self._paths[one] for one in alike(scan, rows))
            wanted = set(paths)
            hashes = {one.path: one.sha256 for one in table.known() if one.path in wanted}
        return groups_of(paths, hashes)

    def describe(self, language: str | None) -> Iterator[Caption | Failure]:
        """Have the model caption every photo that has no caption; each is given once it is written."""
        with self._folder.writing():
            table = self._opened()
            if table is None:
                return
            table.refresh()
            todo = table.uncaptioned()
            commit = 1 + table.newest_commit()
            waiting: dict[int, Caption] = {}
            results = self._model.stream("caption", (path for _, path in todo), language=language)
            for (one, _), result in zip(todo, results, strict=True):
                if isinstance(result, Failure):
                    yield result
                    continue
                waiting[one] = result
                if len(waiting) == _CAPTIONED_AT_ONCE:
                    yield from _written(table, waiting, commit)
                    commit += 1
                    waiting = {}
            yield from _written(table, waiting, commit)
            if table.has_captions():
                table.index_captions()
                table.tidy()

    def _opened(self) -> PhotoTable | None:
        """The table of our model; None where there is none yet."""
        if self._table is None:
            entry: ModelTable | None = self._folder.table_of(self._model)
            if entry is None:
                return None
            table = PhotoTable(self._place, entry.table, entry.shared_dim)
            if table.empty:
                return None
            self._table = table
        return self._table

    def _others(self, own: ModelTable) -> Iterator[PhotoTable]:
        """The tables of the model's other states that hold anything."""
        for one in self._folder.others(own):
            table = PhotoTable(self._place, one.table, one.shared_dim)
            if not table.empty:
                yield table

    def _size(self, table: PhotoTable, version: int) -> int:
        if version != self._counted:
            self._count, self._counted = table.count(), version
        return self._count

    def _brought_up_to_date(self, table: PhotoTable, version: int) -> VectorScan:
        """What is in memory, at this version of the table."""
        if self._scan is None:
            self._scan = VectorScan(table.shared_dim, self._threads)
        if version != self._version:
            newest = self._commit
            for ids, vectors, paths, commit in table.rows_since(self._commit):
                self._scan.put(ids, vectors)
                self._paths.update(zip(ids.tolist(), paths, strict=True))
                newest = max(newest, commit)
            self._keep_only(table.ids(), self._scan)
            self._commit, self._version = newest, version
        return self._scan

    def _keep_only(self, ids: NDArray[np.int64], scan: VectorScan) -> None:
        if len(ids) < len(self._paths):
            scan.keep_only(ids)
            for gone in self._paths.keys() - set(ids.tolist()):
                del self._paths[gone]

    def _shared_dim(self) -> int:
        # Asked of the model itself: a manifest may leave it open.
        blank = np.full((8, 8, 3), 128, np.uint8)
        return int(self._model.embed_images(blank).shape[1])


def _remove(table: PhotoTable, places: Sequence[Path]) -> int:
    """Take out what lies at or below these places; how many there were."""
    table.refresh()
    gone = [one.id for one in table.known() if _inside(one.path, places)]
    for group in in_groups(gone, _REMOVED_AT_ONCE):
        table.remove(group)
    return len(gone)


def _carry_over(captions: Mapping[str, str], table: PhotoTable) -> None:
    """Give photos that have none the captions of other tables, by content hash, and make them ready for
    searches: the tables that held them are about to go."""
    table.refresh()
    bare = {one for one, _ in table.uncaptioned()}
    found = {
        one.id: captions[one.sha256] for one in table.known() if one.id in bare and one.sha256 in captions
    }
    table.caption(found, 1 + table.newest_commit())
    if table.has_captions():
        table.index_captions()


def _written(table: PhotoTable, waiting: dict[int, Caption], commit: int) -> Iterator[Caption]:
    table.caption({one: caption.text for one, caption in waiting.items()}, commit)
    yield from waiting.values()


def _named(found: Sequence[Found], paths: Mapping[int, str]) -> list[list[Scored]]:
    return [
        [(paths[one], score) for one, score in zip(hit.ids.tolist(), hit.scores.tolist(), strict=True)]
        for hit in found
    ]


def _inside(path: str, places: Sequence[Path]) -> bool:
    return any(Path(path).is_relative_to(place) for place in places)
