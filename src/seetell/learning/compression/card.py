"""What a compressed bundle says of itself: rows of measurements in its manifest, a section of its card."""

from __future__ import annotations

from typing import Any

from seetell.bundle.manifest import Measurement
from seetell.evaluation.bootstrap import Estimate
from seetell.evaluation.machine import describe_machine
from seetell.learning.compression.report import REPORT_NAME, Figures
from seetell.learning.compression.stages import Stage

_VERBS = {
    "image_to_text": "embed",
    "text_to_image": "embed",
    "captions": "caption",
    "vqa": "ask",
    "zero_shot": "classify",
    "own_labels": "classify",
}
# Of the source, which is not this bundle: where it ran as this one does, its rows must not be taken for it.
_BEFORE = "before compression"


def measurements(figures: Figures) -> tuple[Measurement, ...]:
    """Of everything measured, before and after."""
    before, after = figures.stages[0], figures.stages[-1]
    rows: list[Measurement] = []
    if before.precision != after.precision:
        rows += _rows(figures, before, "")
    else:
        rows += _rows(figures, before, _BEFORE)
    return (*rows, *_rows(figures, after, ""))


def _rows(figures: Figures, stage: Stage, mark: str) -> list[Measurement]:
    machine = describe_machine()
    rows = []

    def add(task: str, metric: str, one: Estimate, dataset: str, split: str) -> None:
        rows.append(
            Measurement.model_validate(
                {
                    "precision": stage.precision,
                    "task": task,
                    "dataset": dataset,
                    "split": f"{split}, {mark}" if mark else split,
                    "metric": metric,
                    "value": round(one.value, 6),
                    "interval": None if one.drawn is None else (round(one.low, 6), round(one.high, 6)),
                    "machine": machine,
                }
            )
        )

    for metric in sorted(row.metric for row in figures.rows):
        task = _VERBS.get(metric.partition(".")[0], "check")
        add(task, metric, stage.quality[metric], figures.dataset, "gate")
    add("size", "size_bytes", _exact(stage.size_bytes), "bundle", "all files")
    add("memory", "peak_memory_mb", _exact(stage.footprint.peak_memory_mb), "check set", "every graph")
    for role, took in stage.footprint.latency_ms.items():
        add("latency", f"{role}.latency_ms", _exact(took), "check set", "one run")
    return rows


def _exact(value: float) -> Estimate:
    return Estimate(float(value), float(value), float(value))


def card_section(figures: Figures) -> str:
    """Markdown for the model card."""
    lines = ["## Compression", ""]
    done = {stage.name: stage.details for stage in figures.stages}
    if "prune" in done:
        pruned = done["prune"]
        lines.append(
            f"Pruned: heads, units and channels that matter least, {len(pruned['layers_dropped'])} whole "
            f"layers, measured on {pruned['calibration']['photos']} photos."
        )
    if "merge" in done:
        merged = done["merge"]
        tokens = merged["image_tokens"]
        lines.append(
            f"{merged['in_every_block']} tokens merge in every block of the image encoder: a photo gives "
            f"{tokens['after']}, before {tokens['before']}."
        )
    if "distil" in done:
        lines.append(_taught(done["distil"]))
    before, after = (sum(figures.stages[place].flops.values()) for place in (0, -1))
    if before and after and set(done) - {"source", "quantize"}:
        lines.append(f"It takes {after / before:.1%} of the arithmetic.")
    if "quantize" in done:
        lines += _quantised(done["quantize"])
    lines += [
        f"Passed a gate of {figures.tolerance} on {figures.dataset}; `{REPORT_NAME}` has every figure.",
        "The sections above describe the bundle this one was made from.",
        "",
    ]
    return "\n".join(lines)


def _taught(distilled: Any) -> str:
    teacher = distilled["teacher"]
    by = "" if teacher is None else f" with {teacher} as its teacher"
    return f"Taught again by {distilled['recipe']}, {distilled['steps']} steps{by}."


def _quantised(quantised: Any) -> list[str]:
    counts = quantised["counts"]
    lines = [
        f"Quantised to int8 with NNCF, profile {quantised['profile']}: {counts['int8']} layers compute in "
        f"int8, {counts['weights']} have int8 weights only, {counts['float']} stay in floats."
    ]
    calibration = quantised["calibration"]
    if calibration["photos"]:
        lines.append(
            f"Calibrated on {calibration['photos']} photos and {calibration['texts']} texts "
            f"(from {calibration['texts_from']})."
        )
    return lines
