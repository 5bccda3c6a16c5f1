"""Which of several pieces of work takes the least time, on a machine that does other things as well."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

Key = TypeVar("Key")

_LEAST_ROUNDS, _MOST_ROUNDS = 3, 20
# What takes so many times the least is not run again: no busy moment explains it.
_HOPELESS = 1.5


@dataclass(frozen=True, slots=True)
class Clock:
    """name: of what it counts. now: seconds since some moment."""

    name: str
    now: Callable[[], float]


WALL = Clock("time", time.perf_counter)
# What the threads of this process used, of which other programs take nothing away: among eight busy programs
# on two processors, ways that differ by a tenth kept their order by it, and by the time on the wall did not.
# It serves where threads sleep while they wait for each other. Windows counts it in steps of 16 ms.
PROCESSOR = WALL if sys.platform == "win32" else Clock("processor time", time.process_time)


def best_times_s(
    runs: Mapping[Key, Callable[[], object]], *, budget_s: float, clock: Clock = WALL
) -> dict[Key, float]:
    """key -> seconds of its best run, by ``clock``. Each has been run once before, to set itself up.

    They take turns, so that a busy moment meets all of them, and other programs can only slow a run down, so
    the best counts. ``budget_s`` is how long all together may take; a few rounds are made however long they
    take, and none when all but one have fallen far behind.
    """
    best: dict[Key, float] = {}
    order = list(runs)
    began = time.perf_counter()
    for done in range(_MOST_ROUNDS):
        if done >= _LEAST_ROUNDS and (len(order) == 1 or time.perf_counter() - began > budget_s):
            break
        for key in order:
            before = clock.now()
            runs[key]()
            took_s = max(clock.now() - before, 1e-9)
            best[key] = min(best.get(key, took_s), took_s)
        if done:
            least = min(best.values())
            order = [key for key in order if best[key] <= _HOPELESS * least]
        # Each is first as often as the others.
        order = [*order[1:], *order[:1]]
    return best
