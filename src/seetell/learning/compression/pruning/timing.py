"""How much arithmetic to leave out, so that a given share of the time goes: tried, measured, tried again.

Time does not follow arithmetic: what is not pruned takes its part, and small matrix products are done less
well than large ones. So what a choice takes is measured, on this machine, and the next one is chosen by it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from seetell.bundle.architecture import CAPTION_TOKENS
from seetell.core.errors import UsageError
from seetell.learning.compression.footprint import Footprint

TRIES = 6
# Within so much of the time wanted nothing is looked for: as much lies between two measurements of one model.
_NEAR = 0.02
# A next try keeps this part of what is left to search away from what is known already.
_MARGIN = 0.1


@dataclass(frozen=True, slots=True)
class Trial:
    """left_out: share of the arithmetic that was left out. time: share of the whole model's time it takes."""

    left_out: float
    time: float


def usual_ms(footprint: Footprint) -> float:
    """Milliseconds for what :mod:`~seetell.learning.compression.pruning.work` counts operations of: one photo
    seen, one text read alone and beside it, and a caption written."""
    took = footprint.latency_ms
    return sum(ms * (CAPTION_TOKENS if role == "text_decoder" else 1) for role, ms in took.items())


def search(wanted: float, measure: Callable[[float], float | None]) -> tuple[Trial, list[Trial]]:
    """The trial that leaves out least of those that take at most ``wanted`` of the time; and all, in order.

    Between two trials, one too slow and one fast enough, the next one is where a line through both would be.

    Args:
        wanted: 0..1.
        measure: the share of the time left when a share of the arithmetic is left out; None where so much
            cannot be.

    Raises UsageError where no trial is fast enough.
    """
    tried: list[Trial] = []
    slow, fast = Trial(0.0, 1.0), None
    # Beyond this nothing can be left out.
    end = 1.0
    here = 1 - wanted
    for _ in range(TRIES):
        time = measure(here)
        if time is None:
            end = here
        else:
            trial = Trial(here, time)
            tried.append(trial)
            if time <= wanted:
                fast = trial
                if time >= wanted - _NEAR:
                    break
            else:
                slow = trial
        here = _next(slow, fast, end, wanted)
    if fast is None:
        raise UsageError(
            f"--prune {1 - wanted:g}: so much of the time cannot go; with {slow.left_out:.0%} of the "
            f"arithmetic left out, {slow.time:.0%} of the time remains; give a smaller share"
        )
    return fast, tried


def _next(slow: Trial, fast: Trial | None, end: float, wanted: float) -> float:
    """Where to try next: by the line through what is known, not too near to it."""
    high = end if fast is None else min(end, fast.left_out)
    room = high - slow.left_out
    if fast is not None and slow.time > fast.time:
        step = room * (slow.time - wanted) / (slow.time - fast.time)
    elif fast is None and slow.time < 1:
        step = slow.left_out * (slow.time - wanted) / (1 - slow.time)
    else:
        # Time fell with no arithmetic, or rose: the clock says nothing.
        step = room / 2
    return slow.left_out + min(max(step, _MARGIN * room), (1 - _MARGIN) * room)
