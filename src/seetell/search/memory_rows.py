"""The photos of an index that is held in memory, by one process."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from seetell.core.errors import UsageError
from seetell.core.results import Failure
from seetell.media.listing import Skipped, photo_paths
from seetell.search.details import Stamp, read_file, stamp_of
from seetell.search.paths import RealPaths
from seetell.search.rows import SAMPLE, Places, Scored
from seetell.search.scan import VectorScan
from seetell.search.updating import Change
from seetell.tasks.api import AnyModel

# Copies are embedded one by one here, in batches that differ, and their scores differ by no more.
_AS_GOOD_AS_EQUAL = 1e-3


class MemoryRows:
    """Held by this process alone; a photo known already is read again."""

    def __init__(self, model: AnyModel, threads: int | None = None) -> None:
        self._model = model
        self._threads = threads
        self._lock = threading.Lock()
        self._ids: dict[str, int] = {}
        self._paths: dict[int, str] = {}
        # The names that photos have here, by where they really lie.
        self._names: dict[str, str] = {}
        self._hashes: dict[str, tuple[Stamp | None, bytes]] = {}
        self._scan: VectorScan | None = None
        self._next_id = 0

    def count(self) -> int:
        return len(self._ids)

    def has(self, path: str) -> bool:
        return path in self._ids

    def changes(
        self, given: Iterable[str], skipped: Skipped, *, retry: bool = False
    ) -> Iterator[Change | Failure]:
        real, names = RealPaths(), list[str]()

        def paths() -> Iterator[str]:
            for path in photo_paths(given, skipped):
                names.append(self._names.setdefault(real.of(os.path.abspath(path)), path))
                yield names[-1]

        for done, result in enumerate(self._model.stream("embed_images", paths())):
            if isinstance(result, Failure):
                yield result
            else:
                yield self._keep(names[done], result)

    def remove(self, places: Sequence[str]) -> int:
        with self._lock:
            named = Places(places)
            gone = {path for path in self._ids if os.path.abspath(path) in named}
            for path in gone:
                del self._paths[self._ids.pop(path)]
            self._names = {real: path for real, path in self._names.items() if path not in gone}
            if gone and self._scan is not None:
                self._scan.keep_only(np.array(list(self._paths), np.int64))
        return len(gone)

    def nearest(self, vectors: NDArray[np.float32], k: int, where: str | None) -> list[list[Scored]]:
        if where is not None:
            raise UsageError("a condition needs an index on disk: make one with seetell index")
        with self._lock:
            if self._scan is None:
                return [[] for _ in vectors]
            return [
                self._scored(hit.ids.tolist(), hit.scores.tolist(), self._scan.vectors_of(hit.ids))
                for hit in self._scan.search(vectors, k)
            ]

    def sample(self) -> NDArray[np.float32]:
        with self._lock:
            return np.zeros((0, 0), np.float32) if self._scan is None else self._scan.sample(SAMPLE)

    def _scored(self, ids: list[int], scores: list[float], vectors: NDArray[np.float32]) -> list[Scored]:
        found = []
        for place, (one, score, vector) in enumerate(zip(ids, scores, vectors, strict=True)):
            path = self._paths[one]
            beside = [scores[other] for other in (place - 1, place + 1) if 0 <= other < len(scores)]
            # Only what scores alike may be a copy; nothing else is read.
            alike = any(abs(score - other) <= _AS_GOOD_AS_EQUAL for other in beside)
            content = self._content(path) if alike else os.fsencode(path)
            found.append(Scored(path, score, content, vector))
        return found

    def _content(self, path: str) -> bytes:
        stamp = stamp_of(path)
        known = self._hashes.get(path)
        if known is None or stamp not in (known[0], None):  # one that is gone is what it was
            sha256 = read_file(path).sha256
            known = stamp, os.fsencode(path) if sha256 is None else bytes.fromhex(sha256)
            self._hashes[path] = known
        return known[1]

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
