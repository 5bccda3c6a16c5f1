"""The probability that a caption names nothing that is not there: fitted, and whether it can be believed.

A caption is right where every object it names was named by somebody who captioned the photo; one that names
no object that is known is right, too. Its probability is a logistic regression on what a model itself says of
it: its mean log-probability per token, the cosine of photo and caption, whether what it names is there, and
how well a text fits the photo that says nothing of what is seen.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seetell.core.errors import UsageError
from seetell.evaluation.chair import Vocabulary
from seetell.evaluation.chinese_objects import chinese_mentions, in_chinese
from seetell.evaluation.logistic import fit_logistic, sigmoid


@dataclass(frozen=True, slots=True)
class FittedConfidence:
    """The probability is sigmoid(bias + log_prob_weight * score + match_weight * cosine + presence_weight *
    presence - contrast_weight * contrast)."""

    bias: float
    log_prob_weight: float
    match_weight: float
    presence_weight: float = 0.0
    contrast_weight: float = 0.0

    def chances(
        self,
        scores: NDArray[np.float64],
        cosines: NDArray[np.float64],
        presence: NDArray[np.float64] | None = None,
        contrast: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        """The probability of each of N captions, float64[N]."""
        logits = self.bias + self.log_prob_weight * scores + self.match_weight * cosines
        if presence is not None:
            logits = logits + self.presence_weight * presence
        if contrast is not None:
            logits = logits - self.contrast_weight * contrast
        return sigmoid(logits)


def fit_confidence(
    scores: Sequence[float],
    cosines: Sequence[float],
    right: Sequence[bool],
    presence: Sequence[float] | None = None,
    contrast: Sequence[float] | None = None,
) -> FittedConfidence:
    """Fit by maximum likelihood (Newton's method), weights at least 0.

    Args:
        scores: of N captions, the mean log-probability per token.
        cosines: of photo and caption.
        right: whether each is.
        presence: the least log-odds of what each names, as the model answers; None where it was not asked.
        contrast: of its photo the cosine with a text that says nothing of it; None without one.

    Raises UsageError for lists that do not fit, and where all are right or none is.
    """
    against = None if contrast is None else -np.array(contrast, np.float64)
    known = {"score": scores, "cosine": cosines, "presence": presence, "contrast": against}
    given = {name: one for name, one in known.items() if one is not None}
    if not all(len(one) == len(right) for one in given.values()):
        raise UsageError(
            f"{' and '.join(str(len(one)) for one in given.values())} things known of {len(right)} captions; "
            "give all of each"
        )
    y = np.array(right, np.float64)
    if not 0 < y.sum() < len(y):
        raise UsageError(f"of {len(y)} captions {int(y.sum())} are right: nothing to tell them apart by")
    features = np.array(list(given.values()), np.float64).T
    weighed = np.ones(features.shape[1], np.bool_)
    while True:
        bias, some = fit_logistic(features[:, weighed], y)
        if not (some < 0).any():
            break
        # What speaks for a caption never speaks against it: a decoder that writes one sentence of whatever it
        # does not know is very sure of that sentence, which says nothing of the next photo.
        weighed[np.flatnonzero(weighed)[int((some * features[:, weighed].std(axis=0)).argmin())]] = False
    weights = np.zeros(len(given))
    weights[weighed] = some
    found = dict(zip(given, weights.tolist(), strict=True))
    return FittedConfidence(bias, *(found.get(name, 0.0) for name in known))


def equal_mass_ece(chances: Sequence[float], right: Sequence[bool], bins: int = 10) -> float:
    """Expected calibration error over ``bins`` of equally many captions, 0..100.

    Equal in number and not in width (Nixon et al. 2019): probabilities of captions crowd in a part of 0..1.
    """
    order = np.argsort(np.array(chances), kind="stable")
    p, y = np.array(chances, np.float64)[order], np.array(right, np.float64)[order]
    gaps = [abs(p[part].sum() - y[part].sum()) for part in np.array_split(np.arange(len(p)), bins)]
    return 100 * float(np.sum(gaps)) / max(1, len(p))


def names_only(
    caption: str,
    language: str,
    references: Iterable[tuple[str, str]],
    vocabulary: Vocabulary | None,
) -> bool:
    """Whether every object that a caption names was named in one of the photo's references.

    Args:
        caption: in ``language``, English or Chinese.
        references: (text, language) of each. A Chinese caption may also name what English ones name.
        vocabulary: English words for objects; None where there is none, and then of Chinese captions alone.

    Raises UsageError for another language, and for English without a vocabulary.
    """
    there = [(text, spoken) for text, spoken in references]
    if language == "en" and vocabulary is not None:
        known = _objects(vocabulary.mentions(text) for text, spoken in there if spoken == "en")
        return _objects([vocabulary.mentions(caption)]) <= known
    if language == "zh":
        known = _objects(chinese_mentions(text) for text, spoken in there if spoken == "zh")
        if vocabulary is not None:
            english = _objects(vocabulary.mentions(text) for text, spoken in there if spoken == "en")
            known |= {in_chinese(name) for name in english}
        return _objects([chinese_mentions(caption)]) <= known
    raise UsageError(
        f"no words for objects in {language!r}" + ("; give synonyms" if language == "en" else "")
    )


def _objects(mentions: Iterable[Collection[tuple[str, str]]]) -> set[str]:
    return {name for one in mentions for _, name in one}
