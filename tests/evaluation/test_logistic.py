"""Logistic regression by maximum likelihood."""

from __future__ import annotations

import numpy as np
import pytest

from seetell.evaluation.logistic import fit_logistic, sigmoid


def test_it_finds_the_weights_that_made_the_data() -> None:
    draw = np.random.default_rng(0)
    features = draw.normal(size=(60_000, 3)) * [1.0, 10.0, 0.1] + [0.0, 5.0, 0.2]
    right = (draw.random(60_000) < sigmoid(-1 + features @ [0.5, 0.1, -8.0])).astype(np.float64)
    bias, weights = fit_logistic(features, right)
    assert weights == pytest.approx([0.5, 0.1, -8.0], rel=0.1)
    chances = sigmoid(bias + features @ weights)
    # At the maximum the residuals are uncorrelated with every feature, but for the ridge.
    assert float(np.mean(chances - right)) == pytest.approx(0, abs=1e-6)
    assert ((chances - right) @ features / len(right)) == pytest.approx([0, 0, 0], abs=1e-4)


def test_what_is_told_apart_without_a_mistake_and_what_never_changes() -> None:
    features = np.array([[0.0, 7.0], [1.0, 7.0], [2.0, 7.0], [3.0, 7.0]])
    bias, weights = fit_logistic(features, np.array([0.0, 0.0, 1.0, 1.0]))
    assert np.isfinite([bias, *weights]).all()
    assert sigmoid(bias + features @ weights) == pytest.approx([0, 0, 1, 1], abs=0.1)


def test_the_sigmoid_does_not_overflow() -> None:
    assert sigmoid(np.array([-1e6, 0.0, 1e6])).tolist() == [0.0, 0.5, 1.0]
