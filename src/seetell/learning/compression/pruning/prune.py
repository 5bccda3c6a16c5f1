"""A bundle of our own model, pruned: measured, cut, exported."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from seetell.bundle.store import Bundle
from seetell.core.errors import UsageError
from seetell.learning.compression.calibration import Calibration, record
from seetell.learning.compression.footprint import measure_both
from seetell.learning.compression.own import OwnModel, read_own
from seetell.learning.compression.pruning.budget import least_important, solve
from seetell.learning.compression.pruning.importance import Scores, importance
from seetell.learning.compression.pruning.surgery import Kept, cut
from seetell.learning.compression.pruning.timing import Trial, search, usual_ms
from seetell.learning.compression.pruning.units import Group, blocks, groups
from seetell.learning.compression.pruning.wish import Pruning, check_prunable
from seetell.learning.compression.pruning.work import model_flops
from seetell.modeling.models.unified import UnifiedModel


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was done.

    kept: group's name -> (units left,
    units before), of the blocks that stay, under their old names. dropped: blocks that went whole. costly:
    group's name or block's -> its part of all that was left out, by estimated importance, largest first.
    trials: how the time was come to, in order; none where the arithmetic was asked for.
    """

    bundle: Bundle
    wish: Pruning
    kept: Mapping[str, tuple[int, int]]
    dropped: Sequence[str]
    costly: Mapping[str, float]
    calibration: Calibration
    trials: Sequence[Trial] = ()


def prune(
    bundle: Bundle,
    out: Path,
    wish: Pruning,
    photos: Sequence[Path],
    texts: Sequence[str],
    say: Callable[[str], None],
) -> Pruned:
    """Write a smaller bundle of the same abilities to ``out``; ``bundle`` stays as it is.

    Args:
        photos, texts: what importance is measured on, as in ``calibration.record``.
        say: told what is going on, one line each.

    Raises UsageError, DataError for photos that cannot be read, ExportError, StorageError and BundleError.
    """
    check_prunable(bundle, wish)
    own = read_own(bundle)
    model, modules = own.model, own.roles()
    say(f"running {len(photos)} photos to see what matters")
    calibration = record(bundle, photos, texts)
    for one in calibration.failed:
        say(f"left out: {one.error}")
    scores = importance(model, modules, calibration.samples)
    say("choosing what stays")

    def flops(kept: Kept) -> int:
        return sum(model_flops(own.roles(cut(model, kept))).values())

    whole = sum(model_flops(modules).values())
    dropped = least_important(blocks(model), scores, wish.layers)

    def choose(share: float) -> Kept:
        target = int((1 - share) * whole)
        return solve(groups(model), scores, flops, target, dropped, wish.budget)

    share, trials = wish.share, list[Trial]()
    if wish.measure == "latency":

        def time_left(share: float) -> float | None:
            try:
                smaller = cut(model, choose(share))
            except UsageError:
                return None
            left = _time_left(bundle, own, smaller, out.parent)
            say(f"without {share:.0%} of the arithmetic it takes {left:.0%} of the time")
            return left

        best, trials = search(1 - wish.share, time_left)
        share = best.left_out
    kept = choose(share)
    say("exporting the smaller model")
    return Pruned(
        bundle=own.write(cut(model, kept), out),
        wish=wish,
        kept={
            group.name: (len(kept.units[group.name]), group.count)
            for group in groups(model)
            if group.name in kept.units
        },
        dropped=sorted(dropped),
        costly=_costly(groups(model), scores, kept),
        calibration=calibration,
        trials=trials,
    )


def _time_left(bundle: Bundle, own: OwnModel, smaller: UnifiedModel, room: Path) -> float:
    """The part of ``bundle``'s time that ``smaller`` takes, side by side. room: a folder to export it in."""
    # Named as what a killed run has left half written, which the next one clears away.
    with tempfile.TemporaryDirectory(prefix=".trial-", suffix=".tmp", dir=room) as folder:
        trial = own.write(smaller, Path(folder) / "bundle")
        before, after = measure_both((bundle.folder, "fp32"), (trial.folder, "fp32"))
    return usual_ms(after) / usual_ms(before)


def _costly(every: Sequence[Group], scores: Scores, kept: Kept) -> dict[str, float]:
    lost = {name: float(scores[name]) for name in kept.dropped}
    for group in every:
        if group.name in kept.units:
            stays = set(kept.units[group.name])
            gone = [place for place in range(group.count) if place not in stays]
            lost[group.name] = float(scores[group.name][gone].sum())
    total = sum(lost.values()) or 1.0
    return {name: lost[name] / total for name in sorted(lost, key=lambda name: -lost[name])}
