"""What a compression did and cost: as JSON, and as rows for people."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from seetell.evaluation.bootstrap import Estimate
from seetell.evaluation.machine import describe_machine
from seetell.learning.compression.costs import costs_most
from seetell.learning.compression.gate import Compared
from seetell.learning.compression.stages import Name, Stage

REPORT_NAME = "compression.json"
# What a stage is called among the methods.
_METHODS: dict[Name, str] = {"prune": "prune", "merge": "merge_tokens", "distil": "distil"}


@dataclass(frozen=True, slots=True)
class Figures:
    """Everything that was measured.

    stages: the source first, last what was judged. rows: the worst first. dataset: what quality was measured
    on. name: the source's. floats_bytes: size of the floats that stay beside int8.
    """

    stages: Sequence[Stage]
    rows: Sequence[Compared]
    tolerance: str
    dataset: str
    name: str
    floats_bytes: int = 0

    @property
    def passed(self) -> bool:
        return all(row.passed for row in self.rows)


def document(figures: Figures) -> dict[str, Any]:
    """Plain types; what ``--json`` prints and the bundle keeps as ``compression.json``."""
    before, after = figures.stages[0], figures.stages[-1]
    done = {stage.name: stage.details for stage in figures.stages}
    quantised = done.get("quantize")
    return {
        "model": figures.name,
        "machine": describe_machine(),
        "method": {
            **{name: dict(done[stage]) for stage, name in _METHODS.items() if stage in done},
            **_quantisation(quantised),
        },
        "gate": {
            "passed": figures.passed,
            "tolerance": figures.tolerance,
            "dataset": figures.dataset,
            "costs_most": costs_most(figures.stages, figures.rows[0].metric, passed=figures.passed),
            "undecided": [row.undecided() for row in figures.rows if row.verdict == "undecided"],
            "time": time_told(before, after),
        },
        "quality": [
            {
                "metric": row.metric,
                "before": _rounded(row.before.value),
                "before_interval": _interval(row.before),
                "after": _rounded(row.after.value),
                "after_interval": _interval(row.after),
                "drop": _rounded(row.drop),
                "drop_interval": _pair(row.drop_interval),
                "allowed": _rounded(row.allowed),
                "passed": row.passed,
                "verdict": row.verdict,
                "photos": row.n_photos,
                "photos_needed": row.photos_needed,
            }
            for row in figures.rows
        ],
        "size_bytes": {
            "before": before.size_bytes,
            "after": after.size_bytes,
            **({"floats_beside": figures.floats_bytes} if figures.floats_bytes else {}),
        },
        "time_ms": {
            "before": round(before.footprint.total_ms, 4),
            "after": round(after.footprint.total_ms, 4),
        },
        **_flops(before, after),
        "graphs": {role: _graph(before, after, role) for role in _roles(after)},
        "peak_memory_mb": {
            "before": round(before.footprint.peak_memory_mb, 1),
            "after": round(after.footprint.peak_memory_mb, 1),
        },
        "stages": [_stage(stage) for stage in figures.stages],
        **({} if quantised is None else {key: quantised[key] for key in ("tried", "layers", "sensitivity")}),
    }


def time_told(before: Stage, after: Stage) -> str:
    """What became of the time that one run of every graph takes, on one line."""
    one, other = before.footprint.total_ms, after.footprint.total_ms
    took = f"one run of every graph took {one:.2f} ms and takes {other:.2f} ms"
    if other < one:
        return f"{took}, {1 - other / one:.0%} less"
    return f"{took}: it is not faster than it was"


def _quantisation(quantised: Mapping[str, Any] | None) -> dict[str, Any]:
    if quantised is None:
        return {"quantize": None}
    told = {key: quantised[key] for key in ("profile", "calibration", "smoothed_groups")}
    return {"quantize": "int8", **told}


def _flops(before: Stage, after: Stage) -> dict[str, Any]:
    if before.flops == after.flops:
        return {}
    return {"flops": {"before": sum(before.flops.values()), "after": sum(after.flops.values())}}


def _roles(after: Stage) -> list[str]:
    if after.name == "quantize":
        return list(after.details["graphs"])
    return list(after.flops or after.footprint.latency_ms)


def _graph(before: Stage, after: Stage, role: str) -> dict[str, Any]:
    told: dict[str, Any] = {}
    if after.name == "quantize":
        told.update(after.details["graphs"].get(role, {}))
    if before.flops != after.flops:
        told["flops"] = {"before": before.flops.get(role), "after": after.flops.get(role)}
    told["latency_ms"] = {
        "before": _rounded(before.footprint.latency_ms.get(role)),
        "after": _rounded(after.footprint.latency_ms.get(role)),
    }
    return told


def _stage(stage: Stage) -> dict[str, Any]:
    return {
        "stage": stage.name,
        "quality": {
            metric: {"value": _rounded(one.value), "interval": _interval(one)}
            for metric, one in stage.quality.items()
        },
        "size_bytes": stage.size_bytes,
        "latency_ms": round(stage.footprint.total_ms, 4),
        "peak_memory_mb": round(stage.footprint.peak_memory_mb, 1),
        **({"flops": sum(stage.flops.values())} if stage.flops else {}),
    }


def as_json(plain: Mapping[str, Any]) -> str:
    """The report as a file's text."""
    return json.dumps(plain, indent=1, ensure_ascii=False) + "\n"


