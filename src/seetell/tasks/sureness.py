"""How sure a caption is, and the one that says less in place of one that is not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from seetell.core.results import Caption

if TYPE_CHECKING:
    from seetell.bundle.manifest import CaptionConfidence


class Sureness:
    """Judges captions in one language.

    Args:
        fitted: the probability that all objects a caption names are in its photo, as the bundle has it.
        texts: what may be said instead of an unsure caption.
        vectors: of these, float32[len(texts), S], unit length.
    """

    def __init__(self, fitted: CaptionConfidence, texts: Sequence[str], vectors: NDArray[np.float32]) -> None:
        self._fitted = fitted
        self._texts = tuple(texts)
        self._vectors = vectors

    @property
    def may_replace(self) -> bool:
        """Whether it may come to another caption than the model's."""
        return bool(self._texts) and self._fitted.unsure_below > 0

    def judged(self, caption: Caption, cosine: float, image: NDArray[np.float32]) -> Caption:
        """The caption with its confidence; unsure, of the texts the one that fits the photo best.

        cosine: of photo and caption, 0 for one without a word. image: float32[S], the photo's vector.
        """
        fitted = self._fitted
        logit = fitted.bias + fitted.log_prob_weight * caption.score + fitted.match_weight * cosine
        # Written with tanh, which cannot overflow.
        confidence = 0.5 * (1 + math.tanh(logit / 2))
        if confidence >= fitted.unsure_below:
            return replace(caption, confidence=confidence)
        text = self._texts[int((self._vectors @ image).argmax())] if self._texts else caption.text
        return replace(caption, text=text, confidence=confidence, unsure=True, guess=caption.text)
