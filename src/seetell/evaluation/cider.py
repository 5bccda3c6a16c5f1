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
from collections.abc import Iterable, Sequence
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
    rarity = Rarity(references)
    return np.array([rarity.score(one, several) for one, several in zip(captions, references, strict=True)])


class Rarity:
    """How rare n-grams are among the photos of a set: what CIDEr-D weighs them by.

    references: the captions of each of its photos.
    """

    def __init__(self, references: Iterable[Sequence[Tokens]]) -> None:
        self._frequency: Counter[Gram] = Counter()
        size = 0
        for several in references:
            self._frequency.update({gram for one in several for gram in _grams(one)})
            size += 1
        self._log_size = math.log(size) if size else 0.0

    def score(self, caption: Tokens, references: Sequence[Tokens]) -> float:
        """CIDEr-D of a caption of a photo, of this set or another. It needs at least one reference."""
        candidate = self._vector(caption)
        similar = [_similarity(candidate, self._vector(one)) for one in references]
        return 10 * sum(similar) / len(similar)

    def _vector(self, tokens: Tokens) -> _Vector:
        weights = tuple(
            {
                gram: count * (self._log_size - math.log(max(1, self._frequency[gram])))
                for gram, count in ngrams(tokens, order).items()
            }
            for order in range(1, MAX_ORDER + 1)
        )
        norms = tuple(math.sqrt(sum(weight**2 for weight in one.values())) for one in weights)
        return _Vector(weights, norms, max(0, len(tokens) - 1))


def _grams(tokens: Tokens) -> set[Gram]:
    return {gram for order in range(1, MAX_ORDER + 1) for gram in ngrams(tokens, order)}


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
