"""Small numeric helpers every decoding method shares, and what a decoding method returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seetell.core.errors import EngineError

FloatArray = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class Generated:
    """One generated text.

    ids: the tokens written, without the prompt and without [EOS].
    log_prob: the model's log-probability of what was generated, [EOS] included when it was written;
        penalties steer the choice and never enter it.
    length: the tokens it sums over: ``len(ids)``, plus one for [EOS].
    """

    ids: tuple[int, ...]
    log_prob: float
    length: int

    @property
    def score(self) -> float:
        """Mean log-probability per generated token."""
        return self.log_prob / max(1, self.length)


def log_softmax(logits: FloatArray, role: str) -> NDArray[np.float64]:
    """Log-probabilities over the last axis, float64.

    -inf logits stay -inf. Raises EngineError naming ``role`` when a row holds NaN, +inf or nothing but
    -inf: a model that diverged must not be read as one that is unsure.
    """
    wide = logits.astype(np.float64)
    peak = wide.max(axis=-1, keepdims=True)
    if not np.isfinite(peak).all():
        raise EngineError(f"{role} gave values that are not numbers; try precision fp32, or check the bundle")
    wide -= peak
    wide -= np.log(np.exp(wide).sum(axis=-1, keepdims=True))
    return wide


def softmax(logits: FloatArray) -> NDArray[np.float64]:
    """Probabilities over the last axis, float64."""
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=-1, keepdims=True)
    np.exp(wide, out=wide)
    wide /= wide.sum(axis=-1, keepdims=True)
    return wide


def best(values: NDArray[np.float64], count: int) -> NDArray[np.intp]:
    """Indices of the ``count`` largest along the last axis, best first, ties to the lower index.

    values: float64[..., M] with M >= count. Returns intp[..., count].
    """
    if values.shape[-1] > 4 * count:
        # Sorting a whole vocabulary costs more than the decoder of a small model.
        some = np.sort(np.argpartition(-values, count - 1, axis=-1)[..., :count], axis=-1)
    else:
        some = np.broadcast_to(np.arange(values.shape[-1]), values.shape)
    kept = np.take_along_axis(values, some, axis=-1)
    order = np.argsort(-kept, axis=-1, kind="stable")[..., :count]
    return np.take_along_axis(some, order, axis=-1)
