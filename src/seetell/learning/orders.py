"""In which order training photos come: endless, every photo once an epoch, and without a state.

Where the photo at any place of any epoch is follows from the seed and the numbers of photos alone, so that a
run killed anywhere goes on exactly where it was by knowing its step's number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


class Shuffle:
    """An endless order over ``count`` places: a new permutation every epoch, by seed and epoch alone. No
    place comes twice in a step where there are as many as a step has rows."""

    def __init__(self, count: int, batch_size: int, seed: Sequence[int]) -> None:
        self.count = count
        self.batch_size = batch_size
        self._seed = tuple(seed)
        # Two epochs are in play around their border; a few more cover threads that run ahead.
        self._order = lru_cache(maxsize=4)(self._ordered)

    def places(self, step: int) -> list[int]:
        """The ``batch_size`` places of one step."""
        first = step * self.batch_size
        return [
            int(self._order(position // self.count)[position % self.count])
            for position in range(first, first + self.batch_size)
        ]

    def _ordered(self, epoch: int) -> NDArray[np.intp]:
        """The order of an epoch, which begins with none of the places that the step of its beginning has from
        the epoch before."""
        # With two steps' places an order's end does not depend on its beginning, and so on no order before.
        first = max(0, epoch - 1) if self.count >= 2 * self.batch_size else 0
        order = self._permutation(first)
        for number in range(first + 1, epoch + 1):
            order = self._apart(order, self._permutation(number), number)
        return order

    def _apart(self, last: NDArray[np.intp], order: NDArray[np.intp], epoch: int) -> NDArray[np.intp]:
        """``order`` of ``epoch``, with others than the end of ``last`` at its beginning."""
        ending = epoch * self.count % self.batch_size
        beginning = self.batch_size - ending
        if not ending or self.batch_size > self.count:
            return order
        fresh = np.flatnonzero(~np.isin(order, last[-ending:]))[:beginning]
        return np.concatenate([order[fresh], np.delete(order, fresh)])

    def _permutation(self, epoch: int) -> NDArray[np.intp]:
        return np.random.default_rng((*self._seed, 0, epoch)).permutation(self.count)


@dataclass(frozen=True, slots=True, eq=False)
class _Epoch:
    """windows: the shards of each. ends: int64[windows], how many samples there are up to its end."""

    windows: tuple[NDArray[np.int64], ...]
    ends: NDArray[np.int64]


class ShardOrder:
    """An endless order over the samples of shards: all of them every epoch, mixed within windows of shards.
    None comes twice in a step where there are as many as a step has rows.

    counts: int64[shards], samples of each. window: how many shards are mixed.
    """

    def __init__(self, counts: NDArray[np.int64], window: int, batch_size: int, seed: Sequence[int]) -> None:
        self.counts = counts
        self.count = int(counts.sum())
        self.batch_size = batch_size
        self._window = window
        self._seed = tuple(seed)
        # Of so few that an epoch's end depends on its beginning, all are mixed.
        self._all = Shuffle(self.count, batch_size, seed) if self.count < 2 * batch_size else None
        # Threads that run ahead are in the next epoch or window before others have left the last.
        self._epoch = lru_cache(maxsize=4)(self._new_epoch)
        self._mixed = lru_cache(maxsize=4)(self._new_window)
        self._beginning = lru_cache(maxsize=4)(self._new_beginning)

    def places(self, step: int) -> list[tuple[int, int]]:
        """(shard, which of its samples) of the ``batch_size`` rows of one step."""
        if self._all is not None:
            ends = np.cumsum(self.counts)
            shards = [
                (place, int(np.searchsorted(ends, place, side="right"))) for place in self._all.places(step)
            ]
            return [(shard, place - int(ends[shard] - self.counts[shard])) for place, shard in shards]
        first = step * self.batch_size
        return [self._at(*divmod(position, self.count)) for position in range(first, first + self.batch_size)]

    def _at(self, epoch: int, place: int) -> tuple[int, int]:
        if epoch and place < self.batch_size:
            return self._beginning(epoch)[place]
        return self._in_window(epoch, place)

    def _new_beginning(self, epoch: int) -> list[tuple[int, int]]:
        """The first ``batch_size`` samples of an epoch, those first that the step of its beginning has not
        from the epoch before."""
        found = [self._in_window(epoch, place) for place in range(self.batch_size)]
        ending = epoch * self.count % self.batch_size
        last = {self._in_window(epoch - 1, self.count - place) for place in range(1, ending + 1)}
        fresh = [one for one in found if one not in last][: self.batch_size - ending]
        return [*fresh, *(one for one in found if one not in fresh)]

    def _in_window(self, epoch: int, place: int) -> tuple[int, int]:
        found = self._epoch(epoch)
        number = int(np.searchsorted(found.ends, place, side="right"))
        before = int(found.ends[number - 1]) if number else 0
        shard, sample = self._mixed(epoch, number)[place - before]
        return int(shard), int(sample)

    def _new_epoch(self, epoch: int) -> _Epoch:
        order = np.random.default_rng((*self._seed, 0, epoch)).permutation(len(self.counts))
        number = -(-len(order) // self._window)
        windows = tuple(np.array_split(order, number))
        return _Epoch(windows, np.cumsum([self.counts[one].sum() for one in windows]))

    def _new_window(self, epoch: int, number: int) -> NDArray[np.int64]:
        """int64[samples, 2]: shard and sample, mixed."""
        shards = self._epoch(epoch).windows[number]
        counts = self.counts[shards]
        pairs = np.stack(
            [np.repeat(shards, counts), np.concatenate([np.arange(count) for count in counts])], axis=1
        )
        random = np.random.default_rng((*self._seed, 3, epoch, number))
        return random.permutation(pairs, axis=0)
