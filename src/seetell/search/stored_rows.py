"""The photos of an index on disk."""

from __future__ import annotations

import os
import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seetell.core.results import Caption, Failure
from seetell.media.listing import Skipped
from seetell.search.columns import in_groups
from seetell.search.duplicates import alike, groups_of
from seetell.search.index_folder import IndexFolder, ModelTable
from seetell.search.moves import moves_of
from seetell.search.paths import Below, is_gone
from seetell.search.remembered import Remembered
from seetell.search.rows import SAMPLE, Places, Scored
from seetell.search.scan import Found, VectorScan
from seetell.search.survey import lost_by
from seetell.search.table import PhotoTable, require_lancedb
from seetell.search.updating import Change, Updater, not_embedded_anew
from seetell.tasks.api import AnyModel

# Above this LanceDB's index answers in place of the scan in memory.
EXACT_ROWS = 1_000_000

# Rows written or taken out together.
_AT_ONCE = 10_000
# Captions written together; a killed process loses fewer.
_CAPTIONED_AT_ONCE = 64


class StoredRows:
    """In a folder on disk. Other processes may write it meanwhile; a search finds what is committed.

    Raises StorageError and MissingExtra. An index of other models is opened, for this one may be added to it
    by :meth:`changes`; until then all else raises UsageError.
    """

    def __init__(self, place: Path, model: AnyModel, threads: int | None = None) -> None:
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
        # By id: path and content of the photos that are in memory.
        self._photos: dict[int, tuple[str, bytes]] = {}
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

    def changes(
        self, given: Iterable[str], skipped: Skipped, *, retry: bool = False
    ) -> Iterator[Change | Failure]:
        places = [os.path.abspath(one) for one in given]
        with self._folder.writing():
            entry = self._folder.make_table(self._model, self._shared_dim)
            moved = self._settle().get(entry.table, frozenset())
            table = PhotoTable(self._place, entry.table, entry.shared_dim, create=True)
            remembered = self._folder.remembered(entry.table)
            also: list[str] = []
            if entry.unfinished is not None:
                also = yield from self._carried(entry, remembered, Below(places))
            updater = Updater(table, self._model, remembered, retry=retry, moved=moved)
            yield from updater.changes(places, also, skipped)
            if entry.unfinished is not None:
                _give_captions(remembered, table)
                self._folder.finish(entry)
            if table.count() > EXACT_ROWS:
                table.index_vectors()

    def remove(self, places: Sequence[str]) -> int:
        with self._folder.writing():
            entry = self._folder.table_of(self._model)
            if entry is None:
                return 0
            self._settle()
            named = Places(places)
            # From the model's other states first: whatever is left there comes back when it is embedded anew.
            for other in [*self._folder.others(entry), entry]:
                table = PhotoTable(self._place, other.table, other.shared_dim)
                gone = [number for number, path in table.paths() if path in named]
                for group in in_groups(gone, _AT_ONCE):
                    table.remove(group)
                remembered = self._folder.remembered(other.table)
                remembered.forget(named)
                remembered.save()
            return len(gone)

    def nearest(self, vectors: NDArray[np.float32], k: int, where: str | None) -> list[list[Scored]]:
        with self._lock:
            table = self._opened()
            if table is None:
                return [[] for _ in vectors]
            version = table.refresh()
            if self._size(table, version) > EXACT_ROWS:
                return [
                    [
                        Scored(path, score, bytes.fromhex(sha256), vector)
                        for path, sha256, score, vector in table.nearest(one, k, where)
                    ]
                    for one in vectors
                ]
            scan = self._brought_up_to_date(table, version)
            allowed = None if where is None else table.ids(where)
            return [self._scored(found, scan) for found in scan.search(vectors, k, allowed)]

    def sample(self) -> NDArray[np.float32]:
        with self._lock:
            table = self._opened()
            if table is None:
                return np.zeros((0, 0), np.float32)
            version = table.refresh()
            if self._size(table, version) > EXACT_ROWS:
                # Those read first: to spread them all ids would have to be read.
                first = next(table.rows_since(0)).vectors
                return first[:: max(1, -(-len(first) // SAMPLE))]
            return self._brought_up_to_date(table, version).sample(SAMPLE)

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
        photos = [contents[one] for one in ids]
        return [
            Scored(one.path, float(one.vector @ vector), bytes.fromhex(one.sha256), one.vector)
            for one in photos
        ]

    def batches(self) -> Iterator[tuple[list[str], NDArray[np.float32]]]:
        """Every path and vector, as the table has them: (B paths, float32[B, S])."""
        table = self._opened()
        if table is not None:
            table.refresh()
            for rows in table.rows_since(0):
                yield rows.paths, rows.vectors

    def captions(self) -> list[str]:
        """All different captions."""
        table = self._opened()
        return [] if table is None else sorted({text for _, text in table.captions().values()})

    def cameras(self) -> list[str]:
        """The cameras that photos name, those of most photos first."""
        with self._lock:
            table = self._opened()
            if table is None:
                return []
            table.refresh()
            return [name for name, _ in table.cameras().most_common()]

    def duplicates(self) -> list[list[str]]:
        """Groups of photos that are the same or look it."""
        with self._lock:
            table = self._opened()
            if table is None:
                return []
            scan = self._brought_up_to_date(table, table.refresh())
            every = ((rows.ids, rows.vectors) for rows in table.rows_since(0))
            paths = sorted(self._photos[one][0] for one in alike(scan, every))
            wanted = set(paths)
            hashes = {one.path: one.sha256 for one in table.known() if one.path in wanted}
        return groups_of(paths, hashes)

    def describe(self, language: str | None) -> Iterator[Caption | Failure]:
        """Have the model caption every photo that has no caption; each is given once it is written. Copies
        are looked at once, photos that are not there at present not at all."""
        with self._folder.writing():
            table = self._opened()
            if table is None:
                return
            table.refresh()
            todo = _to_caption(table)
            commit = 1 + table.newest_commit()
            waiting: dict[int, Caption] = {}
            results = self._model.stream("caption", iter(todo), language=language)
            for copies, result in zip(todo.values(), results, strict=True):
                if isinstance(result, Failure):
                    yield result
                    continue
                waiting.update(dict.fromkeys(copies, result))
                if len(waiting) >= _CAPTIONED_AT_ONCE:
                    yield from _written(table, waiting, commit)
                    commit += 1
                    waiting = {}
            yield from _written(table, waiting, commit)
            if table.has_captions():
                table.index_captions()
                table.tidy()

    def undescribed(self) -> int:
        """How many photos :meth:`describe` would look at."""
        with self._lock:
            table = self._opened()
            if table is None:
                return 0
            table.refresh()
            return len(_to_caption(table))

    # --- tables -----------------------------------------------------------------------------------------

    def _opened(self) -> PhotoTable | None:
        """The table of our model; None where there is none yet."""
        if self._table is None:
            entry: ModelTable | None = self._folder.table_of(self._model)
            if entry is None:
                return None
            table = self._open(entry)
            if table.empty:
                return None
            self._table = table
        return self._table

    def _open(self, entry: ModelTable) -> PhotoTable:
        """A table that tells where photos lie now, also when the index has been moved with them."""
        table = PhotoTable(self._place, entry.table, entry.shared_dim)
        former = self._folder.former_place()
        if former is not None:
            here = Path(os.path.abspath(self._place))
            table.moves = moves_of(former, here, ((one.path, one.size_bytes) for one in table.known()))
        return table

    def _settle(self) -> dict[str, frozenset[int]]:
        """Where the index has been moved, write down where its photos lie now; the ids of those that have
        moved with it, by table."""
        if self._folder.is_settled():
            return {}
        moved = {}
        for entry in self._folder.tables():
            table = self._open(entry)
            if not table.moves:
                continue
            paths = {number: path for number, path in table.paths() if table.moves.before(path) != path}
            for number, group in enumerate(in_groups(paths, _AT_ONCE), 1 + table.newest_commit()):
                table.rename({one: paths[one] for one in group}, number)
            remembered = self._folder.remembered(entry.table)
            remembered.move(table.moves.now)
            remembered.save()
            moved[entry.table] = frozenset(paths)
        self._folder.settle()
        self._table = None
        return moved

    def _others(self, own: ModelTable) -> Iterator[tuple[PhotoTable, Remembered]]:
        """The tables of the model's other states that hold anything."""
        for one in self._folder.others(own):
            table = PhotoTable(self._place, one.table, one.shared_dim)
            if not table.empty:
                yield table, self._folder.remembered(one.table)

    def _carried(
        self, own: ModelTable, remembered: Remembered, given: Below
    ) -> Generator[Failure, None, list[str]]:
        """The photos of the model's other states that nobody has named this time: they are embedded anew.
        Their captions are remembered; where photos are not there, that is said of the place."""
        also: list[str] = []
        missing: dict[str, set[str]] = {}
        for table, theirs in self._others(own):
            remembered.outright |= theirs.outright
            remembered.captions |= theirs.captions
            remembered.keep((sha256, *caption) for sha256, caption in table.captions().items())
            for one in table.known():
                if not is_gone(one.path):
                    if one.path not in given:
                        also.append(one.path)
                elif (place := lost_by(os.path.dirname(one.path))) is not None:
                    missing.setdefault(place, set()).add(one.path)
        remembered.save()
        for place, photos in missing.items():
            yield Failure(place, not_embedded_anew(place, len(photos)))
        return also

    # --- memory -----------------------------------------------------------------------------------------

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
            for rows in table.rows_since(self._commit):
                self._scan.put(rows.ids, rows.vectors)
                contents = map(bytes.fromhex, rows.hashes)
                self._photos.update(
                    zip(rows.ids.tolist(), zip(rows.paths, contents, strict=True), strict=True)
                )
                newest = max(newest, rows.commit)
            self._keep_only(table.ids(), self._scan)
            self._commit, self._version = newest, version
        return self._scan

    def _keep_only(self, ids: NDArray[np.int64], scan: VectorScan) -> None:
        if len(ids) < len(self._photos):
            scan.keep_only(ids)
            for gone in self._photos.keys() - set(ids.tolist()):
                del self._photos[gone]

    def _scored(self, found: Found, scan: VectorScan) -> list[Scored]:
        vectors = scan.vectors_of(found.ids)
        return [
            Scored(self._photos[one][0], score, self._photos[one][1], vector)
            for one, score, vector in zip(found.ids.tolist(), found.scores.tolist(), vectors, strict=True)
        ]

    def _shared_dim(self) -> int:
        # Asked of the model itself: a manifest may leave it open.
        blank = np.full((8, 8, 3), 128, np.uint8)
        return int(self._model.embed_images(blank).shape[1])


def _to_caption(table: PhotoTable) -> dict[str, list[int]]:
    """The photos without a caption that are there, by one path for all copies: the ids of these."""
    return {
        there[0]: [one for one, _ in copies]
        for copies in table.uncaptioned().values()
        if (there := [path for _, path in copies if not is_gone(path)])
    }


def _give_captions(remembered: Remembered, table: PhotoTable) -> None:
    """Give photos that have none the captions of other tables, by content hash, and make them ready for
    searches: the tables that held them are about to go."""
    table.refresh()
    found: dict[int, str] = {}
    for sha256, photos in table.uncaptioned().items():
        kept = remembered.captions.pop(sha256, None)
        if kept is not None:
            found.update((one, kept.text) for one, _ in photos)
    table.caption(found, 1 + table.newest_commit())
    remembered.save()
    if table.has_captions():
        table.index_captions()


def _written(table: PhotoTable, waiting: dict[int, Caption], commit: int) -> Iterator[Caption]:
    table.caption({one: caption.text for one, caption in waiting.items()}, commit)
    yield from waiting.values()
