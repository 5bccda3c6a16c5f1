"""Answers kind by kind, where the questions say their kind (VQAv2's ``question_type``).

A set of questions of several kinds has one accuracy, which tells how its kinds are mixed as much as anything.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seetell.core.errors import UsageError
from seetell.evaluation.answer_normalisation import normalise_answer
from seetell.evaluation.bootstrap import Bootstrap, Estimate, Weights, estimates, weighted_mean

# What says yes, and what says no, in the languages that are taught.
_YES = frozenset({"yes", "有", "是"})
_NO = frozenset({"no", "没有", "不是"})


@dataclass(frozen=True, slots=True)
class KindScores:
    """Of the questions of one kind.

    n: how many. scores: in 0..100, ``exact_match``; for questions that are answered yes or no ``balanced``,
    the mean of how many of either are right; where the model abstained from any, ``abstained`` and
    ``accuracy_answered``, their share and how many of the others are right. words: what was asked about ->
    (questions, how many of 100 are right), where the file says it.
    """

    n: int
    scores: dict[str, Estimate]
    words: dict[str, tuple[int, float]]


def score_kinds(
    kinds: Sequence[str | None],
    words: Sequence[str | None],
    majorities: Sequence[str],
    right: Sequence[bool],
    abstained: Sequence[bool],
    photos: Sequence[Hashable],
    bootstrap: Bootstrap | None = None,
) -> dict[str, KindScores]:
    """Kind -> its scores, with intervals that resample photos; the kinds in alphabetical order.

    Args:
        kinds: of Q questions; those without one are left out.
        words: what each is about, or None.
        majorities: the right answers.
        right: which were answered rightly.
        abstained: from which the model abstained.
        photos: what tells the questions' photos apart.
    """
    if not len(kinds) == len(words) == len(majorities) == len(right) == len(abstained) == len(photos):
        raise UsageError(f"{len(kinds)} kinds and {len(right)} results; give all of each question")
    rows: dict[str, list[int]] = {}
    for row, kind in enumerate(kinds):
        if kind is not None:
            rows.setdefault(kind, []).append(row)
    return {
        kind: KindScores(
            len(own),
            _scores(
                [majorities[row] for row in own],
                np.array([right[row] for row in own], float),
                np.array([abstained[row] for row in own], bool),
                [photos[row] for row in own],
                Bootstrap() if bootstrap is None else bootstrap,
            ),
            _by_word([words[row] for row in own], [right[row] for row in own]),
        )
        for kind, own in sorted(rows.items())
    }


def _scores(
    majorities: Sequence[str],
    right: NDArray[np.float64],
    abstained: NDArray[np.bool_],
    photos: Sequence[Hashable],
    bootstrap: Bootstrap,
) -> dict[str, Estimate]:
    places: dict[Hashable, int] = {}
    photo = np.array([places.setdefault(one, len(places)) for one in photos])

    def sums(values: NDArray[np.float64] | NDArray[np.bool_]) -> NDArray[np.float64]:
        return np.bincount(photo, weights=values.astype(float)).astype(float)

    said = [normalise_answer(one) for one in majorities]
    sides = [np.array([one in side for one in said]) for side in (_YES, _NO)]
    is_yes_no = bool((sides[0] | sides[1]).all() and sides[0].any() and sides[1].any())
    total = sums(np.ones(len(right)))

    def statistic(weights: Weights) -> dict[str, NDArray[np.float64]]:
        found = {"exact_match": weighted_mean(weights, sums(100 * right), total)}
        if is_yes_no:
            halves = [weighted_mean(weights, sums(100 * right * side), sums(side)) for side in sides]
            found["balanced"] = (halves[0] + halves[1]) / 2
        if abstained.any():
            found["abstained"] = weighted_mean(weights, 100 * sums(abstained), total)
            found["accuracy_answered"] = weighted_mean(
                weights, sums(100 * right * ~abstained), sums(~abstained)
            )
        return found

    return estimates(len(places), statistic, bootstrap)


def _by_word(words: Sequence[str | None], right: Sequence[bool]) -> dict[str, tuple[int, float]]:
    found: dict[str, list[bool]] = {}
    for word, one in zip(words, right, strict=True):
        if word is not None:
            found.setdefault(word, []).append(one)
    return {word: (len(own), 100 * sum(own) / len(own)) for word, own in sorted(found.items())}
