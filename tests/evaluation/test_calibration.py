"""Calibration and coverage against their definitions, written out with loops."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seetell.core.errors import UsageError
from seetell.evaluation.bootstrap import Bootstrap
from seetell.evaluation.calibration import BINS, LEVELS, pick_threshold, score_calibration

FEW = Bootstrap(samples=5)

# Few distinct confidences, so that ties and the edges of bins are met often.
confidence = st.one_of(st.sampled_from([0.0, 0.2, 1 / 3, 0.6, 1.0]), st.floats(0, 1))
predictions = st.lists(
    st.tuples(st.none() | confidence, st.sampled_from([0.0, 0.3, 1.0]), st.integers(0, 4)),
    min_size=1,
    max_size=40,
).filter(lambda rows: any(one is not None for one, _, _ in rows))


def ece_by_definition(rows: list[tuple[float | None, float, int]]) -> float:
    stated = [(one, right) for one, right, _ in rows if one is not None]
    total = 0.0
    for number in range(BINS):
        inside = [
            (one, right)
            for one, right in stated
            if (number / BINS < one <= (number + 1) / BINS) or (number == 0 and one == 0)
        ]
        if inside:
            gap = sum(one for one, _ in inside) / len(inside) - sum(right for _, right in inside) / len(
                inside
            )
            total += len(inside) / len(stated) * abs(gap)
    return 100 * total


@given(predictions)
def test_ece_is_that_of_the_definition(rows: list[tuple[float | None, float, int]]) -> None:
    # A confidence at the very edge of a bin may be put on either side by the last digit of the edge.
    edges = {
        one
        for one, _, _ in rows
        if one is not None and one > 0 and abs(one * BINS - round(one * BINS)) < 1e-9
    }
    rows = [row for row in rows if row[0] not in edges or row[0] == 1.0]
    if not any(one is not None for one, _, _ in rows):
        return
    found = score_calibration(*zip(*rows, strict=True), of="x", bootstrap=FEW)
    assert found.scores["ece"].value == pytest.approx(ece_by_definition(rows), abs=1e-9)
    assert sum(one.n for one in found.bins) == sum(one is not None for one, _, _ in rows)
    weighted = sum(one.n * abs(one.confidence - one.accuracy) for one in found.bins)
    assert weighted / sum(one.n for one in found.bins) == pytest.approx(found.scores["ece"].value, abs=1e-9)
    for one in found.scores.values():
        assert 0 <= one.low <= one.high <= 100


@given(predictions)
def test_the_curve_counts_what_is_answered(rows: list[tuple[float | None, float, int]]) -> None:
    found = score_calibration(*zip(*rows, strict=True), of="x", bootstrap=FEW)
    assert 1 <= len(found.curve) <= len(LEVELS)
    coverages = [point.coverage for point in found.curve]
    assert coverages == sorted(coverages, reverse=True), "from everything to the most confident"
    for point in found.curve:
        kept = [right for one, right, _ in rows if one is not None and one >= point.threshold]
        assert point.coverage == pytest.approx(100 * len(kept) / len(rows))
        assert point.accuracy.value == pytest.approx(100 * sum(kept) / len(kept))


@given(predictions, st.floats(0, 100), st.integers(1, 5))
def test_no_other_threshold_answers_more_and_is_right_as_often(
    rows: list[tuple[float | None, float, int]], wanted: float, least: int
) -> None:
    confidences, right, _ = zip(*rows, strict=True)

    def answered(threshold: float) -> list[float]:
        return [
            hit for one, hit in zip(confidences, right, strict=True) if one is not None and one >= threshold
        ]

    good = [
        len(answered(threshold))
        for threshold in {one for one in confidences if one is not None}
        if 100 * sum(answered(threshold)) / len(answered(threshold)) >= wanted - 1e-9
    ]
    best = max(good, default=0)
    threshold = pick_threshold(confidences, right, wanted, least)
    if best < least:
        assert threshold is None
    else:
        assert threshold is not None and 0 <= threshold <= 1
        assert len(answered(threshold)) == best


def test_a_threshold_lies_between_two_confidences() -> None:
    confidences = [0.9, 0.8, 0.8, 0.2, 0.1]
    right = [1.0, 1.0, 1.0, 0.0, 0.0]
    assert pick_threshold(confidences, right, 100, least=1) == pytest.approx(0.5)
    assert pick_threshold(confidences, right, 60, least=1) == 0.0
    assert pick_threshold(confidences, right, 100, least=4) is None
    assert pick_threshold(confidences, right, 100) is None, "five answers say nothing about accuracy"


def test_wishing_for_an_accuracy() -> None:
    confidences = [0.9] * 50 + [0.3] * 50
    right = [1.0] * 45 + [0.0] * 55
    found = score_calibration(confidences, right, range(100), of="top_1", target=80)
    assert found.chosen is not None and found.target == 80
    assert (found.chosen.threshold, found.chosen.coverage) == (pytest.approx(0.6), 50)
    assert found.chosen.accuracy.low < found.chosen.accuracy.value == 90 < found.chosen.accuracy.high
    unreachable = score_calibration(confidences, right, range(100), of="top_1", target=95)
    assert unreachable.chosen is None and unreachable.target == 95


def test_confidence_that_is_true_has_no_error_and_one_that_boasts_has() -> None:
    random.seed(0)
    confidences = [random.random() for _ in range(20_000)]
    right = [float(random.random() < one) for one in confidences]
    honest = score_calibration(confidences, right, range(20_000), of="x").scores["ece"]
    assert honest.value < 2 and honest.low <= honest.value <= honest.high
    boasting = score_calibration([math.sqrt(one) for one in confidences], right, range(20_000), of="x")
    # E[sqrt(p) - p] = 2/3 - 1/2
    assert boasting.scores["ece"].value == pytest.approx(100 / 6, abs=1)
    assert boasting.scores["mean_confidence"].value == pytest.approx(200 / 3, abs=1)


def test_the_interval_of_ece_holds_the_true_one_about_as_often_as_it_says() -> None:
    # Confidence 0.8 for all, right 60 of 100 times: the true error is 20.
    inside = 0
    for seed in range(100):
        right = np.random.default_rng(seed).random(200) < 0.6
        found = score_calibration([0.8] * 200, right.astype(float).tolist(), range(200), of="x")
        inside += found.scores["ece"].low <= 20 <= found.scores["ece"].high
    assert 88 <= inside <= 100


def test_what_the_model_abstained_from() -> None:
    found = score_calibration(
        [0.9, 0.8, 0.1, None], [1, 0, 1, 0], "abca", of="x", abstained=[False, False, True, False]
    )
    assert found.scores["coverage"].value == 50, "a failed input is no answer"
    assert found.scores["accuracy_answered"].value == 50
    plain = score_calibration([0.9, 0.1], [1, 0], "ab", of="x", abstained=[False, False])
    assert "coverage" not in plain.scores


def test_intervals_resample_photos() -> None:
    """A hundred questions about two photos say no more about other photos than two questions do."""
    confidences = [0.7] * 100
    right = [1.0] * 50 + [0.0] * 50
    few = score_calibration(confidences, right, [0] * 50 + [1] * 50, of="x").curve[0].accuracy
    many = score_calibration(confidences, right, range(100), of="x").curve[0].accuracy
    assert (few.low, few.high) == (0, 100)
    assert many.low > 35 and many.high < 65


@pytest.mark.parametrize(
    ("confidences", "right", "photos"),
    [
        ([], [], []),
        ([None], [0], [0]),
        ([0.5], [1, 1], [0]),
        ([0.5], [1], []),
        ([1.5], [1], [0]),
        ([-0.1], [1], [0]),
        ([math.nan], [1], [0]),
    ],
)
def test_what_is_no_confidence_is_refused(
    confidences: list[float], right: list[float], photos: list[int]
) -> None:
    with pytest.raises(UsageError):
        score_calibration(confidences, right, photos, of="x")


@pytest.mark.parametrize("wanted", [-1, 101, math.nan])
def test_what_is_no_accuracy_is_refused(wanted: float) -> None:
    with pytest.raises(UsageError, match="between 0 and 100"):
        pick_threshold([0.5], [1], wanted)
