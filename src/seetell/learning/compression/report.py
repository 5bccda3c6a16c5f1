"""What a compression did and cost: as JSON, as rows of the manifest, and as a section of the model card."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from seetell.bundle.manifest import Measurement
from seetell.evaluation.bootstrap import Estimate
from seetell.evaluation.machine import describe_machine
from seetell.learning.compression.calibration import Calibration
from seetell.learning.compression.footprint import Footprint
from seetell.learning.compression.gate import Compared
from seetell.learning.compression.levels import Level
from seetell.learning.compression.merging import Merged
from seetell.learning.compression.pruning.prune import Pruned
from seetell.learning.compression.quantising import Quantised

REPORT_NAME = "compression.json"
_VERBS = {
    "image_to_text": "embed",
    "text_to_image": "embed",
    "captions": "caption",
    "vqa": "ask",
    "zero_shot": "classify",
    "own_labels": "classify",
}


@dataclass(frozen=True, slots=True)
class Done:
    """What was done, None where it was not. flops: role -> operations, before and after, where the model
    itself is another."""

    pruned: Pruned | None = None
    merged: Merged | None = None
    quantised: Quantised | None = None
    flops: tuple[Mapping[str, int], Mapping[str, int]] | None = None

    @property
    def runs_in(self) -> Literal["fp32", "int8"]:
        return "fp32" if self.quantised is None else "int8"


@dataclass(frozen=True, slots=True)
class Figures:
    """Everything that was measured. rows: the worst first. dataset: what quality was measured on."""

    rows: Sequence[Compared]
    before: Footprint
    after: Footprint
    size_before: int
    size_after: int
    tolerance: str
    dataset: str
    name: str
    done: Done


def document(figures: Figures) -> dict[str, Any]:
    """Plain types; what ``--json`` prints and the bundle keeps as ``compression.json``."""
    return {
        "model": figures.name,
        "machine": describe_machine(),
        "method": {
            **_pruning(figures.done.pruned),
            **_merging(figures.done.merged),
            **_quantisation(figures.done.quantised),
        },
        "gate": {
            "passed": all(row.passed for row in figures.rows),
            "tolerance": figures.tolerance,
            "dataset": figures.dataset,
        },
        "quality": [
            {
                "metric": row.metric,
                "before": round(row.before.value, 4),
                "before_interval": _interval(row.before),
                "after": round(row.after.value, 4),
                "after_interval": _interval(row.after),
                "drop": round(row.drop, 4),
                "drop_interval": _pair(row.drop_interval),
                "allowed": round(row.allowed, 4),
            }
            for row in figures.rows
        ],
        "size_bytes": {"before": figures.size_before, "after": figures.size_after},
        **_flops(figures.done),
        "graphs": {role: _graph(figures, role) for role in _roles(figures)},
        "peak_memory_mb": {
            "before": round(figures.before.peak_memory_mb, 1),
            "after": round(figures.after.peak_memory_mb, 1),
        },
        **_layers(figures.done.quantised),
    }


def _pruning(pruned: Pruned | None) -> dict[str, Any]:
    if pruned is None:
        return {}
    return {
        "prune": {
            "share": pruned.wish.share,
            "budget": pruned.wish.budget,
            "calibration": _calibration(pruned.calibration),
            "layers_dropped": list(pruned.dropped),
            "kept": {name: {"kept": left, "of": of} for name, (left, of) in pruned.kept.items()},
            "estimated_cost": {name: round(part, 4) for name, part in pruned.costly.items()},
        }
    }


def _merging(merged: Merged | None) -> dict[str, Any]:
    if merged is None:
        return {}
    tokens = {"before": merged.before, "after": merged.after}
    return {"merge_tokens": {"in_every_block": merged.count, "image_tokens": tokens}}


def _flops(done: Done) -> dict[str, Any]:
    if done.flops is None:
        return {}
    before, after = done.flops
    return {"flops": {"before": sum(before.values()), "after": sum(after.values())}}


def _quantisation(quantised: Quantised | None) -> dict[str, Any]:
    if quantised is None:
        return {"quantize": None}
    return {
        "quantize": "int8",
        "profile": quantised.profile,
        "calibration": _calibration(quantised.calibration),
        "smoothed_groups": quantised.smoothed,
    }


def _calibration(calibration: Calibration) -> dict[str, Any]:
    return {
        "photos": calibration.n_photos,
        "unreadable": len(calibration.failed),
        "texts": calibration.n_texts,
        "texts_from": calibration.texts_from,
        "runs": {role: len(some) for role, some in calibration.samples.items()},
    }


def _roles(figures: Figures) -> list[str]:
    if figures.done.quantised is not None:
        return list(figures.done.quantised.packed.files)
    return [] if figures.done.flops is None else list(figures.done.flops[1])


def _graph(figures: Figures, role: str) -> dict[str, Any]:
    told: dict[str, Any] = {}
    if figures.done.quantised is not None:
        packed = figures.done.quantised.packed
        told["fp32_weights_bytes"] = packed.float_bytes[role]
        told["weights_bytes"] = packed.weights_bytes[role]
        told["share"] = round(packed.weights_bytes[role] / max(1, packed.float_bytes[role]), 4)
    if figures.done.flops is not None:
        before, after = figures.done.flops
        told["flops"] = {"before": before[role], "after": after[role]}
    told["latency_ms"] = {
        "before": _rounded(figures.before.latency_ms.get(role)),
        "after": _rounded(figures.after.latency_ms.get(role)),
    }
    return told


def _layers(quantised: Quantised | None) -> dict[str, Any]:
    if quantised is None:
        return {}
    return {
        "tried": list(quantised.tried),
        "layers": {source: level for source, level in sorted(quantised.levels.items()) if level != "int8"},
        "sensitivity": [
            {"layer": one.source, "role": one.role, "error": _finite(one.error)} for one in quantised.ranking
        ],
    }


def worst_layer(figures: Figures) -> str | None:
    """The layer that costs most: as int8, where that was measured, else by what pruning left out of it."""
    done = figures.done
    if done.quantised is not None and done.quantised.ranking:
        return done.quantised.ranking[0].source
    return None if done.pruned is None else next(iter(done.pruned.costly), None)


def count_levels(levels: Mapping[str, Level]) -> dict[Level, int]:
    """How many layers are at each level."""
    known: tuple[Level, ...] = ("int8", "weights", "float")
    return {level: sum(one == level for one in levels.values()) for level in known}


def as_json(plain: Mapping[str, Any]) -> str:
    """The report as a file's text."""
    return json.dumps(plain, indent=1, ensure_ascii=False) + "\n"


