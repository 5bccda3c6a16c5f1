"""Zero-shot classification: how often the right label comes first, or among the first five.

A model that embeds photos and texts classifies by prompts: for each label the mean of its prompts' vectors,
and the label whose mean is nearest (Radford et al. 2021, section 3.1.4).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seetell.core.errors import UsageError
from seetell.core.results import Classification, Failure, RankedLabel
from seetell.evaluation.bootstrap import Bootstrap, Estimate, Weights, estimates
from seetell.evaluation.predictors import Embeds

TOP = 5
CONFUSIONS = 10

# Of the normal distribution, 95% lie within so many standard deviations.
_Z = 1.959963984540054


def classify_by_prompts(
    embed_images: Callable[[Iterable[Path]], Iterable[Embeds | Failure]],
    embed_texts: Callable[[Sequence[str]], Embeds],
    labels: Sequence[str],
    templates: Sequence[str] = ("{}",),
    *,
    scale: float = 1.0,
    model: str = "",
    precision: str = "fp32",
) -> Callable[[Iterable[Path]], Iterator[Classification | Failure]]:
    """A ``classify`` for Predictors, of anything that embeds photos and texts and of any templates.

    Args:
        embed_images, embed_texts: as in Predictors.
        labels: what to choose from; the names in the records.
        templates: ``{}`` marks where the label goes, as in ``a photo of a {}``.
        scale: cosines are multiplied with it before the softmax, exp(logit_scale) of a dual encoder. It
            changes the probabilities and never the order.
        model, precision: for the results.

    Raises UsageError for no label or one given twice, no template or one without ``{}``.
    """
    if not labels or len(set(labels)) < len(labels):
        raise UsageError("give at least one label to choose from, and none twice")
    if not templates or any("{}" not in template for template in templates):
        raise UsageError("a template says with {} where the label goes, as in 'a photo of a {}'")
    prompts = [template.replace("{}", label) for label in labels for template in templates]
    each = np.asarray(embed_texts(prompts), dtype=np.float64).reshape(len(labels), len(templates), -1)
    means = each.mean(axis=1)
    means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), np.finfo(np.float64).tiny)

    def classify(photos: Iterable[Path]) -> Iterator[Classification | Failure]:
        for vector in embed_images(photos):
            if isinstance(vector, Failure):
                yield vector
                continue
            logits = scale * (means @ np.asarray(vector, dtype=np.float64))
            chances = np.exp(logits - logits.max())
            chances /= chances.sum()
            order = np.argsort(-chances, kind="stable")
            ranking = tuple(RankedLabel(labels[one], float(chances[one])) for one in order)
            yield Classification(ranking[0].label, ranking[0].probability, ranking, model, precision)

    return classify


@dataclass(frozen=True, slots=True)
class ClassAccuracy:
    """Of one label: ``top_1`` and ``top_5`` in 0..100 over its ``n_images`` photos.

    ``interval`` is top_1's, Wilson's 95%: of few photos that are all right or all wrong the bootstrap knows
    no other outcome.
    """

    label: str
    n_images: int
    top_1: float
    top_5: float
    interval: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Confusion:
    """``n_images`` photos of ``label`` were called ``said``."""

    label: str
    said: str
    n_images: int


@dataclass(frozen=True, slots=True)
class ZeroShotScores:
    """``scores``: top_1, top_5 and mean_per_class (the mean of the labels' top_1), in 0..100.

    ``confused``: the most frequent mistakes, most frequent first.
    """

    scores: dict[str, Estimate]
    per_class: tuple[ClassAccuracy, ...]
    confused: tuple[Confusion, ...] = ()


def score_labels(
    rankings: Sequence[Sequence[str]], labels: Sequence[str], bootstrap: Bootstrap | None = None
) -> ZeroShotScores:
    """Score N ranked guesses against N labels.

    Args:
        rankings: per photo, labels best first; empty for a photo that could not be read, which is wrong.
        labels: the right ones.

    Raises UsageError for lists that do not fit.
    """
    if not labels or len(rankings) != len(labels):
        raise UsageError(f"{len(rankings)} rankings for {len(labels)} labelled photos; give one for each")
    first = _hits(rankings, labels, 1)
    among = _hits(rankings, labels, TOP)
    names, class_of = np.unique(np.array(list(labels)), return_inverse=True)
    order = np.argsort(class_of, kind="stable")
    starts = np.searchsorted(class_of[order], np.arange(len(names)))

    def per_class_sums(weights: Weights) -> NDArray[np.float64]:
        # Photos of one label lie side by side in ``order``; every label has at least one.
        return np.add.reduceat(weights[:, order], starts, axis=1)  # [R, C]

    def statistic(weights: Weights) -> dict[str, NDArray[np.float64]]:
        sizes = per_class_sums(weights)
        drawn = sizes > 0
        each = np.divide(per_class_sums(weights * first), sizes, out=np.zeros_like(sizes), where=drawn)
        return {
            "top_1": 100 * (weights @ first) / len(labels),
            "top_5": 100 * (weights @ among) / len(labels),
            # Over the labels that were drawn at all: a rare one may be missing from a sample.
            "mean_per_class": 100 * each.sum(axis=1) / drawn.sum(axis=1),
        }

    found = estimates(len(labels), statistic, Bootstrap() if bootstrap is None else bootstrap)
    sizes, ones, fives = (per_class_sums(each[None, :])[0] for each in (np.ones(len(labels)), first, among))
    per_class = tuple(
        ClassAccuracy(
            str(name),
            int(size),
            100 * float(one / size),
            100 * float(five / size),
            wilson_interval(float(one), float(size)),
        )
        for name, size, one, five in zip(names, sizes, ones, fives, strict=True)
    )
    return ZeroShotScores(found, per_class, _confused(rankings, labels))


def wilson_interval(right: float, total: float) -> tuple[float, float]:
    """The 95% score interval of a share (Wilson 1927), in 0..100."""
    share, spread = right / total, _Z**2 / total
    middle = (share + spread / 2) / (1 + spread)
    half = _Z / (1 + spread) * math.sqrt(share * (1 - share) / total + spread / (4 * total))
    return 100 * max(0.0, middle - half), 100 * min(1.0, middle + half)


def _confused(rankings: Sequence[Sequence[str]], labels: Sequence[str]) -> tuple[Confusion, ...]:
    mistakes = Counter(
        (label, ranking[0])
        for ranking, label in zip(rankings, labels, strict=True)
        if ranking and ranking[0] != label
    )
    # Equally frequent ones in alphabetical order: the same figures, the same report.
    ordered = sorted(mistakes.items(), key=lambda item: (-item[1], item[0]))
    return tuple(Confusion(label, said, count) for (label, said), count in ordered[:CONFUSIONS])


def _hits(rankings: Sequence[Sequence[str]], labels: Sequence[str], top: int) -> NDArray[np.float64]:
    return np.array(
        [label in ranking[:top] for ranking, label in zip(rankings, labels, strict=True)], dtype=np.float64
    )
