"""The stages of a compression: what each is called, and what is known of one that is done.

All of it is plain: a stage that an earlier run has done is read from its record and told like one done now.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from seetell.evaluation.bootstrap import Estimate
from seetell.learning.compression.footprint import Footprint
from seetell.learning.compression.gate import Counted

Name = Literal["source", "prune", "merge", "distil", "quantize"]
# As it is told what a stage does.
DOING: dict[Name, str] = {
    "prune": "pruning",
    "merge": "merging tokens",
    "distil": "distilling",
    "quantize": "quantising",
}


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage, done.

    details: what was done, for the report. quality: metric -> its value of the bundle it made. size_bytes: of
    that bundle. flops: role -> operations of a graph, empty where they are as before.
    """

    name: Name
    details: Mapping[str, Any]
    quality: Mapping[str, Estimate]
    size_bytes: int
    footprint: Footprint
    flops: Mapping[str, int]

    @property
    def precision(self) -> Literal["fp32", "int8"]:
        """What its bundle runs in."""
        return "int8" if self.name == "quantize" else "fp32"

    def plain(self) -> dict[str, Any]:
        """As JSON can hold it; :meth:`of` reads it."""
        return {
            "name": self.name,
            "details": dict(self.details),
            "quality": {metric: _plain_estimate(one) for metric, one in self.quality.items()},
            "size_bytes": self.size_bytes,
            "latency_ms": dict(self.footprint.latency_ms),
            "peak_memory_mb": self.footprint.peak_memory_mb,
            "flops": dict(self.flops),
        }

    @staticmethod
    def of(plain: Mapping[str, Any]) -> Stage:
        """The stage of a record. Raises KeyError, TypeError or ValueError where it is none."""
        return Stage(
            name=plain["name"],
            details=dict(plain["details"]),
            quality={metric: _estimate(one) for metric, one in plain["quality"].items()},
            size_bytes=int(plain["size_bytes"]),
            footprint=Footprint(dict(plain["latency_ms"]), float(plain["peak_memory_mb"])),
            flops=dict(plain["flops"]),
        )


def costliest(stages: Sequence[Stage], metric: str) -> tuple[Stage, float] | None:
    """The stage after which ``metric`` is lowest beside the stage before it, and by how many points; None
    where no stage lost any, or fewer than two were measured by it."""
    measured = [stage for stage in stages if metric in stage.quality]
    drops = [
        (after, before.quality[metric].value - after.quality[metric].value)
        for before, after in itertools.pairwise(measured)
    ]
    found = max(drops, key=lambda one: one[1], default=None)
    return found if found is not None and found[1] > 0 else None


def _plain_estimate(one: Estimate) -> dict[str, Any]:
    drawn = None if one.drawn is None else one.drawn.tolist()
    photos = one.n_photos if isinstance(one, Counted) else None
    return {"value": one.value, "low": one.low, "high": one.high, "drawn": drawn, "photos": photos}


def _estimate(plain: Mapping[str, Any]) -> Estimate:
    drawn = None if plain["drawn"] is None else np.asarray(plain["drawn"], np.float64)
    # Records of before photos were counted have no number.
    photos = plain.get("photos")
    return Counted(float(plain["value"]), float(plain["low"]), float(plain["high"]), drawn, photos)
