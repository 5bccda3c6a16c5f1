"""What a pruning is asked for. Imports no torch: what prunes nothing asks for nothing, and does without."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from seetell.bundle.store import Bundle
from seetell.core.errors import UsageError
from seetell.learning.compression.own import check_own

Budget = Literal["uniform", "solved"]
Measure = Literal["flops", "latency"]


@dataclass(frozen=True, slots=True)
class Pruning:
    """What is asked for. share: to leave out. layers: transformer blocks to leave out whole, within that
    share. budget: the same share of every group, or of each what is worth its arithmetic. measure: what
    ``share`` is a share of, the arithmetic or the time on this machine."""

    share: float
    layers: int = 0
    budget: Budget = "uniform"
    measure: Measure = "flops"


def check_prunable(bundle: Bundle, wish: Pruning) -> None:
    """Raises UsageError for a bundle that cannot be pruned, and for a share that is none."""
    if not 0 < wish.share < 1:
        of_what = "arithmetic" if wish.measure == "flops" else "time"
        raise UsageError(
            f"--prune {wish.share:g}: give the share of the {of_what} to leave out, between 0 and 1, as 0.5"
        )
    if wish.layers < 0:
        raise UsageError(f"--prune-layers {wish.layers}: give a number of layers, 0 for none")
    check_own(bundle.manifest, "--prune")
