"""What may fall by how much."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seetell.core.errors import UsageError
from seetell.evaluation.bootstrap import Bootstrap, Estimate, estimates
from seetell.learning.compression.gate import (
    Compared,
    Counted,
    Tolerance,
    Verdict,
    compare,
    failure,
    parse_tolerance,
)
from seetell.learning.compression.levels import Level
from seetell.learning.compression.quantising import raised


def exact(value: float) -> Estimate:
    return Estimate(value, value, value)


@pytest.mark.parametrize(
    ("text", "allowed"), [("1%", 0.4), ("0.5", 0.5), ("0", 0.0), (" 2.5 % ", 1.0), ("0%", 0.0)]
)
def test_tolerances(text: str, allowed: float) -> None:
    assert parse_tolerance(text).allowed(40.0) == pytest.approx(allowed)


@pytest.mark.parametrize("text", ["", "%", "-1%", "1 percent", "100%", "nan", "1e2"])
def test_what_is_no_tolerance(text: str) -> None:
    with pytest.raises(UsageError, match="--max-drop"):
        parse_tolerance(text)


def test_both_directions_must_hold() -> None:
    before = {"image_to_text.r10": exact(50), "text_to_image.r10": exact(40)}
    rows = compare(
        before, {"image_to_text.r10": exact(51), "text_to_image.r10": exact(30)}, Tolerance(1, True)
    )
    assert [row.passed for row in rows] == [False, True]
    assert rows[0].metric == "text_to_image.r10" and rows[0].drop == 10
    message = failure("tiny", rows, "text.blocks.0 costs most")
    assert "text_to_image.r10 fell from 40.00 to 30.00, 10.00 points where 0.40 are allowed" in message
    assert "text.blocks.0 costs most" in message and "\n" not in message


def test_what_is_no_number_does_not_pass() -> None:
    rows = compare(
        {"a": exact(50), "b": exact(50)}, {"a": exact(float("nan")), "b": exact(50)}, Tolerance(9, True)
    )
    assert rows[0].metric == "a" and not rows[0].passed


@given(st.floats(0, 100), st.floats(0, 100), st.floats(0, 20))
def test_the_gate_opens_exactly_at_the_tolerance(before: float, after: float, points: float) -> None:
    (row,) = compare({"m": exact(before)}, {"m": exact(after)}, Tolerance(points, False))
    if abs(before - after - points) > 1e-6:
        assert row.passed == (before - after < points)


def spread(value: float, around: float, n_photos: int | None = 60) -> Counted:
    """A figure whose drop beside ``flat`` lies within ``around`` of the difference, 95% of the draws."""
    drawn = value + np.linspace(-around / 0.95, around / 0.95, 1001)
    return Counted(value, value - around, value + around, drawn, n_photos)


def flat(value: float, n_photos: int | None = 60) -> Counted:
    return Counted(value, value, value, np.full(1001, value), n_photos)


def test_a_loss_that_chance_may_have_made_is_no_reason_to_refuse() -> None:
    """Of 60 photos: 0.52 points of BLEU-4 lost, -2.1 to 2.3, where 1% of 13 are allowed."""
    (row,) = compare(
        {"captions.bleu_4": flat(13.0)}, {"captions.bleu_4": spread(12.48, 2.2)}, Tolerance(1, True)
    )
    assert row.drop_interval == pytest.approx((-1.68, 2.72), abs=0.01)
    assert (row.verdict, row.passed) == ("undecided", True)
    assert row.photos_needed == 18_000  # 60 * (2.2 / 0.13) ** 2 = 17,183
    assert row.undecided() == (
        "captions.bleu_4: too few photos to tell: 0.52 points lost, -1.68 to 2.72 on 60 photos, where 0.13 "
        "are allowed; roughly 18,000 photos would tell"
    )


@pytest.mark.parametrize(
    ("lost", "around", "verdict"),
    [
        (0.5, 0.4, "within"),  # 0.1 to 0.9
        (-3.0, 0.1, "within"),
        (0.5, 0.6, "undecided"),  # -0.1 to 1.1
        (3.0, 2.5, "undecided"),  # 0.5 to 5.5
        (3.0, 1.5, "worse"),  # 1.5 to 4.5
        (1.2, 0.1, "worse"),
    ],
)
def test_the_interval_decides(lost: float, around: float, verdict: Verdict) -> None:
    (row,) = compare({"m": flat(50.0)}, {"m": spread(50.0 - lost, around)}, Tolerance(1, False))
    assert (row.verdict, row.passed) == (verdict, verdict != "worse")
    assert (row.photos_needed is None) == (verdict != "undecided")


def test_the_photos_are_the_same_before_and_after() -> None:
    """Each model alone is uncertain by many points; what was lost is certain."""
    right = np.random.default_rng(0).random(400) < 0.5
    worse = right & (np.arange(400) % 10 > 0)

    def scored(values: np.ndarray) -> Estimate:
        return estimates(400, lambda weights: {"m": 100 * weights @ values / 400}, Bootstrap())["m"]

    before, after = scored(right), scored(worse)
    assert before.low < after.high
    (row,) = compare({"m": before}, {"m": after}, Tolerance(1, False))
    assert row.verdict == "worse"
    (same,) = compare({"m": before}, {"m": before}, Tolerance(0, False))
    assert same.verdict == "within"


def test_photos_that_nobody_counted_and_a_loss_of_nothing_have_no_number() -> None:
    unknown = Compared("m", flat(50, None), spread(49.9, 2, None), 1.0)
    assert unknown.verdict == "undecided" and unknown.photos_needed is None
    assert unknown.undecided().endswith("-1.90 to 2.10, where 1.00 are allowed")
    assert Compared("m", flat(50), spread(49.9, 2), 0.0).photos_needed is None
    # One that is narrow enough and lies across the limit all the same.
    assert Compared("m", flat(50), spread(49.0, 0.5), 1.0).photos_needed == 120


def test_what_is_refused_comes_first() -> None:
    before = {"wide": flat(50), "shown": flat(50)}
    rows = compare(before, {"wide": spread(45, 9), "shown": spread(48, 0.5)}, Tolerance(1, False))
    assert [(row.metric, row.verdict) for row in rows] == [("shown", "worse"), ("wide", "undecided")]
    assert "2.00 points (1.50 to 2.50) where 1.00 are allowed" in failure("tiny", rows, "it")


@given(st.integers(1, 70), st.integers(0, 70))
def test_layers_are_raised_worst_first_and_to_the_end(n_int8: int, n_weights: int) -> None:
    start: dict[str, Level] = {f"a{place:02}": "int8" for place in range(n_int8)}
    start |= {f"w{place:02}": "weights" for place in range(n_weights)}
    order = sorted(start, reverse=True)
    rank: dict[Level, int] = {"int8": 0, "weights": 1, "float": 2}
    last = start
    for levels in raised(start, order):
        assert all(rank[levels[name]] >= rank[last[name]] for name in start)
        assert levels != last
        # No layer is raised while a more sensitive one still waits at a lower level.
        for phase in ("weights", "float"):
            moved = [order.index(name) for name in order if levels[name] == phase != last[name]]
            kept = [order.index(name) for name in order if rank[levels[name]] < rank[phase]]
            assert not moved or not kept or max(moved) < min(kept)
        last = levels
    assert set(last.values()) == {"float"}
