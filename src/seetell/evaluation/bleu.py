"""Corpus BLEU-1 to BLEU-4 (Papineni et al. 2002) as coco-caption computes it.

Counts are summed over all captions before they are divided. The brevity penalty compares with the reference
closest in length, the shorter of two equally close. Two tiny constants stand where a count may be zero, as
in coco-caption, so that figures agree to the last digits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_ORDER = 4

_TINY, _SMALL = 1e-15, 1e-9

Tokens = Sequence[str]


@dataclass(frozen=True, slots=True)
class BleuCounts:
    """What corpus BLEU needs of each caption; sums over captions are the corpus's.

    matches: float64[N, 4], n-grams that a reference has too, each at most as often as the reference that has
    it most. guesses: float64[N, 4], n-grams of the caption. length: float64[N]. reference_length: float64[N].
    """

    matches: NDArray[np.float64]
    guesses: NDArray[np.float64]
    length: NDArray[np.float64]
    reference_length: NDArray[np.float64]


def ngrams(tokens: Tokens, order: int) -> Counter[tuple[str, ...]]:
    """How often each run of ``order`` tokens occurs."""
    return Counter(tuple(tokens[at : at + order]) for at in range(len(tokens) - order + 1))


def bleu_counts(captions: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> BleuCounts:
    """Counts of N captions, each with at least one reference."""
    matches = np.zeros((len(captions), MAX_ORDER))
    guesses = np.zeros((len(captions), MAX_ORDER))
    reference_length = np.zeros(len(captions))
    for row, (caption, several) in enumerate(zip(captions, references, strict=True)):
        for order in range(1, MAX_ORDER + 1):
            allowed: Counter[tuple[str, ...]] = Counter()
            for reference in several:
                allowed |= ngrams(reference, order)
            matches[row, order - 1] = (ngrams(caption, order) & allowed).total()
            guesses[row, order - 1] = max(0, len(caption) - order + 1)
        reference_length[row] = min((abs(len(one) - len(caption)), len(one)) for one in several)[1]
    length = np.array([len(caption) for caption in captions], dtype=np.float64)
    return BleuCounts(matches, guesses, length, reference_length)


def corpus_bleu(counts: BleuCounts, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """BLEU-1..4 in 0..1 of R corpora, where corpus r holds caption n ``weights[r, n]`` times.

    Args:
        weights: float64[R, N].

    Returns:
        float64[R, 4].
    """
    precisions = (weights @ counts.matches + _TINY) / (weights @ counts.guesses + _SMALL)  # [R, 4]
    orders = np.arange(1, MAX_ORDER + 1)
    means = np.cumprod(precisions, axis=1) ** (1 / orders)
    ratio = (weights @ counts.length + _TINY) / (weights @ counts.reference_length + _SMALL)  # [R]
    # ratio is at least 1e-15 over some length, and exp(-1e15) is 0, as it should be for empty captions.
    penalty = np.where(ratio < 1, np.exp(np.minimum(0, 1 - 1 / ratio)), 1.0)
    return np.asarray(means * penalty[:, None], dtype=np.float64)
