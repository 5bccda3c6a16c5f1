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
        self.used = 0.0

    def run(self, name: str, seconds: Iterator[float]) -> Callable[[], None]:
        def work() -> None:
            self.now += next(seconds)
            self.order.append(name)

        return work


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(timing.time, "perf_counter", lambda: found.now)
    monkeypatch.setattr(timing.time, "process_time", lambda: found.used)
    return found


def test_the_best_run_counts(clock: Clock) -> None:
    runs = {
        "a": clock.run("a", chain([5.0, 2.0, 3.0], repeat(9.0))),
        "b": clock.run("b", repeat(2.5)),
    }
    assert best_times_s(runs, budget_s=0.5, by_processor=False) == pytest.approx({"a": 2.0, "b": 2.5})
    assert Counter(clock.order) == {"a": 3, "b": 3}, "three, however long they take"


def test_they_take_turns_and_each_is_first(clock: Clock) -> None:
    runs = {name: clock.run(name, repeat(1.0)) for name in "abc"}
    best_times_s(runs, budget_s=0.1, by_processor=False)
    assert "".join(clock.order) == "abc" + "bca" + "cab"


def test_what_is_far_behind_is_run_no_more(clock: Clock) -> None:
    runs = {
        "a": clock.run("a", repeat(0.01)),
        "b": clock.run("b", repeat(0.012)),
        "c": clock.run("c", repeat(0.021)),
    }
    found = best_times_s(runs, budget_s=100.0, by_processor=False)
    assert found == pytest.approx({"a": 0.01, "b": 0.012, "c": 0.021})
    counts = Counter(clock.order)
    assert counts["c"] == 5, "a tenth of a second tells"
    assert counts["a"] == counts["b"] == 100, "no more rounds than these, however short they are"


def test_it_ends_where_one_is_left(clock: Clock) -> None:
    runs = {"a": clock.run("a", repeat(0.01)), "b": clock.run("b", repeat(0.1))}
    best_times_s(runs, budget_s=100.0, by_processor=False)
    assert Counter(clock.order) == {"a": 3, "b": 2}


def test_the_budget_ends_it(clock: Clock) -> None:
    runs = {name: clock.run(name, repeat(0.1)) for name in "ab"}
    best_times_s(runs, budget_s=1.0, by_processor=False)
    assert 9 <= Counter(clock.order)["a"] <= 11, "for each"


def test_processor_time_compares_and_the_wall_gives_the_scale(clock: Clock) -> None:
    def work(name: str, used: float, waiting: Iterator[float]) -> Callable[[], None]:
        def one() -> None:
            clock.used += used
            clock.now += next(waiting)
            clock.order.append(name)

        return one

    # Other programs are in the way of both, and most when "a" runs: two threads each, that wait for a time.
    runs = {
        "a": work("a", 0.4, chain([9.0, 0.9], repeat(5.0))),
        "b": work("b", 0.5, chain([3.0, 2.0], repeat(0.3))),
    }
    found = best_times_s(runs, budget_s=0.1, by_processor=True)
    assert found == pytest.approx({"a": 0.24, "b": 0.3}), "b is 5/4 of a, and took 3/5 of what it used"
    assert Counter(clock.order) == {"a": 3, "b": 3}


def test_real_time_passes() -> None:
    for by_processor in (False, True):
        found = best_times_s({"a": lambda: sum(range(20_000))}, budget_s=0.0, by_processor=by_processor)
        assert 0 < found["a"] < 60
