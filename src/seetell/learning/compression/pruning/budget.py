"""Which units stay, so that the arithmetic comes down to a given share."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping

import numpy as np

from seetell.core.errors import UsageError
from seetell.learning.compression.pruning.importance import Scores
from seetell.learning.compression.pruning.surgery import Kept
from seetell.learning.compression.pruning.units import Block, Group
from seetell.learning.compression.pruning.wish import Budget

# Halvings of the share, down to a thousandth.
_STEPS = 10


def least_important(every: Collection[Block], scores: Scores, count: int) -> frozenset[str]:
    """The names of the ``count`` blocks that matter least, of each part fewer than all.

    Raises UsageError for more than can go.
    """
    left: dict[str, int] = {}
    for block in every:
        left[block.part] = left.get(block.part, 0) + 1
    most = sum(left.values()) - len(left)
    if count > most:
        raise UsageError(
            f"--prune-layers {count}: of this model {most} layers can go, one of each part stays"
        )
    dropped: set[str] = set()
    for block in sorted(every, key=lambda one: float(scores[one.name])):
        if len(dropped) < count and left[block.part] > 1:
            dropped.add(block.name)
            left[block.part] -= 1
    return frozenset(dropped)


def uniform(every: Collection[Group], scores: Scores, share: float) -> dict[str, tuple[int, ...]]:
    """Of every group the same ``share`` of units, rounded, one at least: the places of those that matter
    most."""
    units: dict[str, tuple[int, ...]] = {}
    for group in every:
        count = min(group.count, max(1, math.floor(share * group.count + 0.5)))
        best = np.argsort(-scores[group.name], kind="stable")[:count]
        units[group.name] = tuple(sorted(int(place) for place in best))
    return units


def worth(
    every: Collection[Group], scores: Scores, costs: Mapping[str, float], share: float
) -> dict[str, tuple[int, ...]]:
    """The units worth most for what they cost, as many as make up ``share`` of what all cost, and one of
    each group: what a Lagrange multiplier on the cost chooses (Everett 1963).

    costs: operations of one unit, by group.
    """
    units = [(group.name, place) for group in every for place in range(group.count)]
    prices = np.array([costs[name] for name, _ in units])
    values = np.array([scores[name][place] for name, place in units])
    order = np.argsort(-values / prices, kind="stable")
    bought = order[np.cumsum(prices[order]) <= share * prices.sum() * (1 + 1e-9)]
    kept = {group.name: {int(np.argmax(scores[group.name]))} for group in every}
    for number in bought:
        name, place = units[number]
        kept[name].add(place)
    return {name: tuple(sorted(places)) for name, places in kept.items()}


def solve(
    every: Collection[Group],
    scores: Scores,
    flops: Callable[[Kept], int],
    target: int,
    dropped: frozenset[str],
    budget: Budget = "uniform",
) -> Kept:
    """The most that can stay within ``target`` operations: of every group the same share, or, ``solved``, of
    each as much as is worth its cost.

    Few heads make coarse steps, and many groups take them at once. What a step is too large by is therefore
    given to some groups and not to others, to those first whose next units matter most.

    Args:
        flops: operations of a choice.
        dropped: blocks that go in any case.

    Raises UsageError where even one unit of each group is too much.
    """
    living = [group for group in every if not any(group.name.startswith(f"{name}.") for name in dropped)]
    costs = _unit_costs(living, flops, dropped) if budget == "solved" else {}

    def choose(share: float) -> Kept:
        if budget == "solved":
            return Kept(worth(living, scores, costs, share), dropped)
        return Kept(uniform(living, scores, share), dropped)

    low, high = 0.0, 1.0
    best, beyond = choose(low), choose(high)
    least = flops(best)
    if least > target:
        raise UsageError(
            f"--prune: with one head, unit and channel left of each, {least / 1e6:.1f} MFLOPs remain, and "
            f"{target / 1e6:.1f} are asked for; give a smaller share"
        )
    if flops(beyond) <= target:
        return beyond
    for _ in range(_STEPS):
        middle = (low + high) / 2
        here = choose(middle)
        if flops(here) <= target:
            low, best = middle, here
        else:
            high, beyond = middle, here
    for group in sorted(living, key=lambda one: -_gained(one, scores, best, beyond)):
        wider = Kept({**best.units, group.name: beyond.units[group.name]}, dropped)
        if wider.units != best.units and flops(wider) <= target:
            best = wider
    return best


def _unit_costs(
    living: Collection[Group], flops: Callable[[Kept], int], dropped: frozenset[str]
) -> dict[str, float]:
    """Operations that one unit of each group takes, all others being there."""
    whole = flops(Kept({}, dropped))
    found: dict[str, float] = {}
    for group in living:
        one = flops(Kept({group.name: (0,)}, dropped))
        # A group of one unit cannot lose it, so what it costs decides nothing.
        found[group.name] = max(1.0, (whole - one) / max(1, group.count - 1))
    return found


def _gained(group: Group, scores: Scores, best: Kept, beyond: Kept) -> float:
    """What the units matter that ``beyond`` keeps of a group and ``best`` does not."""
    more = set(beyond.units[group.name]) - set(best.units[group.name])
    return float(scores[group.name][sorted(more)].sum())
