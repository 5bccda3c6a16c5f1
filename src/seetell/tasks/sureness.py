"""How sure a caption is, and the one that says less in place of one that is not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from seetell.core.results import Caption
from seetell.runtime.generation.probabilities import softmax

if TYPE_CHECKING:
    from seetell.bundle.manifest import CaptionConfidence


class Sureness:
    """Judges captions in one language.

    Args:
        fitted: the probability that all objects a caption names are in its photo, as the bundle has it.
        texts: what may be said instead of an unsure caption; the last one holds of any photo.
        vectors: of these, float32[len(texts), S], unit length.
        logit_scale: of the model's similarities, as a log.
    """

    def __init__(
        self,
        fitted: CaptionConfidence,
        texts: Sequence[str],
        vectors: NDArray[np.float32],
        logit_scale: float,
    ) -> None:
        self._fitted = fitted
        self._texts = tuple(texts)
        self._vectors = vectors
        self._scale = math.exp(logit_scale)

    @property
    def may_replace(self) -> bool:
        """Whether it may come to another caption than the model's."""
        return bool(self._texts) and self._fitted.unsure_below > 0

    def judged(self, caption: Caption, cosine: float, image: NDArray[np.float32]) -> Caption:
        """The caption with its confidence; unsure, of the texts the one that fits the photo.

        cosine: of photo and caption, 0 for one without a word. image: float32[S], the photo's vector.
        """
        fitted = self._fitted
        logit = fitted.bias + fitted.log_prob_weight * caption.score + fitted.match_weight * cosine
        # Written with tanh, which cannot overflow.
        confidence = 0.5 * (1 + math.tanh(logit / 2))
        if confidence >= fitted.unsure_below:
            return replace(caption, confidence=confidence)
        text = self._fitting(image) if self._texts else caption.text
        return replace(caption, text=text, confidence=confidence, unsure=True, guess=caption.text)

    def _fitting(self, image: NDArray[np.float32]) -> str:
        """The text that is more probable than all others together; the last one, where none is."""
        chances = softmax(self._scale * (self._vectors @ image))
        place = int(chances.argmax())
        return self._texts[place if chances[place] >= 0.5 else -1]
