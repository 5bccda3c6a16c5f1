"""Which stage cost most, and which layer within it, in words: what a refusal says beside what was lost."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from seetell.learning.compression.stages import DOING, Stage, costliest


def costs_most(stages: Sequence[Stage], metric: str, *, passed: bool = False) -> str:
    """What cost most of ``metric``. stages: from the source to what was judged, and whether it ``passed``."""
    done = {stage.name: stage for stage in stages[1:]}
    last = stages[-1]
    found = costliest(stages, metric)
    if len(done) < 2 or found is None:
        words = _within(last, passed)
    else:
        stage, points = found
        words = f"{DOING[stage.name]} costs most, {points:.2f} points ({_within(stage, passed)})"
        won = _won_back(stages, metric)
        if won:
            words += f", of which distilling won {won:.2f} back"
    if "prune" in done and "distil" not in done:
        words += "; teach it again, with --distill RECIPE"
    return words


def worst_layer(stages: Sequence[Stage]) -> str | None:
    """The layer that costs most: as int8, where that was measured, else by what pruning left out of it."""
    done = {stage.name: stage.details for stage in stages}
    ranking = done.get("quantize", {}).get("sensitivity")
    if ranking:
        return str(ranking[0]["layer"])
    return next(iter(done.get("prune", {}).get("estimated_cost", {})), None)


def _won_back(stages: Sequence[Stage], metric: str) -> float:
    for before, after in itertools.pairwise(stages):
        if after.name == "distil" and metric in before.quality and metric in after.quality:
            return max(0.0, after.quality[metric].value - before.quality[metric].value)
    return 0.0


def _within(stage: Stage, passed: bool) -> str:
    if stage.name == "prune":
        part, share = next(iter(stage.details["estimated_cost"].items()))
        return f"by estimate {part} costs most ({share:.0%} of what was left out)"
    if stage.name == "merge":
        return "merging fewer tokens costs less"
    if stage.name == "distil":
        return f"it was taught {stage.details['steps']} steps; more of them or other data may help"
    ranking = stage.details["sensitivity"]
    if not ranking and passed:
        return "layers were not measured one by one, for all of them passed together"
    if not ranking:
        return "no layer could be measured alone (there are neither photos nor a check set)"
    by_role: dict[str, float] = {}
    for one in ranking:
        # What could not be measured counts as the worst.
        error = float("inf") if one["error"] is None else one["error"]
        by_role[one["role"]] = by_role.get(one["role"], 0.0) + error
    first, graph = ranking[0], max(by_role, key=lambda role: by_role[role])
    amount = "all" if first["error"] is None else f"{first['error']:.1%}"
    return f"{first['layer']} costs most ({amount} of {first['role']}'s outputs), of the graphs {graph}"
