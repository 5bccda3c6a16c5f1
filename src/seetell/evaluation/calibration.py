"""Whether confidence can be believed, and what is gained by not answering where it is low.

ECE is the expected calibration error of Guo et al. (2017): predictions are put into 15 bins of equal width by
their confidence, and the distance between mean confidence and accuracy is averaged over the predictions.
Accuracy against coverage is the selective prediction of El-Yaniv and Wiener (2010) and Geifman and El-Yaniv
(2017): a threshold on confidence leaves a share of the predictions, and an accuracy among them.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seetell.core.errors import UsageError
from seetell.evaluation.bootstrap import Bootstrap, Estimate, Weights, draws, estimates, weighted_mean

BINS = 15
LEVELS = (1.0, 0.9, 0.75, 0.5, 0.25, 0.1)
"""Shares of the predictions, the most confident ones, that the curve tells the accuracy of."""
LEAST = 30
"""Predictions that must be left over a threshold before it is chosen: fewer say nothing about accuracy."""

_PERCENTILES = (2.5, 97.5)


@dataclass(frozen=True, slots=True)
class Bin:
    """Predictions with a confidence in (low, high], the first bin with 0. ``confidence`` and ``accuracy``
    are means in 0..100, 0 in an empty bin."""

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Point:
    """What comes of answering only from a confidence of ``threshold`` on.

    coverage: share of all predictions that are given, in 0..100. accuracy: of those given, in 0..100.
    """

    threshold: float
    coverage: float
    accuracy: Estimate


@dataclass(frozen=True, slots=True)
class Calibration:
    """Whether the confidence of a set of predictions can be believed.

    of: the figure that says what is right. scores: ``ece`` and ``mean_confidence`` in 0..100 and, where the
    model abstained from some, ``coverage`` and ``accuracy_answered``. target: the accuracy that was wished
    for, in 0..100. chosen: what reaches it, None where nothing does.
    """

    of: str
    scores: dict[str, Estimate]
    bins: tuple[Bin, ...]
    curve: tuple[Point, ...]
    target: float | None = None
    chosen: Point | None = None


def score_calibration(
    confidences: Sequence[float | None],
    right: Sequence[float],
    photos: Sequence[Hashable],
    *,
    of: str,
    abstained: Sequence[bool] | None = None,
    target: float | None = None,
    bootstrap: Bootstrap | None = None,
) -> Calibration:
    """Calibration and coverage of N predictions, with intervals that resample photos.

    Args:
        confidences: in 0..1; None for an input that failed. It has no confidence to be judged, and no
            threshold makes it an answer: ECE leaves it out, coverage counts it as not given.
        right: how right each prediction is, 0..1.
        photos: whose prediction each is.
        of: the name of the figure that ``right`` is.
        abstained: from which the model itself would have abstained.
        target: an accuracy in 0..100 to choose a threshold for.
        bootstrap: how intervals are drawn.

    Raises UsageError for lists that do not fit, no confidence at all, and one outside 0..1.
    """
    given, correct = _checked(confidences, right, photos)
    chosen = Bootstrap() if bootstrap is None else bootstrap
    places: dict[Hashable, int] = {}
    photo = np.array([places.setdefault(one, len(places)) for one in photos])
    scores = _scores(given, correct, photo, abstained, chosen)
    curve = _points(given, correct, photo, _level_thresholds(given), chosen)
    found = None
    if target is not None:
        threshold = pick_threshold(confidences, right, target)
        if threshold is not None:
            [found] = _points(given, correct, photo, [threshold], chosen)
    return Calibration(of, scores, tuple(_bins(given, correct)), tuple(curve), target, found)


def pick_threshold(
    confidences: Sequence[float | None], right: Sequence[float], accuracy: float, least: int = LEAST
) -> float | None:
    """The lowest confidence to answer from so that ``accuracy`` (0..100) of the answers are right.

    Of all thresholds that reach it the one that answers most, and at least ``least``; None where there is
    none. It lies midway between the last confidence that answers and the next, so that rounding moves nothing
    over it. Choosing is fitting: on other data the accuracy will be a little lower, so choose on one part and
    measure on another.

    Args: as for :func:`score_calibration`. Raises what that raises, and UsageError for an accuracy outside
        0..100.
    """
    if not 0 <= accuracy <= 100:
        raise UsageError(f"a wanted accuracy lies between 0 and 100, not {accuracy:g}")
    given, correct = _checked(confidences, right, confidences)
    there = ~np.isnan(given)
    order = np.argsort(-given[there], kind="stable")
    ranked, hits = given[there][order], correct[there][order]
    share = 100 * np.cumsum(hits) / np.arange(1, len(hits) + 1)
    # Equal confidences are answered together: only the last of them is a place to stop.
    last = np.append(ranked[:-1] > ranked[1:], True)
    # A sum of floats may fall short of the wish by its last digits.
    stops = np.flatnonzero(last & (share >= accuracy - 1e-9))
    if not len(stops) or stops[-1] + 1 < least:
        return None
    stop = int(stops[-1])
    return 0.0 if stop + 1 == len(ranked) else float((ranked[stop] + ranked[stop + 1]) / 2)


def _checked(
    confidences: Sequence[float | None], right: Sequence[float], photos: Sequence[object]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Confidences, NaN where there is none, and how right: both float64[N]."""
    if not len(confidences) == len(right) == len(photos):
        raise UsageError(
            f"{len(confidences)} confidences, {len(right)} results and {len(photos)} photos; give all of each"
        )
    stated = [one for one in confidences if one is not None]
    if not stated:
        raise UsageError("no prediction has a confidence: nothing to calibrate")
    wrong = [one for one in stated if not 0 <= one <= 1]
    if wrong:
        raise UsageError(f"a confidence lies between 0 and 1, not {wrong[0]!r}")
    given = np.array([np.nan if one is None else one for one in confidences], dtype=np.float64)
    return given, np.array(right, dtype=np.float64)


