"""Captions against references: BLEU-1..4, ROUGE-L and CIDEr-D, with intervals; and what they say twice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from seetell.core.errors import UsageError
from seetell.core.results import Caption
from seetell.evaluation.bleu import MAX_ORDER, Tokens, bleu_counts, corpus_bleu
from seetell.evaluation.bootstrap import Bootstrap, Estimate, Weights, estimates
from seetell.evaluation.caption_tokens import caption_tokens
from seetell.evaluation.cider import cider_d
from seetell.evaluation.rouge import rouge_l


def score_captions(
    captions: Sequence[str],
    references: Sequence[Sequence[str]],
    language: str,
    bootstrap: Bootstrap | None = None,
) -> dict[str, Estimate]:
    """Score one caption per photo against what people wrote about it.

    Args:
        captions: N texts; an empty one stands for a photo that got none, and scores 0.
        references: of each photo, at least one text.
        language: ``zh`` is scored per character, others per word.

    Returns:
        ``bleu_1`` to ``bleu_4`` and ``rouge_l`` in 0..100; ``cider``, where 1.0 is 100 in papers, but not of
        one photo alone, where no word is rarer than another; ``repeats``, the share of captions in 0..100
        that say three words (``zh``: characters) in a row twice.
    """
    return score_each_caption(captions, references, language, bootstrap)[0]


def score_each_caption(
    captions: Sequence[str],
    references: Sequence[Sequence[str]],
    language: str,
    bootstrap: Bootstrap | None = None,
) -> tuple[dict[str, Estimate], NDArray[np.float64]]:
    """:func:`score_captions`, and the CIDEr-D of each caption, float64[N]."""
    tokens = [caption_tokens(text, language) for text in captions]
    known = [[caption_tokens(text, language) for text in several] for several in references]
    _check(tokens, known)
    cider = cider_d(tokens, known)
    return _estimates(tokens, known, cider, bootstrap), cider


def score_tokens(
    captions: Sequence[Tokens], references: Sequence[Sequence[Tokens]], bootstrap: Bootstrap | None = None
) -> dict[str, Estimate]:
    """:func:`score_captions` for texts that are tokens already. Raises UsageError for missing references."""
    _check(captions, references)
    return _estimates(captions, references, cider_d(captions, references), bootstrap)


def score_unsure(
    captions: Sequence[Caption | None], bootstrap: Bootstrap | None = None
) -> dict[str, Estimate]:
    """``unsure``, the share of captions in 0..100 that the model is unsure of; nothing where it cannot tell.

    None stands for a photo that failed; it is no unsure one.
    """
    if not any(caption is not None and caption.confidence is not None for caption in captions):
        return {}
    unsure = 100 * np.array([caption is not None and caption.unsure for caption in captions], np.float64)

    def statistic(weights: Weights) -> dict[str, NDArray[np.float64]]:
        return {"unsure": weights @ unsure / len(unsure)}

    return estimates(len(unsure), statistic, Bootstrap() if bootstrap is None else bootstrap)


def _repeats(tokens: Tokens) -> bool:
    runs = list(zip(tokens, tokens[1:], tokens[2:], strict=False))
    return len(set(runs)) < len(runs)


def _check(captions: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> None:
    if not captions or len(captions) != len(references):
        raise UsageError(
            f"{len(captions)} captions and references for {len(references)}; give both per photo"
        )
    for row, several in enumerate(references):
        if not several:
            raise UsageError(f"caption {row} has no reference to compare with")


def _estimates(
    captions: Sequence[Tokens],
    references: Sequence[Sequence[Tokens]],
    cider: NDArray[np.float64],
    bootstrap: Bootstrap | None,
) -> dict[str, Estimate]:
    counts = bleu_counts(captions, references)
    # The words' weights stay those of the full set: resampling asks how other captions would have fared.
    per_photo = {
        "rouge_l": 100 * np.array([rouge_l(*pair) for pair in zip(captions, references, strict=True)]),
        **({"cider": cider} if len(captions) > 1 else {}),
        "repeats": 100 * np.array([_repeats(caption) for caption in captions], np.float64),
    }

    def statistic(weights: Weights) -> dict[str, NDArray[np.float64]]:
        bleu = 100 * corpus_bleu(counts, weights)
        found = {f"bleu_{order + 1}": bleu[:, order] for order in range(MAX_ORDER)}
        means = {name: weights @ values / len(captions) for name, values in per_photo.items()}
        return {**found, **means}

    return estimates(len(captions), statistic, Bootstrap() if bootstrap is None else bootstrap)
