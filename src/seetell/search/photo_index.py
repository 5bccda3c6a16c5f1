"""An index of photos: add folders, find by text or by photo. Kept on disk, or in memory."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seetell.core.errors import UsageError
from seetell.core.results import Caption, Failure, Hit
from seetell.media.images import Photo
from seetell.media.listing import Skipped
from seetell.search.beside import Beside, Both
from seetell.search.chances import Chances, chances_of
from seetell.search.checking import WORDS, Check, recall
from seetell.search.combining import fused, reranked
from seetell.search.memory_rows import MemoryRows
from seetell.search.query import parse_query, query_vector
from seetell.search.rows import Rows, Scored, one_of_each, without_copies
from seetell.search.stored_rows import StoredRows
from seetell.search.updating import Change
from seetell.tasks.api import AnyModel
from seetell.tasks.context import at_least_one
from seetell.tasks.remarks import remarks_on

# So many of the nearest are looked at to see whether any fits, however few are asked for.
_LOOKED_AT = 10

# How many of the nearest are looked at again, per result asked for and at least.
_DEPTH, _DEPTH_LEAST = 4, 24

Photos = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]


@dataclass(frozen=True, slots=True)
class Added:
    """What :meth:`PhotoIndex.add` did. failures: the photos that could not be read, and why.

    updated: files that had changed. moved: files recognised under another name. removed: files that are gone.
    unchanged: files that were not even opened, or only touched. failed_before: files that could not be read
    in an earlier run and have not changed since. skipped: hidden and deleted photos, folders of the system,
    files of kinds that are not read, and videos.
    """

    added: int
    failures: tuple[Failure, ...]
    updated: int = 0
    moved: int = 0
    removed: int = 0
    unchanged: int = 0
    failed_before: int = 0
    skipped: int = 0


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
        self, path: str | os.PathLike[str] | None, model: AnyModel, *, threads: int | None = None
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

    def add(self, photos: Photos, *, retry: bool = False) -> Added:
        """Bring folders (with all below them) and files up to date; the index need not know them yet.

        On disk, photos that have not changed are not read again, moved ones are recognised, and those gone
        from the folders are taken out, but for those of a folder that looks like a disk that is not mounted:
        it is a failure. In memory, all are read. Photos that cannot be read are reported once, until they
        change.

        retry: also try those that could not be read before.
        """
        failures: list[Failure] = []
        skipped = Skipped()
        counts = dict.fromkeys(("added", "updated", "moved", "removed", "unchanged", "failed_before"), 0)
        for result in self.changes(photos, retry=retry, skipped=skipped):
            if isinstance(result, Failure):
                failures.append(result)
            else:
                counts[result.what] += 1
        return Added(failures=tuple(failures), skipped=len(skipped), **counts)

    def changes(
        self, photos: Photos, *, retry: bool = False, skipped: Skipped | None = None
    ) -> Iterator[Change | Failure]:
        """The same, one photo at a time, for showing progress; each is given once it can be found.

        skipped: takes up what a walk through the folders leaves out.
        Raises UsageError for an empty path, and StorageError where another process is writing the index.
        """
        return self._rows.changes(_paths(photos), Skipped() if skipped is None else skipped, retry=retry)

    def remove(self, photos: Photos) -> int:
        """Forget photos and all below folders, whether they are still there or not; how many it knew.

        Raises UsageError for an empty path.
        """
        return self._rows.remove([os.path.abspath(one) for one in _paths(photos)])

    def search(
        self,
        text: str | None = None,
        *,
        image: Photo | None = None,
        k: int = 10,
        where: str | None = None,
        hybrid: bool = False,
        rerank: bool = False,
        all_copies: bool = False,
        min_probability: float | None = None,
    ) -> list[Hit]:
        """The ``k`` photos nearest to a text, a photo, or both together (the mean of their vectors); those of
        them that fit a text, the most probable first, where the model's bundle says how to tell.

        Then ``probability`` of a hit is that what is wanted fits the photo, whatever is not wanted.
        ``hybrid`` and ``rerank`` have an order of their own, and where something is not wanted the nearest
        comes first.

        Args:
            text: what to look for. A word after a minus, or words in quotes after one, are what is not
                wanted: ``beach -people``. What a model makes of it may be doubtful: :meth:`remarks`.
            image: a photo to find others like.
            k: how many.
            where: only photos for which this SQL condition holds, as in ``taken > '2025-06-01' and camera
                like 'Canon%'``; needs an index on disk.
            hybrid: also look for the words of the text in captions (:meth:`caption`), and rank by both.
            rerank: have the model's matching head look at the best again, with the text; slower. ``score`` is
                then the probability that the text fits the photo, and not a number for photos that cannot be
                read any more, which come last.
            all_copies: also give files of the same bytes as one before them, which otherwise count as one
                photo.
            min_probability: leave out what fits less probably. None for what the bundle says: nothing where
                even the best is improbable, else all but the very improbable. 0 leaves out nothing.

        Raises UsageError when nothing is looked for, ``k`` is below 1, ``min_probability`` is outside 0..1 or
        asked of a search without probabilities, the condition is none, or ``hybrid`` finds photos without
        captions; and what the model raises for the text and the photo.
        """
        k = at_least_one(k, "k")
        query = parse_query(text, image)
        if query.wanted is None and (hybrid or rerank):
            raise UsageError("captions and the matching head are asked about a text; give one")
        vector = query_vector(query, self._model)
        chances = chances_of(query, vector, self._model, min_probability)
        depth = max(_DEPTH * k, _DEPTH_LEAST) if hybrid or rerank else self._depth(k, chances)

        def find(count: int) -> list[Scored]:
            return self._rows.nearest(vector[None], count, where)[0]

        found = find(depth)
        if not all_copies:
            found = without_copies(find, depth, found)
        if hybrid:
            assert query.wanted is not None  # seen to above
            worded = self._stored().matching(query.wanted, vector, depth, where)
            found = _fused(found, worded if all_copies else one_of_each(worded), all_copies)
        if rerank:
            assert query.wanted is not None
            photos = {one.path: one for one in found[:depth]}
            scored = reranked(list(photos), query.wanted, self._model)
            found = [photos[path]._replace(score=score) for path, score in scored]
        if chances is not None and (hybrid or rerank):
            chances = replace(chances, order=False)
        return self._fitting(found, k, chances)

    def search_many(
        self,
        texts: Sequence[str],
        *,
        k: int = 10,
        where: str | None = None,
        all_copies: bool = False,
        min_probability: float | None = None,
    ) -> list[list[Hit]]:
        """As :meth:`search`, for many texts at once, which is faster than one by one."""
        k = at_least_one(k, "k")
        if not texts:
            return []
        queries = [parse_query(text, None) for text in texts]
        vectors = np.stack([query_vector(query, self._model) for query in queries])
        judges = [
            chances_of(query, vector, self._model, min_probability)
            for query, vector in zip(queries, vectors, strict=True)
        ]
        depth = max(self._depth(k, one) for one in judges)
        answers = []
        every = self._rows.nearest(vectors, depth, where)
        for vector, chances, found in zip(vectors, judges, every, strict=True):
            if not all_copies:

                def find(count: int, vector: NDArray[np.float32] = vector) -> list[Scored]:
                    return self._rows.nearest(vector[None], count, where)[0]

                found = without_copies(find, depth, found)
            answers.append(self._fitting(found, k, chances))
        return answers

    def search_beside(
        self,
        query: str | NDArray[np.float32],
        vectors: NDArray[np.float32],
        *,
        names: Sequence[str] = (),
        k: int = 10,
        min_probability: float | None = None,
    ) -> Both:
        """As :meth:`search`, in one ranking with other photos, of which there are the vectors alone; they are
        judged as if they were of the index, and come in the same order.

        query: a text, or the vector float32[S] of a photo to find others like. vectors: float32[N, S], of
        unit length; N may be 0. names: of their files, N or none; one that has a copy in the index is found
        in its place. k: how many of the index; of the others there are all that fit. Raises as
        :meth:`search` does.
        """
        k, beside, chances = at_least_one(k, "k"), Beside(vectors, names), None
        if isinstance(query, str):
            parsed = parse_query(query, None)
            vector = query_vector(parsed, self._model)
            chances = chances_of(parsed, vector, self._model, min_probability)
        else:
            vector = query
        depth = self._depth(k, chances)

        def find(count: int) -> list[Scored]:
            return self._rows.nearest(vector[None], count, None)[0]

        found = beside.merged(without_copies(find, depth, find(depth)), vector)
        if chances is None or not found:
            return Both(beside.hits([(one, None) for one in found], k), 0)
        kept = chances.kept(found, beside.among(self._rows.sample()))
        return Both(beside.hits(kept, k), len(found) - len(kept))

    def remarks(self, text: str, *, image: Photo | None = None) -> list[str]:
        """What is doubtful about searching for a text with this model: a script that it was never taught, an
        end that it does not read. Raises as :meth:`search` for what cannot be looked for."""
        query = parse_query(text, image)
        return remarks_on([part for part in (query.wanted, *query.unwanted) if part is not None], self._model)

    def caption(self, language: str | None = None) -> Iterator[Caption | Failure]:
        """Caption every photo of the index that has no caption, for ``hybrid`` searches and conditions.

        Raises UsageError for an index in memory, TaskUnavailable for a model that cannot caption, and
        StorageError where another process is writing.
        """
        return self._stored().describe(language)

    def uncaptioned(self) -> int:
        """How many photos :meth:`caption` would look at; copies count once. Raises as it does."""
        return self._stored().undescribed()

    def cameras(self) -> list[str]:
        """The cameras that the photos of an index on disk name, those of most photos first."""
        return self._stored().cameras()

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
            return [one.path for one in stored.nearest(query[None], k, None)[0]]

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

    @staticmethod
    def _depth(k: int, chances: Chances | None) -> int:
        return k if chances is None else max(k, _LOOKED_AT)

    def _fitting(self, found: Sequence[Scored], k: int, chances: Chances | None) -> list[Hit]:
        """Of those found, best first, the ``k`` first that fit."""
        if chances is None or not found:
            return [_hit(rank, one, None) for rank, one in enumerate(found[:k], 1)]
        shown = chances.kept(found, self._rows.sample())[:k]
        return [_hit(rank, one, chance) for rank, (one, chance) in enumerate(shown, 1)]

    def _stored(self) -> StoredRows:
        if not isinstance(self._rows, StoredRows):
            raise UsageError("this needs an index on disk: make one with seetell index")
        return self._rows


def _paths(photos: Photos) -> list[str]:
    paths = [os.fspath(one) for one in ([photos] if isinstance(photos, str | os.PathLike) else photos)]
    if not all(paths):
        # It would be taken for the current folder, which an unset variable of the shell does not mean.
        raise UsageError("an empty path is given where a photo or a folder belongs")
    return paths


def _fused(found: Sequence[Scored], worded: Sequence[Scored], all_copies: bool) -> list[Scored]:
    """One ranking of the two, by photo; by content where copies count as one."""
    photos: dict[str | bytes, Scored] = {}
    rankings = []
    for ranking in (found, worded):
        keys = [one.path if all_copies else one.content for one in ranking]
        for key, one in zip(keys, ranking, strict=True):
            photos.setdefault(key, one)
        rankings.append(keys)
    return [photos[key] for key in fused(rankings)]


def _hit(rank: int, one: Scored, chance: float | None) -> Hit:
    return Hit(rank, one.path, one.score, gone=not os.path.exists(one.path), probability=chance)


def _some(stored: StoredRows, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """The vectors of those rows, in their order in the table."""
    wanted, first, parts = np.sort(rows), 0, []
    for paths, vectors in stored.batches():
        mine = wanted[(wanted >= first) & (wanted < first + len(paths))]
        parts.append(vectors[mine - first])
        first += len(paths)
    return np.concatenate(parts)
