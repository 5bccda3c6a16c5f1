"""Intervals: seeded, by photo, and of the right width."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from seetell.core.errors import UsageError
from seetell.evaluation import bootstrap as module
from seetell.evaluation.bootstrap import (
    Bootstrap,
    Estimate,
    Weights,
    difference,
    draws,
    estimates,
    weighted_mean,
)


def mean_of(values: NDArray[np.float64]) -> Callable[[Weights], dict[str, NDArray[np.float64]]]:
    return lambda weights: {"mean": weights @ values / len(values)}


def test_each_draw_has_as_many_photos_as_the_set() -> None:
    weights = np.concatenate(list(draws(37, Bootstrap(samples=200))))
    assert weights.shape == (200, 37)
    assert set(weights.sum(axis=1)) == {37}
    assert abs(weights.mean() - 1) < 1e-9
    # The number of times one photo is drawn is binomial: its variance is close to 1.
    assert 0.9 < weights.var() < 1.1


def test_chunks_do_not_change_the_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = np.concatenate(list(draws(10, Bootstrap(samples=50))))
    monkeypatch.setattr(module, "_CHUNK_ELEMENTS", 35)
    blocks = list(draws(10, Bootstrap(samples=50)))
    assert max(len(block) for block in blocks) == 3
    assert np.array_equal(whole, np.concatenate(blocks))
    assert max(len(block) for block in draws(10, Bootstrap(samples=50), row_elements=30)) == 1


def test_the_same_seed_gives_the_same_interval_and_another_another() -> None:
    values = np.random.default_rng(0).normal(size=80)
    first = estimates(80, mean_of(values), Bootstrap(seed=4))["mean"]
    assert estimates(80, mean_of(values), Bootstrap(seed=4))["mean"] == first
    other = estimates(80, mean_of(values), Bootstrap(seed=5))["mean"]
    assert other.value == first.value
    assert other.low != first.low


def test_the_interval_of_a_mean_is_as_wide_as_theory_says() -> None:
    values = np.random.default_rng(1).normal(size=400)
    found = estimates(400, mean_of(values), Bootstrap(samples=4000))["mean"]
    expected = 1.96 * values.std() / 20
    assert found.low < values.mean() < found.high
    assert found.value == pytest.approx(values.mean())
    assert (found.high - found.low) / 2 == pytest.approx(expected, rel=0.1)


def test_captions_of_one_photo_are_drawn_together() -> None:
    # 20 photos whose 50 captions are all right or all wrong: the interval is that of 20, not of 1000.
    right = np.tile([0.0, 1.0], 10)
    counts = np.full(20, 50.0)

    def statistic(weights: Weights) -> dict[str, NDArray[np.float64]]:
        return {"share": weighted_mean(weights, 50 * right, counts)}

    found = estimates(20, statistic, Bootstrap())["share"]
    assert found.value == 0.5
    assert found.high - found.low > 0.3


def test_one_photo_has_an_interval_of_no_width() -> None:
    found = estimates(1, mean_of(np.array([3.0])), Bootstrap())["mean"]
    assert (found.value, found.low, found.high) == (3, 3, 3)


def test_nonsense_is_refused() -> None:
    with pytest.raises(UsageError):
        Bootstrap(samples=0)


def test_the_difference_on_the_same_photos_has_an_interval_of_its_own() -> None:
    random = np.random.default_rng(3)
    hard = random.normal(size=400)
    before = estimates(400, mean_of(10 * hard), Bootstrap(samples=4000))["mean"]
    lost = random.normal(loc=0.5, scale=0.2, size=400)
    after = estimates(400, mean_of(10 * hard - lost), Bootstrap(samples=4000))["mean"]
    found = difference(before, after)
    assert found is not None
    assert found.value == pytest.approx(lost.mean())
    # As theory says of the differences themselves, and far narrower than either alone.
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * lost.std() / 20, rel=0.1)
    assert found.high - found.low < (before.high - before.low) / 10
    assert difference(before, before) == Estimate(0.0, 0.0, 0.0)


def test_without_the_same_draws_there_is_no_difference_to_be_sure_of() -> None:
    values = np.arange(10.0)
    one = estimates(10, mean_of(values), Bootstrap(samples=20))["mean"]
    assert difference(one, Estimate(1.0, 1.0, 1.0)) is None
    assert difference(one, estimates(10, mean_of(values), Bootstrap(samples=30))["mean"]) is None
