"""Which of several pieces of work takes the least time, on a machine that does other things as well."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TypeVar

Key = TypeVar("Key")

# After one in which libraries set themselves up.
_LEAST_ROUNDS, _MOST_ROUNDS = 3, 20
# What takes so many times the least is not run again: no busy moment explains it.
_HOPELESS = 1.5


def best_times_s(runs: Mapping[Key, Callable[[], object]], *, budget_s: float) -> dict[Key, float]:
    """key -> seconds of its best run.

    They take turns, so that a busy moment meets all of them, and other programs can only slow a run down, so
    the best counts. ``budget_s`` is for all together; a few rounds are made however long they take, and none
    when all but one have fallen far behind.
    """
    for run in runs.values():
        run()
    best: dict[Key, float] = {}
    order = list(runs)
    began = time.perf_counter()
    for done in range(_MOST_ROUNDS):
        if done >= _LEAST_ROUNDS and (len(order) == 1 or time.perf_counter() - began > budget_s):
            break
        for key in order:
            before = time.perf_counter()
            runs[key]()
            took_s = max(time.perf_counter() - before, 1e-9)
            best[key] = min(best.get(key, took_s), took_s)
        if done:
            least = min(best.values())
            order = [key for key in order if best[key] <= _HOPELESS * least]
        # Each is first as often as the others.
        order = [*order[1:], *order[:1]]
    return best
