"""What share of the arithmetic goes for a share of the time, by clocks that a test makes up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seetell.core.errors import UsageError
from seetell.learning.compression.footprint import Footprint
from seetell.learning.compression.pruning.timing import TRIES, search, usual_ms


@given(
    wanted=st.floats(0.4, 0.95),
    fixed=st.floats(0.0, 0.3),
    bend=st.floats(0.5, 2.0),
)
def test_it_is_fast_enough_and_no_smaller_than_it_need_be(wanted: float, fixed: float, bend: float) -> None:
    """On any clock that falls steadily: whatever part is fixed, and however it bends."""

    def clock(left_out: float) -> float:
        return fixed + (1 - fixed) * float((1 - left_out) ** bend)

    best, tried = search(wanted, clock)
    assert best in tried and len(tried) <= TRIES
    assert best.time == clock(best.left_out) <= wanted
    assert best.time > wanted - 0.1
    assert best.left_out == min(one.left_out for one in tried if one.time <= wanted)


@given(
    wanted=st.floats(0.05, 0.95),
    times=st.lists(st.one_of(st.none(), st.floats(0.01, 1.5)), min_size=TRIES, max_size=TRIES),
)
def test_a_clock_that_says_anything(wanted: float, times: list[float | None]) -> None:
    """It ends, tries nothing twice and nothing outside 0..1, and gives what was fast enough or refuses."""
    asked: list[float] = []
    left = iter(times)

    def clock(left_out: float) -> float | None:
        asked.append(left_out)
        return next(left)

    if all(time is None or time > wanted for time in times):
        with pytest.raises(UsageError, match="give a smaller share"):
            search(wanted, clock)
    else:
        best, tried = search(wanted, clock)
        assert best.time <= wanted and best in tried
    assert len(set(asked)) == len(asked) and all(0 < one < 1 for one in asked)


def test_what_cannot_be_cut_is_not_asked_for_again() -> None:
    asked: list[float] = []

    def clock(left_out: float) -> float | None:
        asked.append(left_out)
        return None if left_out > 0.55 else 1 - 0.8 * left_out

    best, _ = search(0.6, clock)
    assert best.time <= 0.6 and max(asked) < 0.55 + 0.2
    with pytest.raises(UsageError, match=r"--prune 0\.5: so much of the time cannot go"):
        search(0.5, clock)


def test_time_is_counted_as_arithmetic_is() -> None:
    """Fifteen steps of a caption and one run of everything else."""
    assert usual_ms(Footprint({"image_encoder": 5.0, "text_decoder": 0.5}, 80.0)) == 12.5
