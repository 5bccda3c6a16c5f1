"""Where the photos of an index are kept, seen from a search: photos by path, each with a vector."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from seetell.core.results import Failure
from seetell.media.listing import Skipped
from seetell.search.paths import Below, RealPaths
from seetell.search.updating import Change

# Of so many photos what all have in common is known well enough.
SAMPLE = 512

# How much further is looked where copies have taken the places of others.
_FURTHER = 4


class Scored(NamedTuple):
    """A photo found. content: the same for photos of the same bytes. vector: float32[S]."""

    path: str
    score: float
    content: bytes
    vector: NDArray[np.float32]


class Rows(Protocol):
    """Photos by path, each with a vector."""

    def count(self) -> int:
        """How many photos there are."""
        ...

    def has(self, path: str) -> bool:
        """Whether there is a photo of that path."""
        ...

    def changes(
        self, given: Iterable[str], skipped: Skipped, *, retry: bool = False
    ) -> Iterator[Change | Failure]:
        """Bring folders and files up to date. skipped: takes up what the walk leaves out. retry: also try
        what could not be read before."""
        ...

    def remove(self, places: Sequence[str]) -> int:
        """Forget files, and all below folders; how many there were. Absolute paths."""
        ...

    def nearest(self, vectors: NDArray[np.float32], k: int, where: str | None) -> list[list[Scored]]:
        """The ``k`` best photos for each of the vectors float32[Q, S], best first, copies among them."""
        ...

    def sample(self) -> NDArray[np.float32]:
        """The vectors of some of the photos, float32[N, S], up to ``SAMPLE``; of none float32[0, 0]."""
        ...


class Places:
    """Files and folders somebody named: ``path in Places(named)`` for what is one of them or lies below one,
    also where a link among the folders gives it another name."""

    def __init__(self, named: Sequence[str]) -> None:
        self._real = RealPaths()
        self._named = Below(named)
        self._really = Below(
            os.path.realpath(one) if os.path.isdir(one) else self._real.of(one) for one in named
        )

    def __contains__(self, path: object) -> bool:
        return path in self._named or self._real.of(str(path)) in self._really


def without_copies(find: Callable[[int], list[Scored]], k: int, found: list[Scored]) -> list[Scored]:
    """The ``k`` best photos of different contents. find: the so many best, copies among them; found: what
    it gave for ``k``."""
    count = k
    while True:
        different = one_of_each(found)
        if len(different) >= k or len(found) < count:
            return different[:k]
        count *= _FURTHER
        found = find(count)


def one_of_each(found: Sequence[Scored]) -> list[Scored]:
    """Of photos of the same bytes one, in the place of the best: the first that is still there."""
    copies: dict[bytes, list[Scored]] = {}
    for one in found:
        copies.setdefault(one.content, []).append(one)
    return [
        same[0] if len(same) == 1 else next((one for one in same if os.path.exists(one.path)), same[0])
        for same in copies.values()
    ]
