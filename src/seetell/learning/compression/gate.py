"""The gate: has a compressed bundle lost more of its task's own metric than was allowed?

What decides is the 95% interval of the loss, drawn over the photos (a paired bootstrap: both models see the
same ones), and not the loss itself, of which most is chance where photos are few. Refused is what is shown to
have lost more.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from seetell.bundle.check import run_cosines
from seetell.bundle.manifest import Manifest
from seetell.bundle.store import Bundle
from seetell.core.errors import UsageError
from seetell.evaluation.bootstrap import Estimate, difference
from seetell.evaluation.runner import Evaluation
from seetell.evaluation.vqa import ENOUGH_ANSWERS
from seetell.runtime.engine import Engine

# Sums of floats that should be equal are not.
_ROUNDING = 1e-9
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
class Counted(Estimate):
    """A figure, and of how many photos it is; None where it is of none."""

    n_photos: int | None = None


Verdict = Literal["within", "undecided", "worse"]
"""Shown to have lost no more than is allowed; too few photos to tell; shown to have lost more."""


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
    def verdict(self) -> Verdict:
        """By the interval of the drop; by the drop itself where there is none. What is no number is worse."""
        low, high = self.drop_interval or (self.drop, self.drop)
        if not all(map(math.isfinite, (self.drop, low, high))):
            return "worse"
        if high <= self.allowed + _ROUNDING:
            return "within"
        return "worse" if low > self.allowed + _ROUNDING else "undecided"

    @property
    def passed(self) -> bool:
        """Whether it is not shown to have lost more than is allowed."""
        return self.verdict != "worse"

    @property
    def n_photos(self) -> int | None:
        """Of how many photos it is, where that is known."""
        return self.before.n_photos if isinstance(self.before, Counted) else None

    @property
    def photos_needed(self) -> int | None:
        """Roughly how many photos tell a loss of what is allowed from none: intervals narrow with the root of
        their number. Two digits; None where it is decided, or nothing is known or allowed."""
        interval = self.drop_interval
        if self.verdict != "undecided" or interval is None or self.n_photos is None or self.allowed <= 0:
            return None
        wanted = self.n_photos * ((interval[1] - interval[0]) / 2 / self.allowed) ** 2
        # An interval that is narrow enough, and lies across the limit, needs more photos still.
        wanted = max(wanted, 2.0 * self.n_photos)
        unit = int(10 ** max(0, math.floor(math.log10(wanted)) - 1))
        return math.ceil(wanted / unit) * unit

    def undecided(self) -> str:
        """What is said of a metric that too few photos were for, on one line."""
        low, high = self.drop_interval or (self.drop, self.drop)
        of = "" if self.n_photos is None else f" on {self.n_photos:,} photos"
        needed = self.photos_needed
        more = "" if needed is None else f"; roughly {needed:,} photos would tell"
        lost = f"{self.drop:.2f} points lost, {low:.2f} to {high:.2f}{of}"
        return f"{self.metric}: too few photos to tell: {lost}, where {self.allowed:.2f} are allowed{more}"

    @property
    def excess(self) -> float:
        """How far beyond what is allowed, in points; below zero where less was lost."""
        return self.drop - self.allowed if np.isfinite(self.drop) else float("inf")


def compare(
    before: Mapping[str, Estimate], after: Mapping[str, Estimate], tolerance: Tolerance
) -> list[Compared]:
    """Every metric before and after: first what did not pass, and of either what lost most beyond its
    allowance."""
    rows = [
        Compared(metric, one, after[metric], tolerance.allowed(one.value)) for metric, one in before.items()
    ]
    return sorted(rows, key=lambda row: (row.passed, -row.excess))


def main_metrics(evaluations: Iterable[Evaluation]) -> dict[str, Estimate]:
    """The metrics that decide: R@10 in both directions (queries in words can break while photos still
    find), BLEU-4, VQA accuracy (exact match where too few people answered), top-1."""
    found: dict[str, Estimate] = {}
    for one in evaluations:

        def take(metric: str, score: Estimate, n_photos: int = one.n_images) -> None:
            found[metric] = Counted(score.value, score.low, score.high, score.drawn, n_photos)

        for part, scores in (("image_to_text", one.image_to_text), ("text_to_image", one.text_to_image)):
            if scores is not None:
                take(f"{part}.r10", scores["r10"])
        if one.captions is not None:
            take("captions.bleu_4", one.captions["bleu_4"])
        if one.vqa is not None:
            enough = (one.answers_per_question or 0) >= ENOUGH_ANSWERS
            name = "accuracy" if enough else "exact_match"
            take(f"vqa.{name}", one.vqa[name])
        for part, labels in (("zero_shot", one.zero_shot), ("own_labels", one.own_labels)):
            if labels is not None:
                take(f"{part}.top_1", labels.scores["top_1"])
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
    interval = worst.drop_interval
    shown = "" if interval is None else f" ({interval[0]:.2f} to {interval[1]:.2f})"
    return (
        f"{name}: {worst.metric} fell from {worst.before.value:.2f} to {worst.after.value:.2f}, "
        f"{worst.drop:.2f} points{shown} where {worst.allowed:.2f} are allowed; {costly}; nothing was "
        "written (more is allowed with --max-drop)"
    )
