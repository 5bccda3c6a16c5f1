"""From the logits of a head over the model's own labels or answers to probabilities."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from seetell.runtime.generation.probabilities import softmax
from seetell.tasks.context import Context


def head_probabilities(context: Context, logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """float64[B, C], as the head was taught: shares of one, or each true or not whatever the others are."""
    if context.manifest.score.heads == "softmax":
        return softmax(logits)
    # Written with tanh, which cannot overflow.
    return np.asarray(0.5 * (1 + np.tanh(logits / 2)))
