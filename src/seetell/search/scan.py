"""An exact search through vectors in memory: every row is scored in INT8, the best again at full precision.

A row is kept as 8-bit codes of its difference to the mean row (what all photos of a model have in common says
nothing about which is nearest, and takes up most of the range), with one scale per row. Its full vector lies
in a temporary file that has no name, so that a million rows of 512 take half a gigabyte of memory; the
handful that INT8 finds nearest are scored again from there.
"""

from __future__ import annotations

import mmap
import tempfile
import threading
import weakref
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seetell.core.files import storage_error
from seetell.search.scoring import CHUNK_ROWS, NEVER, Chunk, Ids, Scorer, Vectors, scorer

# Queries scored at once.
MOST_QUERIES = 64
# Up to so many rows nothing is gained by INT8.
_FEW_ROWS = 4096
# Rows scored again per result asked for, and at least.
_AGAIN, _AGAIN_LEAST = 4, 64
# Groups that a chunk's rows are looked at in, to know early which scores cannot matter.
_GROUPS = 1024


@dataclass(frozen=True, slots=True)
class Found:
    """The best rows for one query, best first. ids: int64[k]; scores: float32[k]."""

    ids: Ids
    scores: NDArray[np.float32]


class VectorScan:
    """Rows with an id each. Thread-safe; one search at a time, because one takes all processors.

    Args:
        shared_dim: S.
        threads: processor threads to use; None reads ``SEETELL_THREADS``, else all this process may use.
    """

    def __init__(self, shared_dim: int, threads: int | None = None) -> None:
        self._dim = shared_dim
        self._threads = threads
        self._lock = threading.RLock()
        self._rows = 0
        self._place: dict[int, int] = {}
        self._chunks: list[Chunk] = []
        self._vectors = _VectorFile(shared_dim)
        self._mean: NDArray[np.float32] | None = None
        self._scorers: dict[int, Scorer] = {}

    def __len__(self) -> int:
        return self._rows

    def put(self, ids: Ids, vectors: Vectors) -> None:
        """Add rows, or replace those whose id is there. vectors: float32[B, S]. Raises StorageError."""
        with self._lock:
            if self._mean is None and len(vectors):
                self._mean = vectors.mean(axis=0)
            places = np.empty(len(ids), np.int64)
            for number, one in enumerate(ids.tolist()):
                place = self._place.get(one)
                if place is None:
                    place = self._place[one] = self._rows
                    self._rows += 1
                places[number] = place
            while len(self._chunks) * CHUNK_ROWS < self._rows:
                self._chunks.append(Chunk.empty(self._dim))
            self._vectors.write(places, vectors)
            self._encode(places, ids, vectors)

    def keep_only(self, ids: Ids) -> None:
        """Take out every row whose id is not among these."""
        with self._lock:
            if len(ids) == self._rows:  # all are here, whatever is asked to stay
                return
            for gone in self._place.keys() - set(ids.tolist()):
                self._take_out(gone)

    def search(self, queries: Vectors, k: int, allowed: Ids | None = None) -> list[Found]:
        """The ``k`` best rows for each of the queries float32[Q, S] by their dot product.

        allowed: consider these ids only.
        """
        with self._lock:
            places = None if allowed is None else self._places_of(allowed)
            return [
                found
                for first in range(0, len(queries), MOST_QUERIES)
                for found in self._search(queries[first : first + MOST_QUERIES], k, places)
            ]

    def exact(self, queries: Vectors, k: int) -> list[Found]:
        """The same at full precision throughout: slower, and what the other is measured against."""
        with self._lock:
            return self._exactly(queries, np.arange(self._rows), k)

    def vectors_of(self, ids: Ids) -> Vectors:
        """float32[B, S] of rows that are here."""
        with self._lock:
            return self._vectors.read(self._places_of(ids))

    def sample(self, count: int) -> Vectors:
        """float32[B, S] of up to ``count`` rows, evenly spread over all."""
        with self._lock:
            every = max(1, -(-self._rows // count))
            return self._vectors.read(np.arange(0, self._rows, every))

    # --- keeping ----------------------------------------------------------------------------------------

    def _encode(self, places: NDArray[np.int64], ids: Ids, vectors: Vectors) -> None:
        assert self._mean is not None  # of the first rows ever put
        rest = vectors - self._mean
        scale = np.maximum(np.abs(rest).max(axis=1, keepdims=True), np.finfo(np.float32).tiny) / 127
        codes = (np.rint(rest / scale) + 128).astype(np.uint8)
        chunks, rows = np.divmod(places, CHUNK_ROWS)
        for number in np.unique(chunks):
            mine = chunks == number
            chunk = self._chunks[int(number)]
            chunk.codes[rows[mine]] = codes[mine]
            chunk.sums[rows[mine]] = codes[mine].sum(axis=1)
            chunk.scale[rows[mine]] = scale[mine]
            chunk.bias[rows[mine]] = 0
            chunk.ids[rows[mine]] = ids[mine]

    def _take_out(self, gone: int) -> None:
        """The last row takes the place of the one that goes."""
        place = self._place.pop(gone)
        last = self._rows - 1
        to, at = self._chunks[place // CHUNK_ROWS], place % CHUNK_ROWS
        of, end = self._chunks[last // CHUNK_ROWS], last % CHUNK_ROWS
        if place != last:
            for name in ("codes", "sums", "scale", "bias", "ids"):
                getattr(to, name)[at] = getattr(of, name)[end]
            self._vectors.write(np.array([place]), self._vectors.read(np.array([last])))
            self._place[int(to.ids[at])] = place
        of.bias[end] = NEVER
        self._rows = last
        if len(self._chunks) > 1 and (len(self._chunks) - 1) * CHUNK_ROWS >= self._rows:
            self._chunks.pop()

    def _places_of(self, ids: Ids) -> NDArray[np.int64]:
        found = [place for one in ids.tolist() if (place := self._place.get(one)) is not None]
        return np.array(found, np.int64)

    # --- searching --------------------------------------------------------------------------------------

    def _search(self, queries: Vectors, k: int, places: NDArray[np.int64] | None) -> list[Found]:
        if places is None and self._rows <= _FEW_ROWS:
            places = np.arange(self._rows)
        if places is not None and len(places) <= _FEW_ROWS:
            return self._exactly(queries, places, k)
        again = max(_AGAIN * k, _AGAIN_LEAST)
        candidates = self._nearest_codes(queries, again, places)
        return [self._exactly(queries[row : row + 1], candidates[row], k)[0] for row in range(len(queries))]

    def _exactly(self, queries: Vectors, places: NDArray[np.int64], k: int) -> list[Found]:
        best = [_Best(k) for _ in queries]
        for first in range(0, len(places), CHUNK_ROWS):
            some = places[first : first + CHUNK_ROWS]
            scores = queries @ self._vectors.read(some).T
            for row, one in enumerate(best):
                one.add(some, scores[row])
        return [self._found(*one.sorted()) for one in best]

    def _found(self, places: NDArray[np.int64], scores: NDArray[np.float32]) -> Found:
        ids = np.array([self._chunks[p // CHUNK_ROWS].ids[p % CHUNK_ROWS] for p in places.tolist()], np.int64)
        # Of equal scores the photo added first.
        order = np.lexsort((ids, -scores))
        return Found(ids[order], scores[order])

    def _nearest_codes(
        self, queries: Vectors, count: int, places: NDArray[np.int64] | None
    ) -> list[NDArray[np.int64]]:
        """The places of the ``count`` rows of the highest INT8 scores for each query, in no order."""
        width = 1 << (len(queries) - 1).bit_length()  # few shapes, so that few graphs are compiled
        padded = np.zeros((width, self._dim), np.float32)
        padded[: len(queries)] = queries
        score = self._scorers.get(width)
        if score is None:
            score = self._scorers[width] = scorer(width, self._dim, self._threads)
        pool = _Pool(len(queries), count)
        biases = self._biases(places)
        for number, chunk in enumerate(self._chunks):
            if biases is None or biases[number] is not None:
                shown = chunk if biases is None else replace(chunk, bias=biases[number])
                pool.add(number * CHUNK_ROWS, score(shown, padded)[:, : len(queries)])
        return pool.places()

    def _biases(self, places: NDArray[np.int64] | None) -> list[Any] | None:
        """The bias of each chunk, float32[CHUNK_ROWS, 1], where only some rows count: 0 for those, NEVER for
        the others; None for a chunk of which none does."""
        if places is None:
            return None
        allowed = np.full((len(self._chunks) * CHUNK_ROWS, 1), NEVER, np.float32)
        allowed[places] = 0
        parts = allowed.reshape(len(self._chunks), CHUNK_ROWS, 1)
        return [part if (part == 0).any() else None for part in parts]


@dataclass
class _Best:
    """The ``count`` highest scores so far and where they are."""

    count: int
    _places: list[NDArray[np.int64]] = field(default_factory=list)
    _scores: list[NDArray[np.float32]] = field(default_factory=list)

    def add(self, places: NDArray[np.int64], scores: NDArray[np.float32]) -> None:
        if len(scores) > self.count:
            top = np.argpartition(-scores, self.count - 1)[: self.count]
            places, scores = places[top], scores[top]
        self._places.append(places)
        self._scores.append(scores)

    def sorted(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        if not self._places:
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        places, scores = np.concatenate(self._places), np.concatenate(self._scores)
        order = np.argsort(-scores, kind="stable")[: self.count]
        return places[order], scores[order]


class _Pool:
    """Collects the ``count`` best of many scores for each of Q queries.

    What does not reach the worst of the best so far is passed over eight at a time, so that nearly all of the
    scores are looked at once and never moved.
    """

    def __init__(self, queries: int, count: int) -> None:
        self._count = count
        self._floor = np.full(queries, NEVER / 2, np.float32)
        self._query = [np.zeros(0, np.intp)]
        self._place = [np.zeros(0, np.int64)]
        self._score = [np.zeros(0, np.float32)]
        self._waiting = 0

    def add(self, first: int, scores: NDArray[np.float32]) -> None:
        """scores: float32[CHUNK_ROWS, Q] of the rows from ``first`` on."""
        if not self._waiting and self._count <= _GROUPS:
            # Of so many groups' best, as many rows as are wanted reach the one at that rank.
            best = scores.reshape(_GROUPS, -1, scores.shape[1]).max(axis=1)
            reached = np.partition(best, _GROUPS - self._count, axis=0)[_GROUPS - self._count]
            # The rows at the floor count too.
            self._floor = np.maximum(self._floor, np.nextafter(reached, NEVER))
        flat = _flat_nonzero(scores > self._floor)
        rows, queries = np.divmod(flat, scores.shape[1])
        self._query.append(queries)
        self._place.append(rows + first)
        self._score.append(scores.reshape(-1)[flat])
        self._waiting += len(flat)
        if self._waiting > 3 * self._count * len(self._floor):
            self._shrink()

    def places(self) -> list[NDArray[np.int64]]:
        self._shrink()
        query, place = self._query[0], self._place[0]
        edges = np.searchsorted(query, np.arange(len(self._floor) + 1))
        return [place[begin:end] for begin, end in pairwise(edges)]

    def _shrink(self) -> None:
        query, place = np.concatenate(self._query), np.concatenate(self._place)
        score = np.concatenate(self._score)
        order = np.lexsort((-score, query))
        query, place, score = query[order], place[order], score[order]
        starts = np.searchsorted(query, np.arange(len(self._floor) + 1))
        rank = np.arange(len(query)) - starts[query]
        last = starts[:-1] + self._count - 1
        full = last < starts[1:]
        self._floor[full] = score[last[full]]
        keep = rank < self._count
        self._query, self._place, self._score = [query[keep]], [place[keep]], [score[keep]]
        self._waiting = len(self._place[0])


def _flat_nonzero(mask: NDArray[np.bool_]) -> NDArray[np.intp]:
    """``np.flatnonzero`` for masks that are nearly all False."""
    flat = np.ascontiguousarray(mask).reshape(-1)
    words = flat[: flat.size // 8 * 8].view(np.uint64)
    starts = np.flatnonzero(words) * 8
    inside = (starts[:, None] + np.arange(8)).reshape(-1)
    tail = np.arange(words.size * 8, flat.size)
    where = np.concatenate([inside, tail])
    found: NDArray[np.intp] = where[flat[where]]
    return found


class _VectorFile:
    """Rows float32[S] in a temporary file without a name, written as a file and read as memory.

    Written through a file, because a disk that fills up under written memory ends the process.
    """

    def __init__(self, shared_dim: int) -> None:
        self._dim = shared_dim
        self._row_bytes = 4 * shared_dim
        self._file = tempfile.TemporaryFile(prefix="seetell-vectors-")  # noqa: SIM115 (lives as long as this)
        weakref.finalize(self, self._file.close)
        self._capacity = 0
        self._view: Vectors = np.zeros((0, shared_dim), np.float32)

    def write(self, places: NDArray[np.int64], vectors: Vectors) -> None:
        """Raises StorageError where the folder for temporary files is full."""
        if not len(places):
            return
        data = np.ascontiguousarray(vectors, np.float32)
        try:
            # Rows that follow one another are written at once.
            breaks = np.flatnonzero(np.diff(places) != 1) + 1
            for run in np.split(np.arange(len(places)), breaks):
                self._file.seek(int(places[run[0]]) * self._row_bytes)
                self._file.write(data[run[0] : run[-1] + 1].tobytes())
            self._file.flush()
            self._grow(int(places.max()) + 1)
        except OSError as error:
            raise storage_error(error, Path(tempfile.gettempdir())) from error

    def read(self, places: NDArray[np.int64]) -> Vectors:
        rows: Vectors = self._view[places]
        return rows

    def _grow(self, rows: int) -> None:
        if rows <= self._capacity:
            return
        # Mapped beyond its end, a file can be written without mapping it again; read only where written.
        self._capacity = max(rows, 2 * self._capacity, 1024)
        self._file.truncate(self._capacity * self._row_bytes)
        mapped = mmap.mmap(self._file.fileno(), self._capacity * self._row_bytes, access=mmap.ACCESS_READ)
        self._view = np.frombuffer(mapped, np.float32).reshape(self._capacity, self._dim)