def measurements(figures: Figures) -> tuple[Measurement, ...]:
    """Of everything measured: after, and before (fp32) where what is after computes in int8 and so cannot be
    taken for it."""
    machine = describe_machine()
    runs_in = figures.done.runs_in
    is_int8 = runs_in == "int8"
    rows = []

    def add(precision: str, task: str, metric: str, one: Estimate, dataset: str, split: str) -> None:
        rows.append(
            Measurement.model_validate(
                {
                    "precision": precision,
                    "task": task,
                    "dataset": dataset,
                    "split": split,
                    "metric": metric,
                    "value": round(one.value, 6),
                    "interval": None if one.drawn is None else (round(one.low, 6), round(one.high, 6)),
                    "machine": machine,
                }
            )
        )

    for row in sorted(figures.rows, key=lambda one: one.metric):
        task = _VERBS.get(row.metric.partition(".")[0], "check")
        if is_int8:
            add("fp32", task, row.metric, row.before, figures.dataset, "gate")
        add(runs_in, task, row.metric, row.after, figures.dataset, "gate")
    after = (runs_in, figures.after, figures.size_after)
    before = ("fp32", figures.before, figures.size_before)
    for precision, footprint, size in (before, after) if is_int8 else (after,):
        add(precision, "size", "size_bytes", _exact(size), "bundle", "all files")
        add(
            precision,
            "memory",
            "peak_memory_mb",
            _exact(footprint.peak_memory_mb),
            "check set",
            "every graph",
        )
        for role, took in footprint.latency_ms.items():
            add(precision, "latency", f"{role}.latency_ms", _exact(took), "check set", "one run")
    return tuple(rows)


