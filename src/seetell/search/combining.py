"""Other opinions on what was found: the words of captions, and the model's matching head."""

from __future__ import annotations

from collections.abc import Sequence

from seetell.core.errors import TaskUnavailable
from seetell.core.results import Failure
from seetell.tasks.model import Model

# Reciprocal rank fusion (Cormack, Clarke and Buettcher 2009) and its constant.
_FUSION = 60


def fused(rankings: Sequence[Sequence[str]]) -> list[str]:
    """One ranking of several, best first: each place counts 1 / (60 + rank)."""
    merit: dict[str, float] = {}
    for ranking in rankings:
        for rank, photo in enumerate(ranking, 1):
            merit[photo] = merit.get(photo, 0.0) + 1 / (_FUSION + rank)
    return sorted(merit, key=lambda photo: -merit[photo])


def reranked(photos: Sequence[str], text: str, model: Model) -> list[tuple[str, float]]:
    """(photo, probability that the text fits it) by the model's matching head, best first. Every photo is
    read; one that cannot be any more is left out.

    Raises TaskUnavailable where the model gives no probability.
    """
    if "match" not in model.tasks:
        raise TaskUnavailable(f"{model.name} cannot match texts with photos, so it cannot rank again")
    scored: list[tuple[str, float]] = []
    for photo, result in zip(photos, model.stream("match", list(photos), texts=[text]), strict=True):
        if isinstance(result, Failure):
            continue
        (match,) = result
        if match.probability is None:
            raise TaskUnavailable(
                f"{model.name} has no matching head, so it cannot rank again; without --rerank it searches"
            )
        scored.append((photo, match.probability))
    return sorted(scored, key=lambda one: -one[1])
