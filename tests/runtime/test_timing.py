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


def test_the_best_run_counts_and_the_first_does_not(clock: Clock) -> None:
    runs = {
        "a": clock.run("a", chain([0.1], [5.0, 2.0, 3.0], repeat(9.0))),
        "b": clock.run("b", chain([9.0], repeat(2.5))),
    }
    assert best_times_s(runs, budget_s=0.5) == pytest.approx({"a": 2.0, "b": 2.5})
    assert Counter(clock.order) == {"a": 4, "b": 4}, "one to set up, and three however long they take"


def test_they_take_turns_and_each_is_first(clock: Clock) -> None:
    runs = {name: clock.run(name, repeat(1.0)) for name in "abc"}
    best_times_s(runs, budget_s=0.1)
    assert "".join(clock.order) == "abc" + "abc" + "bca" + "cab"


def test_what_is_far_behind_is_run_no_more(clock: Clock) -> None:
    runs = {
        "a": clock.run("a", repeat(0.01)),
        "b": clock.run("b", repeat(0.014)),
        "c": clock.run("c", repeat(0.02)),
    }
    found = best_times_s(runs, budget_s=1.0)
    assert found == pytest.approx({"a": 0.01, "b": 0.014, "c": 0.02})
    counts = Counter(clock.order)
    assert counts["c"] == 3, "one to set up, two that tell"
    assert counts["a"] == counts["b"] == 21, "no more rounds than these however short they are"


def test_it_ends_where_one_is_left(clock: Clock) -> None:
    runs = {"a": clock.run("a", repeat(0.01)), "b": clock.run("b", repeat(0.1))}
    best_times_s(runs, budget_s=100.0)
    assert Counter(clock.order) == {"a": 4, "b": 3}


def test_the_budget_ends_it(clock: Clock) -> None:
    runs = {name: clock.run(name, repeat(0.1)) for name in "ab"}
    best_times_s(runs, budget_s=1.0)
    assert 5 <= Counter(clock.order)["a"] <= 8
