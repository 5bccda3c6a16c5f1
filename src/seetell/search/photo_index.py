"""An index of photos: add folders, find by text or by photo. Kept on disk, or in memory."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seetell.core.errors import UsageError
from seetell.core.results import Caption, Failure, Hit
from seetell.media.images import Photo
from seetell.search.checking import WORDS, Check, recall
from seetell.search.combining import fused, reranked
from seetell.search.query import parse_query, query_vector
from seetell.search.rows import MemoryRows, Rows, Scored, StoredRows
from seetell.search.updating import Change
from seetell.tasks.context import at_least_one
from seetell.tasks.model import Model

# How many of the nearest are looked at again, per result asked for and at least.
_DEPTH, _DEPTH_LEAST = 4, 24

Photos = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]


@dataclass(frozen=True, slots=True)
class Added:
    """What :meth:`PhotoIndex.add` did. failures: the photos that could not be read, and why.

    updated: files that had changed. moved: files recognised under another name. removed: files that are gone.
    unchanged: files that were not even opened, or only touched.
    """

    added: int
    failures: tuple[Failure, ...]
    updated: int = 0
    moved: int = 0
    removed: int = 0
    unchanged: int = 0


class PhotoIndex:
    """Photos and their vectors. Thread-safe.

    Args:
        path: the folder to keep the index in, made when photos are first added; needs the extra ``search``.
            None holds it in memory.
        model: gives the vectors; must be able to ``embed``.
        threads: processor threads of a search; None reads ``SEETELL_THREADS``, else all that this process may
            use.

    Raises UsageError for a model that cannot embed, StorageError for a folder that is none of ours, and
    MissingExtra. Photos can be added to an index of other models; until then whatever else is asked of it
    raises UsageError.
    """

    def __init__(
        self, path: str | os.PathLike[str] | None, model: Model, *, threads: int | None = None
    ) -> None:
        if "embed" not in model.tasks:
            raise UsageError(f"{model.name} cannot embed photos, so it cannot search them")
        self._model = model
        if threads is not None:
            threads = at_least_one(threads, "threads")
        self._rows: Rows = (
            MemoryRows(model, threads) if path is None else StoredRows(Path(path), model, threads)
        )

    def require_model(self) -> None:
        """Raises UsageError where other models made the index, or an earlier state of this one: it cannot be
        searched before photos are added. One that is new or in memory passes."""
        if isinstance(self._rows, StoredRows):
            self._rows.require_model()

    def __len__(self) -> int:
        return self._rows.count()

    def __contains__(self, photo: str) -> bool:
        """Whether a path is of the index, written as results write it."""
        return self._rows.has(photo)

    def add(self, photos: Photos) -> Added:
        """Bring folders (with all below them) and files up to date; the index need not know them yet.

        On disk, photos that have not changed are not read again, moved ones are recognised, and those gone
        from the folders are taken out. In memory, all are read. Photos that cannot be read are reported.
        """
        failures: list[Failure] = []
        counts = dict.fromkeys(("added", "updated", "moved", "removed", "unchanged"), 0)
        for result in self.changes(photos):
            if isinstance(result, Failure):
                failures.append(result)
            else:
                counts[result.what] += 1
        return Added(failures=tuple(failures), **counts)

    def changes(self, photos: Photos) -> Iterator[Change | Failure]:
        """The same, one photo at a time, for showing progress; each is given once it can be found.

        Raises StorageError where another process is writing the index.
        """
        given = [photos] if isinstance(photos, str | os.PathLike) else photos
        return self._rows.changes(given)

    def remove(self, photos: Photos) -> int:
        """Forget photos and all below folders, whether they are still there or not; how many it knew."""
        given = [photos] if isinstance(photos, str | os.PathLike) else photos
        return self._rows.remove([Path(os.path.abspath(one)) for one in given])

    def search(
        self,
        text: str | None = None,
        *,
        image: Photo | None = None,
        k: int = 10,
        where: str | None = None,
        hybrid: bool = False,
        rerank: bool = False,
    ) -> list[Hit]:
        """The ``k`` photos nearest to a text, a photo, or both together (the mean of their vectors).

        Args:
            text: what to look for. A word after a minus, or words in quotes after one, are what is not
                wanted: ``beach -people``.
            image: a photo to find others like.
            k: how many.
            where: only photos for which this SQL condition holds, as in ``taken > '2025-06-01' and camera
                like 'Canon%'``; needs an index on disk.
            hybrid: also look for the words of the text in captions (:meth:`caption`), and rank by both.
            rerank: have the model's matching head look at the best again, with the text; slower. ``score`` is
                then the probability that the text fits the photo.

        Raises UsageError when nothing is looked for, ``k`` is below 1, the condition is none, or ``hybrid``
        finds photos without captions; and what the model raises for the text and the photo.
        """
        k = at_least_one(k, "k")
        query = parse_query(text, image)
        if query.wanted is None and (hybrid or rerank):
            raise UsageError("captions and the matching head are asked about a text; give one")
        vector = query_vector(query, self._model)
        depth = max(_DEPTH * k, _DEPTH_LEAST) if hybrid or rerank else k
        found = self._rows.nearest(vector[None], depth, where)[0]
        if hybrid:
            assert query.wanted is not None  # seen to above
            worded = self._stored().matching(query.wanted, vector, depth, where)
            scores = dict([*found, *worded])
            order = fused([[path for path, _ in found], [path for path, _ in worded]])
            found = [(path, scores[path]) for path in order]
        if rerank:
            assert query.wanted is not None
            found = reranked([path for path, _ in found[:depth]], query.wanted, self._model)
        return _ranked(found[:k])

    def search_many(self, texts: Sequence[str], *, k: int = 10, where: str | None = None) -> list[list[Hit]]:
        """As :meth:`search`, for many texts at once, which is faster than one by one."""
        k = at_least_one(k, "k")
        if not texts:
            return []
        vectors = np.stack([query_vector(parse_query(text, None), self._model) for text in texts])
        return self._hits(vectors, k, where)

    def caption(self, language: str | None = None) -> Iterator[Caption | Failure]:
        """Caption every photo of the index that has no caption, for ``hybrid`` searches and conditions.

        Raises UsageError for an index in memory, TaskUnavailable for a model that cannot caption, and
        StorageError where another process is writing.
        """
        return self._stored().describe(language)

    def duplicates(self) -> list[list[str]]:
        """Groups of photos that are the same or look alike: copies saved again, resized, slightly brighter.

        The largest of each group comes first. Photos whose vectors are near are read, the others are not.
        """
        return self._stored().duplicates()

    def check(self, *, k: int = 10, queries: int = 100, seed: int = 0) -> Check:
        """Measure how many of the ``k`` photos that an exact search finds this index finds.

        Args:
            k: results per query.
            queries: how many photos of the index, and how many texts, to look for.
            seed: which ones.
        """
        stored = self._stored()
        photos = len(self)
        draw = np.random.default_rng(seed)
        rows = draw.choice(photos, min(queries, photos), replace=False)
        if not photos:
            return Check(k, 0, 0, 1.0, 1.0, 0.0)
        vectors = _some(stored, rows)
        captions = stored.captions()
        texts = [captions[one] for one in draw.permutation(len(captions))[:queries]] or list(WORDS)
        both = np.concatenate([vectors, self._model.embed_texts(texts)])

        def find(query: NDArray[np.float32]) -> list[str]:
            return [path for path, _ in stored.nearest(query[None], k, None)[0]]

        find(both[0])  # what the first search costs is another matter
        recalled, spent_ms = recall(find, both, stored.batches(), k)
        return Check(
            k=k,
            photos=photos,
            queries=len(both),
            recall_by_photo=float(np.mean(recalled[: len(vectors)] or [1.0])),
            recall_by_text=float(np.mean(recalled[len(vectors) :] or [1.0])),
            p50_ms=float(np.median(spent_ms)),
        )

    def _hits(self, vectors: NDArray[np.float32], k: int, where: str | None) -> list[list[Hit]]:
        return [_ranked(found) for found in self._rows.nearest(vectors, k, where)]

    def _stored(self) -> StoredRows:
        if not isinstance(self._rows, StoredRows):
            raise UsageError("this needs an index on disk: make one with seetell index")
        return self._rows


def _ranked(found: Sequence[Scored]) -> list[Hit]:
    return [Hit(rank, path, score) for rank, (path, score) in enumerate(found, 1)]


def _some(stored: StoredRows, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """The vectors of those rows, in their order in the table."""
    wanted, first, parts = np.sort(rows), 0, []
    for paths, vectors in stored.batches():
        mine = wanted[(wanted >= first) & (wanted < first + len(paths))]
        parts.append(vectors[mine - first])
        first += len(paths)
    return np.concatenate(parts)
