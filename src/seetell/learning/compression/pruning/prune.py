"""A bundle of our own model, pruned: measured, cut, exported."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from seetell.bundle.manifest import Manifest
from seetell.bundle.store import Bundle, open_bundle
from seetell.core.errors import UsageError
from seetell.learning.compression.calibration import Calibration, record
from seetell.learning.compression.pruning.budget import least_important, solve
from seetell.learning.compression.pruning.importance import Scores, importance
from seetell.learning.compression.pruning.surgery import Kept, cut
from seetell.learning.compression.pruning.units import Group, blocks, groups
from seetell.learning.compression.pruning.work import bundle_flops, model_flops
from seetell.modeling.export.roles.registry import role_modules
from seetell.modeling.export.start import read_start
from seetell.modeling.export.write_bundle import write_bundle
from seetell.modeling.models.unified import UnifiedModel


@dataclass(frozen=True, slots=True)
class Pruning:
    """What is asked for. share: of the arithmetic, to leave out. layers: transformer blocks to leave out
    whole, within that share."""

    share: float
    layers: int = 0


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was done.

    flops_before, flops_after: role -> operations, as ``work`` counts them. kept: group's name -> (units left,
    units before), of the blocks that stay, under their old names. dropped: blocks that went whole. costly:
    group's name or block's -> its part of all that was left out, by estimated importance, largest first.
    """

    bundle: Bundle
    wish: Pruning
    flops_before: Mapping[str, int]
    flops_after: Mapping[str, int]
    kept: Mapping[str, tuple[int, int]]
    dropped: Sequence[str]
    costly: Mapping[str, float]
    calibration: Calibration


def check_prunable(bundle: Bundle, wish: Pruning) -> None:
    """Raises UsageError for a bundle that cannot be pruned, and for a share that is none."""
    manifest = bundle.manifest
    if not 0 < wish.share < 1:
        raise UsageError(
            f"--prune {wish.share:g}: give the share of the arithmetic to leave out, between 0 and 1, as 0.5"
        )
    if wish.layers < 0:
        raise UsageError(f"--prune-layers {wish.layers}: give a number of layers, 0 for none")
    if manifest.family != UnifiedModel.family:
        raise UsageError(
            f"{manifest.name} is of the public family {manifest.family}; --prune fits our own model and what "
            "was taught from it, and --quantize int8 fits every bundle"
        )


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
    start = read_start(str(bundle.folder))
    model = start.model
    assert isinstance(model, UnifiedModel)
    without = _left_out(model, bundle.manifest)
    modules = role_modules(model, without)
    say(f"running {len(photos)} photos to see what matters")
    calibration = record(bundle, photos, texts)
    for one in calibration.failed:
        say(f"left out: {one.error}")
    scores = importance(model, modules, calibration.samples)
    say("choosing what stays")

    def flops(kept: Kept) -> int:
        return sum(model_flops(role_modules(cut(model, kept), without)).values())

    whole = sum(model_flops(modules).values())
    dropped = least_important(blocks(model), scores, wish.layers)
    kept = solve(groups(model), scores, flops, int((1 - wish.share) * whole), dropped)
    smaller = cut(model, kept)
    say("exporting the smaller model")
    write_bundle(lambda: copy.deepcopy(smaller), start.tokenizer_json, out, start.facts, without=without)
    made = open_bundle(out)
    return Pruned(
        bundle=made,
        wish=wish,
        flops_before=bundle_flops(bundle),
        flops_after=bundle_flops(made),
        kept={
            group.name: (len(kept.units[group.name]), group.count)
            for group in groups(model)
            if group.name in kept.units
        },
        dropped=sorted(dropped),
        costly=_costly(groups(model), scores, kept),
        calibration=calibration,
    )


def _left_out(model: UnifiedModel, manifest: Manifest) -> frozenset[str]:
    """Roles and outputs that the model could give and its bundle does not."""
    missing: set[str] = set()
    for role, module in role_modules(model).items():
        if role not in manifest.graphs:
            missing.add(role)
        else:
            missing.update(set(module.outputs) - set(manifest.graphs[role].outputs))
    return frozenset(missing)


def _costly(every: Sequence[Group], scores: Scores, kept: Kept) -> dict[str, float]:
    lost = {name: float(scores[name]) for name in kept.dropped}
    for group in every:
        if group.name in kept.units:
            stays = set(kept.units[group.name])
            gone = [place for place in range(group.count) if place not in stays]
            lost[group.name] = float(scores[group.name][gone].sum())
    total = sum(lost.values()) or 1.0
    return {name: lost[name] / total for name in sorted(lost, key=lambda name: -lost[name])}
