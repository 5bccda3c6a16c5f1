"""Fitting how sure a model is of its answers: the temperature, the threshold, and what is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks.calibrate_answers import Asked, fit_kind, fit_temperature, keep_fitted, pick_threshold

from seetell.bundle.manifest import MANIFEST_NAME, AnswerKind, manifest_json, read_manifest
from seetell.core.results import Alternative, Answer
from tests.runtime.toy import ToyEngine, make_manifest


def answered(*chances: float) -> Answer:
    several = tuple(Alternative(str(place), chance) for place, chance in enumerate(chances))
    return Answer("0", chances[0], several, False, "m", "fp32")


def overconfident(n: int, temperature: float, seed: int = 0) -> Asked:
    """Of two answers the first is right as often as its odds at ``temperature`` say, and shown at 1."""
    draw = np.random.default_rng(seed)
    asked = Asked()
    for number in range(n):
        logit = abs(draw.normal()) * 3
        shown = 1 / (1 + np.exp(-logit))
        true = 1 / (1 + np.exp(-logit / temperature))
        asked.add(answered(shown, 1 - shown), bool(draw.random() < true), number % 2 == 0)
    return asked


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_made_it_is_found(temperature: float) -> None:
    asked = overconfident(4000, temperature)
    found = fit_temperature(asked, np.ones(4000, bool))
    assert found == pytest.approx(temperature, rel=0.15)
    assert asked.confidences(found).mean() == pytest.approx(np.mean(asked.right), abs=0.02)


def test_confidence_at_a_temperature_is_what_the_model_will_show() -> None:
    asked = Asked()
    asked.add(answered(0.8, 0.2), True, True)
    assert asked.confidences(2.0)[0] == pytest.approx(2 / 3)
    # Written answers: each has the probability of exactly its text.
    asked.add(answered(0.25, 0.04), True, True)
    assert asked.confidences(2.0)[1] == pytest.approx(0.5)


def test_the_threshold_makes_most_of_right_less_wrong() -> None:
    confidences = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
    right = np.array([True, True, False, True, False, False])
    # Gains from the top: 1 2 1 2 1 0. Of the two best the one that answers more.
    assert pick_threshold(confidences, right, 1.0, 0.0) == pytest.approx(0.55)
    # A wrong one counted twice: 1 2 0 1 -1 -3.
    assert pick_threshold(confidences, right, 2.0, 0.0) == pytest.approx(0.75)
    # Half of all must be answered.
    assert pick_threshold(confidences, right, 2.0, 0.5) == pytest.approx(0.55)
    assert pick_threshold(confidences, np.ones(6, bool), 1.0, 0.0) == 0


def test_equal_confidences_are_answered_together() -> None:
    confidences, right = np.array([0.9, 0.5, 0.5, 0.5]), np.array([True, True, False, False])
    assert pick_threshold(confidences, right, 1.0, 0.0) == pytest.approx(0.7)


def test_fitted_on_even_photos_and_measured_on_the_others() -> None:
    asked = overconfident(2000, 3.0)
    found = fit_kind("yes_no", asked)
    assert found is not None
    kind, report = found
    assert kind.temperature == pytest.approx(3, rel=0.25)
    # A coin's toss is no gain: what is less than twice as probably right as wrong is not answered.
    assert kind.abstain_below == pytest.approx(2 / 3, abs=0.08)
    assert (report["fitted_on"], report["n"]) == (1000, 1000)
    assert report["ece"] < report["ece_before"]
    assert report["right_of_answered"] > report["right"] > report["right_of_abstained"]
    others = [place for place, even in enumerate(asked.even) if not even]
    assert report["right"] == pytest.approx(100 * np.mean([asked.right[place] for place in others]), abs=0.06)


def test_too_few_questions_are_no_fit() -> None:
    assert fit_kind("count", overconfident(40, 1.0)) is None


def test_what_is_kept(tmp_path: Path) -> None:
    engine = ToyEngine()
    score: dict[str, Any] = {"abstain_below": 0.3, "answer_kinds": {"where": {"temperature": 5.0}}}
    manifest = make_manifest(engine, format=1, score=score)
    (tmp_path / MANIFEST_NAME).write_text(manifest_json(manifest), encoding="utf-8")
    fitted = {"yes_no": AnswerKind(temperature=2.0, abstain_below=0.6)}
    keep_fitted(tmp_path, fitted)
    again = read_manifest(tmp_path)
    assert again.score.answer_kinds == fitted
    assert (again.format, again.score.abstain_below) == (2, 0.3)
