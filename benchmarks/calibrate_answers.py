"""Fit a bundle's `calibration` on held-out questions: answer_temperature and abstain_below.

    python benchmarks/calibrate_answers.py QUESTIONS.json ANNOTATIONS.json IMAGES [--model BUNDLE]

The temperature divides the answers' logits and minimises their negative log-likelihood (Guo et al. 2017,
section 4.2); the threshold is the lowest at which `--accuracy` of 100 given answers are right. Both are
fitted on one half of the photos and judged on the other, which is printed too; the halves are every second
photo by number. A temperature the bundle has already is undone first, so that fitting twice gives the same.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import seetell
from seetell.core.results import Answer
from seetell.data.records import QuestionRecord
from seetell.data.vqa import read_vqa
from seetell.evaluation.calibration import pick_threshold, score_calibration
from seetell.evaluation.vqa import exact_match

TEMPERATURES = np.exp(np.linspace(np.log(0.25), np.log(8.0), 401))


class Half:
    """The answers' log-probabilities for one half of the photos, before any temperature.

    logits: float64[Q, A], most likely first; right: bool[Q, A].
    """

    def __init__(self, records: list[QuestionRecord], answers: list[Answer], temperature: float) -> None:
        self.photos = [record.photo_id for record in records]
        self.logits = np.array(
            [
                [np.log(max(one.confidence, 1e-30)) * temperature for one in answer.alternatives]
                for answer in answers
            ]
        )
        self.right = np.array(
            [
                [exact_match(one.answer, record.answers, record.majority) for one in answer.alternatives]
                for record, answer in zip(records, answers, strict=True)
            ]
        )

    def probabilities(self, temperature: float) -> NDArray[np.float64]:
        """float64[Q, A]."""
        scaled = np.exp((self.logits - self.logits.max(axis=1, keepdims=True)) / temperature)
        found: NDArray[np.float64] = scaled / scaled.sum(axis=1, keepdims=True)
        return found

    def loss(self, temperature: float) -> float:
        """Mean negative log-likelihood of the right answer, where the list has it."""
        listed = self.right.any(axis=1)
        chance = (self.probabilities(temperature) * self.right).sum(axis=1)[listed]
        return float(-np.log(np.maximum(chance, 1e-30)).mean())


def main() -> None:
    """Print what was fitted and how it does on the other half, as one JSON object."""
    parser = argparse.ArgumentParser(description="Fit a bundle's calibration on held-out questions.")
    parser.add_argument("questions", type=Path)
    parser.add_argument("annotations", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--model", default=None)
    parser.add_argument("--accuracy", type=float, default=50.0)
    given = parser.parse_args()
    records = read_vqa(given.questions, given.annotations, given.images)
    with seetell.load(given.model) as model:
        count, temperature = len(model.manifest.answers), model.manifest.score.answer_temperature
        pairs = [(record.photo, record.question) for record in records]
        answers = list(partial(model.stream, "ask", top=count)(pairs))
    numbers = {photo: place for place, photo in enumerate(sorted({record.photo_id for record in records}))}
    halves = []
    for remainder in (0, 1):
        own = [place for place, record in enumerate(records) if numbers[record.photo_id] % 2 == remainder]
        halves.append(Half([records[one] for one in own], [answers[one] for one in own], temperature))
    fitted = float(min(TEMPERATURES, key=halves[0].loss))
    threshold = pick_threshold(*_answered(halves[0], fitted), given.accuracy)
    confidences, right = _answered(halves[1], fitted)
    judged = score_calibration(
        confidences,
        right,
        halves[1].photos,
        of="exact_match",
        abstained=None if threshold is None else [one < threshold for one in confidences],
    )
    before = score_calibration(*_answered(halves[1], 1.0), halves[1].photos, of="exact_match")
    report = {
        "answer_temperature": round(fitted, 3),
        "abstain_below": None if threshold is None else round(threshold, 3),
        "other_half": {name: round(score.value, 1) for name, score in judged.scores.items()},
        "other_half_uncalibrated_ece": round(before.scores["ece"].value, 1),
        "other_half_exact_match": round(100 * float(np.mean(right)), 1),
        "questions": len(records),
    }
    print(json.dumps(report))


def _answered(half: Half, temperature: float) -> tuple[list[float], list[float]]:
    """The confidence of each answer given, and whether it is right."""
    return half.probabilities(temperature)[:, 0].tolist(), half.right[:, 0].astype(float).tolist()


if __name__ == "__main__":
    main()
