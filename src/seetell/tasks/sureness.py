"""How sure a caption is, and the one that says less in place of one that is not."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from seetell.core.results import Caption
from seetell.runtime.generation.probabilities import softmax

if TYPE_CHECKING:
    from seetell.bundle.manifest import AskedThing, CaptionConfidence


# A probability of 0 or 1 has no log-odds.
_CERTAIN = 1e-4


class Naming:
    """Which things a text names, of those that can be asked for.

    Args:
        things: as the bundle has them.
        language: of the texts.
    """

    def __init__(self, things: Sequence[AskedThing], language: str) -> None:
        self._things = [
            (thing.question, _any_of(thing.words, language), _any_of(thing.unless, language))
            for thing in things
        ]

    def questions(self, text: str) -> list[str]:
        """Whether each thing that the text names is there."""
        plain = text.casefold()
        return [question for question, named, unless in self._things if named.search(unless.sub(" ", plain))]


def _any_of(words: Sequence[str], language: str) -> re.Pattern[str]:
    """Any of the words, the longest first; none matches nowhere."""
    longest = "|".join(re.escape(word.casefold()) for word in sorted(words, key=len, reverse=True))
    if not longest:
        return re.compile(r"(?!)")
    return re.compile(longest if language == "zh" else rf"\b(?:{longest})\b")


def presence(chances: Iterable[float | None]) -> float:
    """The least log-odds of the things that a caption names, each there with such a probability; None of them
    is unknown. 0 where nothing is known."""
    known = [min(max(chance, _CERTAIN), 1 - _CERTAIN) for chance in chances if chance is not None]
    return min((math.log(chance / (1 - chance)) for chance in known), default=0.0)


class Sureness:
    """Judges captions in one language.

    Args:
        fitted: the probability that all objects a caption names are in its photo, as the bundle has it.
        texts: what may be said instead of an unsure caption; the last one holds of any photo.
        vectors: of these, float32[len(texts), S], unit length.
        logit_scale: of the model's similarities, as a log.
        language: of the captions.
    """

    def __init__(
        self,
        fitted: CaptionConfidence,
        texts: Sequence[str],
        vectors: NDArray[np.float32],
        logit_scale: float,
        language: str,
    ) -> None:
        self._fitted = fitted
        self._texts = tuple(texts)
        self._vectors = vectors
        self._scale = math.exp(logit_scale)
        self._naming = Naming(fitted.things if fitted.presence_weight else (), language)

    def questions(self, caption: Caption) -> list[str]:
        """What to ask about the photo, to be answered with yes or no, before its caption is judged."""
        return self._naming.questions(caption.text)

    @property
    def may_replace(self) -> bool:
        """Whether it may come to another caption than the model's."""
        return bool(self._texts) and self._fitted.unsure_below > 0

    def judged(
        self, caption: Caption, cosine: float, there: Iterable[float | None], image: NDArray[np.float32]
    ) -> Caption:
        """The caption with its confidence; unsure, of the texts the one that fits the photo.

        cosine: of photo and caption, 0 for one without a word. there: the probability of yes to each of its
        questions. image: float32[S], the photo's vector.
        """
        fitted = self._fitted
        assert caption.score is not None  # of this machine's models all have one
        logit = fitted.bias + fitted.log_prob_weight * caption.score + fitted.match_weight * cosine
        logit += fitted.presence_weight * presence(there)
        if fitted.contrast_weight:
            logit -= fitted.contrast_weight * float(self._vectors[-1] @ image)
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
