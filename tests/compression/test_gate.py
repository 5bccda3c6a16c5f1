"""What may fall by how much."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seetell.core.errors import UsageError
from seetell.evaluation.bootstrap import Estimate
from seetell.learning.compression.gate import Tolerance, compare, failure, parse_tolerance
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
