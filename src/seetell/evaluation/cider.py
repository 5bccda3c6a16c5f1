"""CIDEr-D (Vedantam, Zitnick and Parikh 2015): consensus with the references, rare words weighing more.

As coco-caption computes it (its class is called Cider and computes CIDEr-D): n-grams of 1 to 4 words, weights
from the references of the very set that is scored, counts clipped, a Gaussian penalty on length (sigma 6,
measured in bigrams), times 10. 1.0 here is written as 100 in papers.

Because the weights come from the set, the figure depends on its size: a caption scored alone gets 0, and
figures of different sets or of parts of a set do not compare.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seetell.evaluation.bleu import Tokens, ngrams

MAX_ORDER = 4

_SIGMA = 6.0

Gram = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Vector:
    """tf-idf per order, its norms, and the caption's length in bigrams."""

    weights: tuple[dict[Gram, float], ...]
    norms: tuple[float, ...]
    length: int


def cider_d(captions: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> NDArray[np.float64]:
    """CIDEr-D of each caption, float64[N]; a corpus's is the mean. Each needs at least one reference."""
    frequency: Counter[Gram] = Counter()
    for several in references:
        frequency.update({gram for one in several for gram in _grams(one)})
    log_size = math.log(len(references)) if references else 0.0
    scores = np.zeros(len(captions))
    for row, (caption, several) in enumerate(zip(captions, references, strict=True)):
        candidate = _vector(caption, frequency, log_size)
        similar = [_similarity(candidate, _vector(one, frequency, log_size)) for one in several]
        scores[row] = 10 * sum(similar) / len(similar)
    return scores


def _grams(tokens: Tokens) -> set[Gram]:
    return {gram for order in range(1, MAX_ORDER + 1) for gram in ngrams(tokens, order)}


def _vector(tokens: Tokens, frequency: Counter[Gram], log_size: float) -> _Vector:
    weights = tuple(
        {
            gram: count * (log_size - math.log(max(1, frequency[gram])))
            for gram, count in ngrams(tokens, order).items()
        }
        for order in range(1, MAX_ORDER + 1)
    )
    norms = tuple(math.sqrt(sum(weight**2 for weight in one.values())) for one in weights)
    return _Vector(weights, norms, max(0, len(tokens) - 1))


def _similarity(caption: _Vector, reference: _Vector) -> float:
    total = 0.0
    for order in range(MAX_ORDER):
        norm = caption.norms[order] * reference.norms[order]
        if norm == 0:
            continue
        against = reference.weights[order]
        shared = sum(
            min(weight, against[gram]) * against[gram]
            for gram, weight in caption.weights[order].items()
            if gram in against
        )
        total += shared / norm
    distance = caption.length - reference.length
    return total / MAX_ORDER * math.exp(-(distance**2) / (2 * _SIGMA**2))
