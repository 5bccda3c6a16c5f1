"""Other opinions on what was found: the words of captions, and the model's matching head."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import TypeVar

from seetell.core.errors import TaskUnavailable
from seetell.core.results import Failure
from seetell.tasks.api import AnyModel

Key = TypeVar("Key", bound=Hashable)

# Reciprocal rank fusion (Cormack, Clarke and Buettcher 2009) and its constant.
_FUSION = 60


def fused(rankings: Sequence[Sequence[Key]]) -> list[Key]:
    """One ranking of several, best first: each place counts 1 / (60 + rank)."""
    merit: dict[Key, float] = {}
    for ranking in rankings:
        for rank, photo in enumerate(ranking, 1):
            merit[photo] = merit.get(photo, 0.0) + 1 / (_FUSION + rank)
    return sorted(merit, key=lambda photo: -merit[photo])


def reranked(photos: Sequence[str], text: str, model: AnyModel) -> list[tuple[str, float]]:
    """(photo, probability that the text fits it) by the model's matching head, best first. Every photo is
    read; those that cannot be any more come last, with a probability that is not a number.

    Raises TaskUnavailable where the model gives no probability.
    """
    if "match" not in model.tasks:
        raise TaskUnavailable(f"{model.name} cannot match texts with photos, so it cannot rank again")
    scored: list[tuple[str, float]] = []
    unread: list[tuple[str, float]] = []
    for photo, result in zip(photos, model.stream("match", list(photos), texts=[text]), strict=True):
        if isinstance(result, Failure):
            unread.append((photo, math.nan))
            continue
        (match,) = result
        if match.probability is None:
            raise TaskUnavailable(
                f"{model.name} has no matching head, so it cannot rank again; without --rerank it searches"
            )
        scored.append((photo, match.probability))
    return sorted(scored, key=lambda one: -one[1]) + unread