def _scores(
    given: NDArray[np.float64],
    right: NDArray[np.float64],
    photo: NDArray[np.intp],
    abstained: Sequence[bool] | None,
    bootstrap: Bootstrap,
) -> dict[str, Estimate]:
    n_photos = int(photo.max()) + 1
    there = ~np.isnan(given)
    total = _sums(photo, there)
    confident = 100 * _sums(photo, np.where(there, given, 0))
    answered = there if abstained is None else there & ~np.array(abstained, dtype=bool)
    everything, n_answered = _sums(photo, np.ones(len(photo))), _sums(photo, answered)
    hits = 100 * _sums(photo, np.where(answered, right, 0))

    def statistic(weights: Weights) -> dict[str, NDArray[np.float64]]:
        found = {"mean_confidence": weighted_mean(weights, confident, total)}
        if (answered != there).any():
            found["coverage"] = weighted_mean(weights, 100 * n_answered, everything)
            found["accuracy_answered"] = weighted_mean(weights, hits, n_answered)
        return found

    return {"ece": _ece(given, right, photo, bootstrap), **estimates(n_photos, statistic, bootstrap)}


def _ece(
    given: NDArray[np.float64], right: NDArray[np.float64], photo: NDArray[np.intp], bootstrap: Bootstrap
) -> Estimate:
    there = ~np.isnan(given)
    n_photos = int(photo.max()) + 1
    # Per photo and bin the sum of (confidence - right); a bin's share of the error is the size of its sum.
    gaps = np.zeros((n_photos, BINS))
    np.add.at(gaps, (photo[there], _bin_of(given[there])), given[there] - right[there])
    counts = _sums(photo, there)

    def statistic(weights: Weights) -> NDArray[np.float64]:
        total = weights @ counts
        error = 100 * np.abs(weights @ gaps).sum(axis=1)
        return np.asarray(np.divide(error, total, out=np.zeros_like(total), where=total > 0))

    value = float(statistic(np.ones((1, n_photos)))[0])
    drawn = np.concatenate([statistic(weights) for weights in draws(n_photos, bootstrap, BINS)])
    # Distances do not cancel: every draw adds noise to each bin, so draws lie above the value on average.
    # Their spread is what is asked for, and it is set around the value.
    low, high = np.percentile(drawn - drawn.mean() + value, _PERCENTILES)
    return Estimate(value, float(max(0.0, low)), float(min(100.0, high)))


def _bin_of(given: NDArray[np.float64]) -> NDArray[np.intp]:
    return np.clip(np.ceil(given * BINS).astype(np.intp) - 1, 0, BINS - 1)


def _bins(given: NDArray[np.float64], right: NDArray[np.float64]) -> list[Bin]:
    there = ~np.isnan(given)
    bin_of = _bin_of(given[there])
    found = []
    for number in range(BINS):
        inside = bin_of == number
        n = int(inside.sum())
        confidence, accuracy = (
            float(100 * values[there][inside].mean()) if n else 0.0 for values in (given, right)
        )
        found.append(Bin(number / BINS, (number + 1) / BINS, n, confidence, accuracy))
    return found


def _level_thresholds(given: NDArray[np.float64]) -> list[float]:
    """For each of ``LEVELS`` the confidence that so many predictions reach; equal ones once."""
    ranked = np.sort(given[~np.isnan(given)])[::-1]
    counts = [min(len(ranked), max(1, round(level * len(given)))) for level in LEVELS]
    return list(dict.fromkeys(0.0 if n == len(ranked) else float(ranked[n - 1]) for n in counts))


def _points(
    given: NDArray[np.float64],
    right: NDArray[np.float64],
    photo: NDArray[np.intp],
    thresholds: Sequence[float],
    bootstrap: Bootstrap,
) -> list[Point]:
    # A comparison with NaN is false: what failed is never answered.
    answered = [given >= threshold for threshold in thresholds]
    counts = [_sums(photo, one) for one in answered]
    hits = [100 * _sums(photo, np.where(one, right, 0)) for one in answered]

    def statistic(weights: Weights) -> dict[str, NDArray[np.float64]]:
        pairs = zip(hits, counts, strict=True)
        return {str(number): weighted_mean(weights, *pair) for number, pair in enumerate(pairs)}

    accuracies = estimates(int(photo.max()) + 1, statistic, bootstrap)
    return [
        Point(threshold, 100 * float(one.mean()), accuracies[str(number)])
        for number, (threshold, one) in enumerate(zip(thresholds, answered, strict=True))
    ]


def _sums(photo: NDArray[np.intp], values: NDArray[np.float64] | NDArray[np.bool_]) -> NDArray[np.float64]:
    return np.bincount(photo, weights=values.astype(np.float64)).astype(np.float64)
