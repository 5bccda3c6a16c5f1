"""Turns and their bounds, by a clock that the runs move."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import chain, repeat

import pytest

from seetell.runtime import timing
from seetell.runtime.timing import best_times_s


class Clock:
    def __init__(self) -> None:
        self.now = 0.0
        self.order: list[str] = []
        self.clock = timing.Clock("made up", lambda: self.now)

    def run(self, name: str, seconds: Iterator[float]) -> Callable[[], None]:
        def work() -> None:
            self.now += next(seconds)
            self.order.append(name)

        return work


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(timing.time, "perf_counter", lambda: found.now)
    return found


def test_the_best_run_counts(clock: Clock) -> None:
    runs = {
        "a": clock.run("a", chain([5.0, 2.0, 3.0], repeat(9.0))),
        "b": clock.run("b", repeat(2.5)),
    }
    assert best_times_s(runs, budget_s=0.5, clock=clock.clock) == pytest.approx({"a": 2.0, "b": 2.5})
    assert Counter(clock.order) == {"a": 3, "b": 3}, "three, however long they take"


def test_they_take_turns_and_each_is_first(clock: Clock) -> None:
    runs = {name: clock.run(name, repeat(1.0)) for name in "abc"}
    best_times_s(runs, budget_s=0.1, clock=clock.clock)
    assert "".join(clock.order) == "abc" + "bca" + "cab"


def test_what_is_far_behind_is_run_no_more(clock: Clock) -> None:
    runs = {
        "a": clock.run("a", repeat(0.01)),
        "b": clock.run("b", repeat(0.014)),
        "c": clock.run("c", repeat(0.02)),
    }
    found = best_times_s(runs, budget_s=1.0, clock=clock.clock)
    assert found == pytest.approx({"a": 0.01, "b": 0.014, "c": 0.02})
    counts = Counter(clock.order)
    assert counts["c"] == 2, "which tell"
    assert counts["a"] == counts["b"] == 20, "no more rounds than these, however short they are"


def test_it_ends_where_one_is_left(clock: Clock) -> None:
    runs = {"a": clock.run("a", repeat(0.01)), "b": clock.run("b", repeat(0.1))}
    best_times_s(runs, budget_s=100.0, clock=clock.clock)
    assert Counter(clock.order) == {"a": 3, "b": 2}


def test_the_budget_ends_it(clock: Clock) -> None:
    runs = {name: clock.run(name, repeat(0.1)) for name in "ab"}
    best_times_s(runs, budget_s=1.0, clock=clock.clock)
    assert 5 <= Counter(clock.order)["a"] <= 7


def test_it_is_measured_by_the_clock_and_bounded_by_the_time(clock: Clock) -> None:
    used_s = 0.0

    def work() -> None:
        nonlocal used_s
        clock.now += 0.1
        used_s += 0.001

    processor = timing.Clock("processor time", lambda: used_s)
    found = best_times_s({"a": work, "b": work}, budget_s=0.95, clock=processor)
    assert found == pytest.approx({"a": 0.001, "b": 0.001})
    assert used_s == pytest.approx(0.010), "ten times a tenth of a second"


def test_real_clocks_count() -> None:
    found = best_times_s({"a": lambda: sum(range(20_000))}, budget_s=0.0, clock=timing.PROCESSOR)
    assert 0 < found["a"] < 60
