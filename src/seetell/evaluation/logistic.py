"""Logistic regression, for what is fitted on held-out data."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# A weak pull towards 0, per weight of standardised features: without it what is told apart without a mistake
# has no best weights.
_RIDGE = 0.01
_MOST_STEPS = 100


def fit_logistic(
    features: NDArray[np.float64], right: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64]]:
    """(bias, weights float64[F]) of the probability sigmoid(bias + features @ weights), by maximum likelihood
    (Newton's method).

    Args:
        features: float64[N, F].
        right: float64[N], 0 or 1; not all the same.
    """
    mean, spread = features.mean(axis=0), features.std(axis=0)
    spread[spread == 0] = 1
    x = np.column_stack([np.ones(len(right)), (features - mean) / spread])
    ridge = _RIDGE * np.array([0.0] + [1.0] * features.shape[1])
    weights = np.zeros(x.shape[1])
    for _ in range(_MOST_STEPS):
        chance = sigmoid(x @ weights)
        slope = x.T @ (right - chance) - ridge * weights
        curvature = x.T @ (x * (chance * (1 - chance))[:, None]) + np.diag(ridge)
        step = np.linalg.solve(curvature, slope)
        weights += step
        if np.abs(step).max() < 1e-9:
            break
    slopes = weights[1:] / spread
    return float(weights[0] - slopes @ mean), slopes


def sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each, 0..1."""
    # Written with tanh, which cannot overflow.
    return np.asarray(0.5 * (1 + np.tanh(logits / 2)))
