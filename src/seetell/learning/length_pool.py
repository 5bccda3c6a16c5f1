"""Photos shared out among neighbouring steps so that the texts of a step are about as long as each other.

A batch's texts are padded to its longest, and padding costs what words do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import lru_cache

import numpy as np

from seetell.learning.sources import Row, Source


class LengthPool:
    """A source that draws as ``source`` does, ``steps`` steps at a time, and gives the photos out by length.

    The same photos come with the same texts and views as without it, only in another step of the pool. A
    pool ends with the epoch, so that an epoch holds the photos it holds without one. What is in which step
    depends on the source, the seed and the step alone.
    """

    def __init__(
        self,
        source: Source,
        steps: int,
        seed: Sequence[int],
        lengths: Callable[[Sequence[str]], Sequence[int]],
    ) -> None:
        """``lengths``: how many tokens each of some texts has."""
        self._source = source
        self._lengths = lengths
        self._steps = steps
        self._seed = tuple(seed)
        self.num_photos = source.num_photos
        self.batch_size = source.batch_size
        self._pool = lru_cache(maxsize=3)(self._new_pool)

    def draw(self, step: int) -> list[Row]:
        """The rows of one step."""
        first, end = self._bounds(step)
        # Drawing random numbers changes their source; a step drawn again must find it untouched.
        return [replace(row, rng=deepcopy(row.rng)) for row in self._pool(first, end)[step - first]]

    def _bounds(self, step: int) -> tuple[int, int]:
        """The first step of the pool that ``step`` is in, and the first after it."""
        epoch = step * self.batch_size // self.num_photos
        begins = -(-epoch * self.num_photos // self.batch_size)
        ends = -(-(epoch + 1) * self.num_photos // self.batch_size)
        first = begins + (step - begins) // self._steps * self._steps
        return first, min(first + self._steps, ends)

    def _new_pool(self, first: int, end: int) -> list[list[Row]]:
        rows = [row for step in range(first, end) for row in self._source.draw(step)]
        texts = [list(_padded(row)) for row in rows]
        every = [text for own in texts for text in own]
        counted = iter(self._lengths(every) if every else ())
        longest = [max((next(counted) for _ in own), default=0) for own in texts]
        ordered = [rows[place] for place in sorted(range(len(rows)), key=longest.__getitem__)]
        size = self.batch_size
        batches = [ordered[start : start + size] for start in range(0, len(rows), size)]
        # Not from short to long, pool after pool.
        order = np.random.default_rng((*self._seed, 4, first)).permutation(len(batches))
        return [batches[int(place)] for place in order]


def _padded(row: Row) -> Iterator[str]:
    """The texts of a row that are padded to the longest of their step."""
    yield from (text for text, _ in row.captions)
    yield from (question for question, _ in row.questions)
