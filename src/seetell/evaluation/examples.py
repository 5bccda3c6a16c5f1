"""The predictions worth looking at: those a model did best and worst on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SHOWN = 12
"""Of each kind."""


@dataclass(frozen=True, slots=True)
class Example:
    """One prediction, as a person would look at it.

    score: higher is better; of equal ones the more confident is shown, whether right or wrong. said: by the
    model. wanted: by people. question: what was asked, where something was. verdict: the score in words.
    found: another photo, which the model found in place of this one.
    """

    photo: Path
    score: float
    said: str
    wanted: tuple[str, ...]
    verdict: str
    question: str | None = None
    confidence: float | None = None
    found: Path | None = None


@dataclass(frozen=True, slots=True)
class Examples:
    """Of one part of an evaluation: the best, best first, and the worst, worst first."""

    part: str
    best: tuple[Example, ...]
    worst: tuple[Example, ...]


def best_and_worst(part: str, examples: Sequence[Example], shown: int = SHOWN) -> Examples:
    """At most ``shown`` of each, of different photos where there are enough; none is both.

    Where everything has the same score nothing is best or worst, and both are empty.
    """
    scores = sorted({example.score for example in examples})
    if len(scores) < 2:
        return Examples(part, (), ())
    # The middle of the distinct scores: of ranks, which are uneven, hardly any lie beyond half of the worst.
    middle = scores[len(scores) // 2]
    upper = sorted(examples, key=lambda one: (-one.score, -(one.confidence or 0.0)))
    lower = sorted(examples, key=lambda one: (one.score, -(one.confidence or 0.0)))
    return Examples(
        part,
        _first_of_each_photo([one for one in upper if one.score >= middle], shown),
        _first_of_each_photo([one for one in lower if one.score < middle], shown),
    )


def _first_of_each_photo(examples: Sequence[Example], shown: int) -> tuple[Example, ...]:
    # Many questions are about the same photo, and the most confident ones often about the same few.
    seen: set[Path] = set()
    first: list[Example] = []
    others: list[Example] = []
    for example in examples:
        (others if example.photo in seen else first).append(example)
        seen.add(example.photo)
    kept = [*first[:shown], *others[: max(0, shown - len(first))]]
    return tuple(sorted(kept, key=examples.index))