def rows(plain: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """(what, before, after, remark) for people."""
    found = [
        (
            row["metric"],
            f"{row['before']:.2f}",
            f"{row['after']:.2f}",
            f"{row['drop']:.2f} lost{_told(row['drop_interval'])}, {row['allowed']:.2f} allowed",
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
    for role, graph in plain["graphs"].items():
        took = graph["latency_ms"]
        if took["before"] is not None:
            found.append((f"{role} time", f"{took['before']:.2f} ms", f"{took['after']:.2f} ms", _part(took)))
    memory = plain["peak_memory_mb"]
    found.append(("peak memory", f"{memory['before']:.0f} MB", f"{memory['after']:.0f} MB", _part(memory)))
    return found


def _told(interval: Sequence[float] | None) -> str:
    return "" if interval is None else f" ({interval[0]:.2f} to {interval[1]:.2f})"


def card_section(figures: Figures) -> str:
    """Markdown for the model card."""
    lines = ["## Compression", ""]
    done = figures.done
    if done.pruned is not None:
        lines.append(
            f"Pruned: heads, units and channels that matter least, {len(done.pruned.dropped)} whole layers, "
            f"measured on {done.pruned.calibration.n_photos} photos."
        )
    if done.merged is not None:
        lines.append(
            f"{done.merged.count} tokens merge in every block of the image encoder: a photo gives "
            f"{done.merged.after}, before {done.merged.before}."
        )
    if done.flops is not None:
        before, after = (sum(flops.values()) for flops in done.flops)
        lines.append(f"It takes {after / before:.1%} of the arithmetic.")
    if done.quantised is not None:
        lines += _quantised_lines(done.quantised)
    lines += [
        f"Passed a gate of {figures.tolerance} on {figures.dataset}; `{REPORT_NAME}` has every figure.",
        "The sections above describe the bundle this one was made from.",
        "",
    ]
    return "\n".join(lines)


def _quantised_lines(quantised: Quantised) -> list[str]:
    counts = count_levels(quantised.levels)
    lines = [
        f"Quantised to int8 with NNCF, profile {quantised.profile}: {counts['int8']} layers compute in int8, "
        f"{counts['weights']} have int8 weights only, {counts['float']} stay in floats."
    ]
    calibration = quantised.calibration
    if calibration.n_photos:
        lines.append(
            f"Calibrated on {calibration.n_photos} photos and {calibration.n_texts} texts "
            f"(from {calibration.texts_from})."
        )
    return lines


def _operations(pair: Mapping[str, int]) -> tuple[str, str, str]:
    before, after = (f"{pair[when] / 1e6:.1f} MFLOPs" for when in ("before", "after"))
    return before, after, _part(pair)


def _interval(one: Estimate) -> list[float] | None:
    return None if one.drawn is None else _pair((one.low, one.high))


def _pair(interval: tuple[float, float] | None) -> list[float] | None:
    return None if interval is None else [round(interval[0], 4), round(interval[1], 4)]


def _exact(value: float) -> Estimate:
    return Estimate(float(value), float(value), float(value))


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _finite(value: float) -> float | None:
    return round(value, 6) if value < float("inf") else None


def _megabytes(size_bytes: float) -> str:
    return f"{size_bytes / 1e6:.2f} MB"


def _part(pair: Mapping[str, float]) -> str:
    return f"{pair['after'] / pair['before']:.0%} of it" if pair["before"] else ""