def rows(plain: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """(what, before, after, remark) for people."""
    found = [
        (
            row["metric"],
            f"{row['before']:.2f}",
            f"{row['after']:.2f}",
            f"{row['drop']:.2f} lost{_told(row['drop_interval'])}, {row['allowed']:.2f} allowed"
            + ("; too few photos to tell" if row["verdict"] == "undecided" else ""),
        )
        for row in plain["quality"]
    ]
    size = plain["size_bytes"]
    found.append(("size", _megabytes(size["before"]), _megabytes(size["after"]), _part(size)))
    if "flops" in plain:
        found.append(("arithmetic", *_operations(plain["flops"])))
    for role, graph in plain["graphs"].items():
        if "flops" in graph:
            found.append((f"{role} arithmetic", *_operations(graph["flops"])))
        if "weights_bytes" not in graph:
            continue
        found.append(
            (
                f"{role} weights",
                f"{_megabytes(graph['fp32_weights_bytes'])} as fp32",
                _megabytes(graph["weights_bytes"]),
                f"{graph['share']:.1%}",
            )
        )
    whole = plain["time_ms"]
    found.append(("time", f"{whole['before']:.2f} ms", f"{whole['after']:.2f} ms", _part(whole)))
    for role, graph in plain["graphs"].items():
        took = graph["latency_ms"]
        if took["before"] is not None:
            found.append((f"{role} time", f"{took['before']:.2f} ms", f"{took['after']:.2f} ms", _part(took)))
    memory = plain["peak_memory_mb"]
    found.append(("peak memory", f"{memory['before']:.0f} MB", f"{memory['after']:.0f} MB", _part(memory)))
    return found


def _told(interval: Sequence[float] | None) -> str:
    return "" if interval is None else f" ({interval[0]:.2f} to {interval[1]:.2f})"


def _operations(pair: Mapping[str, int]) -> tuple[str, str, str]:
    before, after = (f"{pair[when] / 1e6:.1f} MFLOPs" for when in ("before", "after"))
    return before, after, _part(pair)


def _interval(one: Estimate) -> list[float] | None:
    return None if one.drawn is None else _pair((one.low, one.high))


def _pair(interval: tuple[float, float] | None) -> list[float] | None:
    if interval is None or not all(map(math.isfinite, interval)):
        return None
    return [round(interval[0], 4), round(interval[1], 4)]


def _rounded(value: float | None) -> float | None:
    # JSON has no word for what is no number.
    return None if value is None or not math.isfinite(value) else round(value, 4)


def _megabytes(size_bytes: float) -> str:
    return f"{size_bytes / 1e6:.2f} MB"


def _part(pair: Mapping[str, float]) -> str:
    if not pair["before"]:
        return ""
    beside = pair.get("floats_beside", 0)
    together = f"; {_megabytes(pair['after'] + beside)} with the floats beside it" if beside else ""
    return f"{pair['after'] / pair['before']:.0%} of it{together}"
