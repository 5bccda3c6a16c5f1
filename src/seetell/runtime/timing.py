"""Which of several pieces of work takes the least time, on a machine that does other things as well."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

Key = TypeVar("Key")

_LEAST_ROUNDS, _MOST_ROUNDS = 3, 100
# What takes so many times the least is not run again, once its runs took so long together that no busy moment
# explains it.
_HOPELESS, _TELLING_S = 1.25, 0.1


def best_times_s(
    runs: Mapping[Key, Callable[[], object]], *, budget_s: float, by_processor: bool
) -> dict[Key, float]:
    """key -> seconds of its best run. Each has been run once before, to set itself up.

    They take turns, so that a busy moment meets all of them, and other programs can only slow a run down, so
    the best counts. ``budget_s`` is for each that has not fallen far behind; a few rounds are made however
    long they take.

    by_processor: runs are compared by the processor time they use, of which other programs take nothing away,
    and all put on the scale of the one that had to wait least. Among eight busy programs on two processors,
    ways that differ by a tenth keep their order so, and by the clock on the wall they do not. It is for work
    on processors whose threads sleep while they wait for each other; Windows counts in steps of 16 ms, and
    there the wall's clock is taken.
    """
    clock = time.process_time if by_processor and sys.platform != "win32" else time.perf_counter
    found: dict[Key, list[float]] = {key: [] for key in runs}
    waited: dict[Key, list[float]] = {key: [] for key in runs}
    order = list(runs)
    for done in range(1, _MOST_ROUNDS + 1):
        for key in order:
            before, began_waiting = clock(), time.perf_counter()
            runs[key]()
            found[key].append(max(clock() - before, 1e-9))
            waited[key].append(time.perf_counter() - began_waiting)
        bound = _HOPELESS * min(min(times) for times in found.values())
        if done > 1:
            order = [key for key in order if min(found[key]) <= bound or sum(found[key]) < _TELLING_S]
        if done >= _LEAST_ROUNDS:
            order = [key for key in order if sum(found[key]) < budget_s]
            if len(order) < 2:
                break
        # Each is first as often as the others.
        order = [*order[1:], *order[:1]]
    scale = min(min(waited[key]) / min(found[key]) for key in runs)
    return {key: scale * min(found[key]) for key in runs}
