"""A value and how far chance could have moved it: percentile bootstrap intervals (Efron 1979).

Whole photos are drawn with replacement, with all their captions or questions: those of one photo are easy or
hard together, and drawing them one by one would give intervals that are too narrow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from seetell.core.errors import UsageError

Weights = NDArray[np.float64]
"""How often each photo was drawn: float64[R, N], rows summing to N."""

# A 95% interval.
_PERCENTILES = (2.5, 97.5)
_CHUNK_ELEMENTS = 2_000_000


@dataclass(frozen=True, slots=True)
class Estimate:
    """A measured value and its 95% interval, ``low`` to ``high``.

    drawn: float64[R], the value of every set of photos drawn; None where nothing was drawn.
    """

    value: float
    low: float
    high: float
    drawn: NDArray[np.float64] | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """How to resample. The same seed gives the same intervals.

    samples: how many data sets are drawn. Raises UsageError.
    """

    samples: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise UsageError(f"bootstrap: samples is at least 1, not {self.samples}")


def draws(n_photos: int, bootstrap: Bootstrap, row_elements: int | None = None) -> Iterator[Weights]:
    """Blocks of weights [R, n_photos], ``bootstrap.samples`` rows in all.

    ``row_elements`` is what the caller will hold per row, where that is more than the weights themselves;
    it only bounds memory, the draws are the same.
    """
    random = np.random.default_rng(bootstrap.seed)
    rows = max(1, _CHUNK_ELEMENTS // max(n_photos, row_elements or 0, 1))
    for first in range(0, bootstrap.samples, rows):
        count = min(rows, bootstrap.samples - first)
        drawn = random.integers(n_photos, size=(count, n_photos))
        # One bincount for all rows: row r counts in its own n_photos places.
        drawn += np.arange(count)[:, None] * n_photos
        yield np.bincount(drawn.ravel(), minlength=count * n_photos).reshape(count, n_photos).astype(float)


def estimates(
    n_photos: int,
    statistic: Callable[[Weights], Mapping[str, NDArray[np.float64]]],
    bootstrap: Bootstrap,
    row_elements: int | None = None,
) -> dict[str, Estimate]:
    """The value of each named figure with its interval.

    Args:
        n_photos: at least 1.
        statistic: from weights float64[R, n_photos] to named figures float64[R]. All weights 1 must give the
            figure itself.
        row_elements: see :func:`draws`.
    """
    values = statistic(np.ones((1, n_photos)))
    blocks = [statistic(weights) for weights in draws(n_photos, bootstrap, row_elements)]
    found = {}
    for name, value in values.items():
        drawn = np.concatenate([block[name] for block in blocks])
        low, high = np.percentile(drawn, _PERCENTILES)
        found[name] = Estimate(float(value[0]), float(low), float(high), drawn)
    return found


def difference(one: Estimate, other: Estimate) -> Estimate | None:
    """``one`` less ``other``, both measured on the same photos with the same :class:`Bootstrap`.

    The same photos are drawn for both, so what makes a draw easy or hard for both falls out, and the
    interval is narrower than those of the two would suggest (a paired bootstrap). None where nothing was
    drawn.
    """
    if one.drawn is None or other.drawn is None or one.drawn.shape != other.drawn.shape:
        return None
    drawn = one.drawn - other.drawn
    low, high = np.percentile(drawn, _PERCENTILES)
    return Estimate(one.value - other.value, float(low), float(high), drawn)


def weighted_mean(
    weights: Weights, sums: NDArray[np.float64], counts: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The mean over items of several per photo: ``sums`` and ``counts`` per photo [N] -> float64[R].

    A draw without any item (possible only where some photos have none) counts as 0.
    """
    total = weights @ counts
    return np.divide(weights @ sums, total, out=np.zeros_like(total), where=total > 0)
