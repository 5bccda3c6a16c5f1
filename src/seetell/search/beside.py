"""Photos that a search takes in besides those of the index, known by their vectors alone."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seetell.core.results import Hit
from seetell.search.rows import SAMPLE, Scored

# What has no path in an index is none of it.
_NO_PATH = ""


# A file of the same name and a vector as near as this is a copy. With the built-in model the farthest of 45
# photos that were saved again had 0.989, of 105 that were read in another precision 0.959; of 1,500 different
# photos the nearest two had 0.89.
_COPY = 0.95


@dataclass(frozen=True, slots=True)
class Found:
    """place: which of the photos beside the index it is, whose path is empty; None for one of the index."""

    hit: Hit
    place: int | None


@dataclass(frozen=True, slots=True)
class Both:
    """found: best first. left_out: how many of those looked at fit too little."""

    found: list[Found]
    left_out: int


class Beside:
    """Photos beside an index, for one search.

    Args:
        vectors: float32[N, S], of unit length; N may be 0.
        names: of their files, N or none. One that has a copy in the index is found in its place, and judged
            by the index's vector: it fits as well as before it was taken out of there to be looked at.
    """

    def __init__(self, vectors: NDArray[np.float32], names: Sequence[str] = ()) -> None:
        self._vectors = vectors
        self._places: dict[str, list[int]] = {}
        for place, name in enumerate(names):
            self._places.setdefault(name, []).append(place)
        # Those that have a copy in the index.
        self._copied: set[int] = set()

    def merged(self, found: Sequence[Scored], query: NDArray[np.float32]) -> list[Scored]:
        """Those found in the index and all of these, best first. query: float32[S]."""
        scores = (self._vectors @ query).tolist() if len(self._vectors) else []
        own = [
            Scored(_NO_PATH, score, str(place).encode(), vector)
            for place, (score, vector) in enumerate(zip(scores, self._vectors, strict=True))
        ]
        others = []
        for one in found:
            copies = self._copies_of(one)
            for place in copies:
                own[place] = own[place]._replace(score=one.score, vector=one.vector)
            self._copied.update(copies)
            if not copies:
                others.append(one)
        return sorted([*others, *own], key=lambda one: -one.score)

    def among(self, sample: NDArray[np.float32]) -> NDArray[np.float32]:
        """What a search looks through, as far as it is seen to judge a hit: some of the index's photos, and
        up to as many of these. To be asked for what :meth:`merged` gave."""
        own = self._vectors[[place for place in range(len(self._vectors)) if place not in self._copied]]
        own = own[:: max(1, -(-len(own) // SAMPLE))]
        return np.concatenate([one for one in (sample, own) if len(one)] or [sample])

    def _copies_of(self, one: Scored) -> list[int]:
        places = self._places.get(os.path.basename(one.path), ())
        return [place for place in places if float(self._vectors[place] @ one.vector) >= _COPY]

    @staticmethod
    def hits(found: Sequence[tuple[Scored, float | None]], k: int) -> list[Found]:
        """Those found, with their probabilities, best first; of the index no more than ``k``."""
        hits, of_index = list[Found](), 0
        for one, chance in found:
            rank = len(hits) + 1
            if one.path == _NO_PATH:
                hits.append(Found(Hit(rank, _NO_PATH, one.score, probability=chance), int(one.content)))
            elif of_index < k:
                gone = not os.path.exists(one.path)
                hits.append(Found(Hit(rank, one.path, one.score, gone=gone, probability=chance), None))
                of_index += 1
        return hits
