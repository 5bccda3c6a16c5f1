"""The README of a bundle, made from its manifest and from what the export measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from seetell.bundle.manifest import Manifest, TensorSpec


@dataclass(frozen=True, slots=True)
class Storage:
    """parameters, halves: how many numbers are stored, and how many of them as float16.
    kept_fp32: as in StoredWeights.
    rounding_change: largest relative change of an output by float16 storage (root mean square).
    engine_difference: largest absolute difference between the graphs in OpenVINO and torch."""

    parameters: int
    halves: int
    kept_fp32: Mapping[str, float]
    rounding_change: float
    engine_difference: float


def model_card(manifest: Manifest, storage: Storage, notes: Mapping[str, Sequence[str]]) -> str:
    """Markdown. notes: heading -> paragraphs that its makers add."""
    sections = [
        f"# {manifest.name}\n\n{_summary(manifest)}",
        f"## Licence of the weights\n\n{manifest.licence}",
        _training(manifest),
        *(f"## {heading}\n\n" + "\n\n".join(paragraphs) for heading, paragraphs in notes.items()),
        _storage(storage),
        _graphs(manifest),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _summary(manifest: Manifest) -> str:
    can = ", ".join(task.replace("_", " ") for task in manifest.tasks)
    lines = [
        f"A seetell bundle, version {manifest.version}. " + (f"It can: {can}." if can else _part(manifest))
    ]
    if manifest.languages:
        lines.append(f"Languages: {', '.join(manifest.languages)}.")
    if manifest.image is not None:
        lines.append(f"Photos are read at {manifest.image.height} x {manifest.image.width} pixels.")
    if manifest.answers:
        lines.append(f"{len(manifest.answers)} answers in its closed list.")
    if manifest.labels:
        lines.append(f"{len(manifest.labels)} labels.")
    lines.append(
        "Load it with `seetell.load(FOLDER)` or `--model FOLDER`; `seetell doctor FOLDER` checks it."
    )
    return "\n".join(lines)


def _part(manifest: Manifest) -> str:
    """What a bundle is for that can do nothing by itself: one half of a model."""
    halves = ", ".join(role.replace("_", " ") for role in manifest.graphs)
    return f"It answers nothing by itself: it is a {halves}, to run as a graph or to begin a model with."


def _training(manifest: Manifest) -> str:
    told = manifest.source.model_dump(exclude_none=True)
    lines = [f"- {name.replace('_', ' ')}: {value}" for name, value in told.items()]
    lines += [f"- {one.name}: {one.terms}" for one in manifest.data]
    return "## Training\n\n" + "\n".join(lines) if lines else ""


def _storage(storage: Storage) -> str:
    lines = [
        f"{storage.parameters:,} numbers, stored once in `model.safetensors`; every graph points into it. "
        "Arithmetic is float32."
    ]
    if storage.halves:
        lines.append(
            f"{storage.halves:,} of them are stored as float16, which changes an output over the check set "
            f"by at most {storage.rounding_change:.1e} of its root mean square."
        )
    elif storage.rounding_change:
        lines.append(
            f"Float16 storage would have changed an output by {storage.rounding_change:.1e} of its root mean "
            "square, so they are stored as float32."
        )
    lines += [
        f"`{name}` stays float32: float16 would lose {loss:.1e} of it."
        for name, loss in storage.kept_fp32.items()
    ]
    lines.append(f"Graphs in OpenVINO and the torch model differ by at most {storage.engine_difference:.1e}.")
    return "## Weights\n\n" + "\n".join(lines)


def _graphs(manifest: Manifest) -> str:
    lines = ["## Graphs", ""]
    for role, graph in manifest.graphs.items():
        lines.append(f"- `{role}` ({', '.join(graph.files.values())})")
        lines += [f"  - in `{name}` {_shape(spec)}" for name, spec in graph.inputs.items()]
        lines += [f"  - out `{name}` {_shape(spec)}" for name, spec in graph.outputs.items()]
    return "\n".join(lines)


def _shape(spec: TensorSpec) -> str:
    return f"{spec.dtype}[{', '.join(str(axis) for axis in spec.axes)}]"
