"""The gate: has a compressed bundle lost more of its task's own metric than was allowed?"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from seetell.bundle.check import run_cosines
from seetell.bundle.manifest import Manifest
from seetell.bundle.store import Bundle
from seetell.core.errors import UsageError
from seetell.evaluation.bootstrap import Estimate, difference
from seetell.evaluation.runner import Evaluation
from seetell.evaluation.vqa import ENOUGH_ANSWERS
from seetell.runtime.engine import Engine

_TOLERANCE = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(%?)")


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far a metric may fall: ``value`` points, or with ``relative`` so many per cent of it."""

    value: float
    relative: bool

    def allowed(self, before: float) -> float:
        """Points."""
        return before * self.value / 100 if self.relative else self.value

    def __str__(self) -> str:
        return f"{self.value:g}%" if self.relative else f"{self.value:g} points"


def parse_tolerance(text: str) -> Tolerance:
    """``1%`` of the metric, or ``0.5`` points of it. Raises UsageError."""
    found = _TOLERANCE.fullmatch(text.strip())
    if found is None or (found[2] and float(found[1]) >= 100):
        raise UsageError(
            f"--max-drop: give 1% (of the metric) or 0.5 (points of it), less than all of it, not {text!r}"
        )
    return Tolerance(float(found[1]), bool(found[2]))


@dataclass(frozen=True, slots=True)
class Compared:
    """One metric, higher is better, out of 100. drop and allowed: points; drop is negative for a gain."""

    metric: str
    before: Estimate
    after: Estimate
    allowed: float

    @property
    def drop(self) -> float:
        return self.before.value - self.after.value

    @property
    def drop_interval(self) -> tuple[float, float] | None:
        """The drop's own 95% interval, in points: both are of the same photos. None without photos."""
        found = difference(self.before, self.after)
        return None if found is None else (found.low, found.high)

    @property
    def passed(self) -> bool:
        # A metric that is no number has not passed.
        return self.drop <= self.allowed + 1e-9

    @property
    def excess(self) -> float:
        """How far beyond what is allowed, in points; below zero where it passed."""
        return self.drop - self.allowed if np.isfinite(self.drop) else float("inf")


def compare(
    before: Mapping[str, Estimate], after: Mapping[str, Estimate], tolerance: Tolerance
) -> list[Compared]:
    """Every metric before and after, the one that lost most beyond its allowance first."""
    rows = [
        Compared(metric, one, after[metric], tolerance.allowed(one.value)) for metric, one in before.items()
    ]
    return sorted(rows, key=lambda row: -row.excess)


def main_metrics(evaluations: Iterable[Evaluation]) -> dict[str, Estimate]:
    """The metrics that decide: R@10 in both directions (queries in words can break while photos still
    find), BLEU-4, VQA accuracy (exact match where too few people answered), top-1."""
    found: dict[str, Estimate] = {}
    for one in evaluations:
        for part, scores in (("image_to_text", one.image_to_text), ("text_to_image", one.text_to_image)):
            if scores is not None:
                found[f"{part}.r10"] = scores["r10"]
        if one.captions is not None:
            found["captions.bleu_4"] = one.captions["bleu_4"]
        if one.vqa is not None:
            enough = (one.answers_per_question or 0) >= ENOUGH_ANSWERS
            name = "accuracy" if enough else "exact_match"
            found[f"vqa.{name}"] = one.vqa[name]
        for part, labels in (("zero_shot", one.zero_shot), ("own_labels", one.own_labels)):
            if labels is not None:
                found[f"{part}.top_1"] = labels.scores["top_1"]
    return found


def agreement(reference: Bundle, engine: Engine, manifest: Manifest) -> dict[str, Estimate]:
    """How far a bundle's outputs point where the check set of ``reference`` says: 100 times the cosine, per
    output. Of ``manifest``, the bundle's, only graphs that take what is recorded are asked, and only outputs
    that both have: of a pruned decoder the caches are others.

    The gate's metric where the user names no data. The check set is one small case per role, so there is no
    interval to give. Empty for a bundle without a check set.
    """
    same: dict[str, list[str]] = {}
    for role, graph in reference.manifest.graphs.items():
        other = manifest.graphs.get(role)
        if other is not None and other.inputs == graph.inputs:
            same[role] = [name for name, one in graph.outputs.items() if other.outputs.get(name) == one]
    return {
        f"check.{role}.{output}": Estimate(100 * value, 100 * value, 100 * value)
        for (role, output), value in run_cosines(reference, engine, same).items()
    }


def failure(name: str, rows: Sequence[Compared], costly: str) -> str:
    """Why a bundle was not written, on one line."""
    worst = rows[0]
    return (
        f"{name}: {worst.metric} fell from {worst.before.value:.2f} to {worst.after.value:.2f}, "
        f"{worst.drop:.2f} points where {worst.allowed:.2f} are allowed; {costly}; nothing was written "
        "(more is allowed with --max-drop)"
    )
