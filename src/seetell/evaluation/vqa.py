"""Visual question answering: the VQA accuracy of Antol et al. (2015), and exact match."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from seetell.core.errors import UsageError
from seetell.evaluation.answer_normalisation import normalise_answer
from seetell.evaluation.bootstrap import Bootstrap, Estimate, Weights, estimates, weighted_mean

ENOUGH_ANSWERS = 4
"""Answers a question needs for its VQA accuracy to reach 100: one is left out, three must agree."""


def vqa_accuracy(answer: str, human_answers: Sequence[str]) -> float:
    """VQA accuracy of one answer, in 0..1, as the current official code computes it.

    An answer that three people gave is right: min(matches / 3, 1), averaged over leaving out each person in
    turn. With the usual ten answers that reaches 1 from four matches on; a question with n answers reaches
    (n - 1) / 3 at most, and one with a single answer always gets 0: use :func:`exact_match` there.

    Where people disagree, all answers are normalised; where all said the very same, the answer must equal it
    to the letter (the official rule, meant for text read off the photo).

    An empty ``answer`` stands for none and gets 0.

    Raises UsageError when there is no human answer.
    """
    given = [_one_line(text) for text in human_answers]
    if not given:
        raise UsageError("a question without any human answer cannot be scored")
    said = _one_line(answer)
    if not said:
        return 0.0
    if len(set(given)) > 1:
        given = [normalise_answer(text) for text in given]
        said = normalise_answer(said)
    matches = given.count(said)
    # Leaving out a person who agrees leaves one match fewer; there are ``matches`` such people.
    left_out = matches * min(1.0, (matches - 1) / 3) + (len(given) - matches) * min(1.0, matches / 3)
    return left_out / len(given)


def exact_match(answer: str, human_answers: Sequence[str], majority: str | None = None) -> bool:
    """Whether the answer, normalised, is the majority's, normalised.

    ``majority`` is the file's own (``multiple_choice_answer``), else the most frequent of ``human_answers``,
    the first of equals. An empty ``answer`` stands for none and is wrong.

    Raises UsageError when there is neither.
    """
    if majority is not None:
        right = _comparable(majority)
    elif human_answers:
        right = Counter(map(_comparable, human_answers)).most_common(1)[0][0]
    else:
        raise UsageError("a question without any human answer cannot be scored")
    return bool(answer.strip()) and _comparable(answer) == right


def score_answers(
    answers: Sequence[str],
    human_answers: Sequence[Sequence[str]],
    majorities: Sequence[str | None],
    photos: Sequence[Hashable],
    bootstrap: Bootstrap | None = None,
) -> dict[str, Estimate]:
    """``accuracy`` and ``exact_match`` of Q questions, in 0..100, with intervals that resample photos.

    Where no question has more than one person's answer there is no ``accuracy``: leaving one person out
    leaves nobody to agree with, so the official formula says 0 whatever the model answers.

    Args:
        answers: one per question, empty where there is none.
        human_answers: of each question, at least one.
        majorities: of each question, or None.
        photos: what tells the questions' photos apart.
    """
    if not answers or not len(answers) == len(human_answers) == len(majorities) == len(photos):
        raise UsageError("give the answer, the people's answers, the majority and the photo of each question")
    places: dict[Hashable, int] = {}
    photo = np.array([places.setdefault(one, len(places)) for one in photos])
    right = {
        "accuracy": [vqa_accuracy(*pair) for pair in zip(answers, human_answers, strict=True)],
        "exact_match": [
            float(exact_match(*triple)) for triple in zip(answers, human_answers, majorities, strict=True)
        ],
    }
    if max(map(len, human_answers)) < 2:
        del right["accuracy"]
    counts = np.bincount(photo).astype(np.float64)
    sums = {name: 100 * _sums(photo, values) for name, values in right.items()}

    def statistic(weights: Weights) -> dict[str, NDArray[np.float64]]:
        return {name: weighted_mean(weights, values, counts) for name, values in sums.items()}

    return estimates(len(places), statistic, Bootstrap() if bootstrap is None else bootstrap)


def _sums(photo: NDArray[np.intp], values: Sequence[float]) -> NDArray[np.float64]:
    return np.bincount(photo, weights=np.array(values)).astype(np.float64)


def _comparable(answer: str) -> str:
    # An answer that is an article and nothing else (the letter A on a sign) would be compared as nothing.
    return normalise_answer(answer) or answer.strip().lower()


def _one_line(text: str) -> str:
    return text.replace("\n", " ").replace("\t", " ").strip()
