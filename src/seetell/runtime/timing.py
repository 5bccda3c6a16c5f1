"""Which of several pieces of work takes the least time, on a machine that does other things as well."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

Key = TypeVar("Key")

_LEAST_ROUNDS, _MOST_ROUNDS = 3, 20
# What takes so many times the least is not run again: no busy moment explains it.
_HOPELESS = 1.5


def best_times_s(
    runs: Mapping[Key, Callable[[], object]], *, budget_s: float, by_processor: bool
) -> dict[Key, float]:
    """key -> seconds of its best run. Each has been run once before, to set itself up.

    They take turns, so that a busy moment meets all of them, and other programs can only slow a run down, so
    the best counts. ``budget_s`` is for all together; a few rounds are made however long they take, and none
    when all but one have fallen far behind.

    by_processor: runs are compared by the processor time they use, of which other programs take nothing away,
    and all put on the scale of the one that had to wait least. Among eight busy programs on two processors,
    ways that differ by a tenth keep their order so, and by the clock on the wall they do not. It is for work
    on processors whose threads sleep while they wait for each other; Windows counts in steps of 16 ms, and
    there the wall's clock is taken.
    """
    clock = time.process_time if by_processor and sys.platform != "win32" else time.perf_counter
    compared: dict[Key, float] = {}
    waited: dict[Key, float] = {}
    order = list(runs)
    began = clock()
    for done in range(_MOST_ROUNDS):
        if done >= _LEAST_ROUNDS and (len(order) == 1 or clock() - began > budget_s):
            break
        for key in order:
            before, began_waiting = clock(), time.perf_counter()
            runs[key]()
            _lower(compared, key, clock() - before)
            _lower(waited, key, time.perf_counter() - began_waiting)
        if done:
            least = min(compared.values())
            order = [key for key in order if compared[key] <= _HOPELESS * least]
        # Each is first as often as the others.
        order = [*order[1:], *order[:1]]
    scale = min(waited[key] / compared[key] for key in runs)
    return {key: scale * compared[key] for key in runs}


def _lower(best_s: dict[Key, float], key: Key, took_s: float) -> None:
    best_s[key] = min(best_s.get(key, took_s), max(took_s, 1e-9))
