"""Do the exported graphs compute what the torch model computes? And the record of it in the bundle.

``check.safetensors`` holds, for one small case per role, ``ROLE/input/NAME`` and ``ROLE/output/NAME``:
the outputs are torch's, in float32, with the weights as stored. Inputs may be stored in a narrower dtype
that holds them exactly; who reads them casts to the dtype the manifest gives. The largest outputs are
left out where the file would exceed its budget.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from seetell.bundle.manifest import Role
from seetell.core.errors import ExportError
from seetell.modeling.export.check_cases import check_cases
from seetell.modeling.export.torch_engine import TorchEngine
from seetell.modeling.models.assembled import ModelLimits
from seetell.runtime.engine import Arrays, Engine

# What engines and torch may differ by: they sum in another order. Absolutely, and of outputs whose numbers
# are larger than one, as keys within a language model are, relative to their root mean square.
TOLERANCE = 1e-3
_LATER = re.compile(r"\.[1-9]\d*\.(key|value)$")
# The whole of check.safetensors, so that it stays small in a repository; beyond it only what has to be in it.
_BUDGET_BYTES = 300_000


@dataclass(frozen=True, slots=True)
class Case:
    """One run of a role: its inputs, and what torch gives."""

    role: Role
    inputs: Arrays
    expected: Arrays


def record_cases(engine: TorchEngine, limits: ModelLimits) -> list[Case]:
    """Run torch over all check inputs of all roles. The first case of each role is the one a bundle keeps."""
    return [
        Case(module.role, inputs, engine.run(module.role, inputs))
        for module in engine.modules
        for inputs in check_cases(module, limits)
    ]


def largest_difference(engine: Engine, cases: Sequence[Case], tolerance: float = TOLERANCE) -> float:
    """Run every case on ``engine`` and return the largest difference to what is expected.

    Raises ExportError naming role, output and difference where it exceeds ``tolerance``.
    """
    worst = 0.0
    for case in cases:
        found = engine.run(case.role, case.inputs)
        for name, expected in case.expected.items():
            difference = _difference(found.get(name), expected)
            # Written so that NaN fails.
            if not difference <= tolerance:
                # Of caches the first pair says it all.
                shown = {key: value.shape for key, value in case.inputs.items() if not _LATER.search(key)}
                shapes = ", ".join(f"{key} {list(shape)}" for key, shape in shown.items())
                raise ExportError(
                    f"{case.role}: {name} differs from torch by {difference:.3g} in {engine.name} "
                    f"({tolerance:g} is allowed), with inputs {shapes}"
                )
            worst = max(worst, difference)
    return worst


def _difference(found: NDArray[Any] | None, expected: NDArray[Any]) -> float:
    """Largest difference; infinite where shape or dtype differ or one side is not finite."""
    if found is None or found.shape != expected.shape or found.dtype != expected.dtype:
        return float("inf")
    if expected.dtype.kind != "f":
        return 0.0 if np.array_equal(found, expected) else float("inf")
    difference = np.abs(found.astype(np.float64) - expected)
    if not np.isfinite(difference).all():
        return float("inf")
    size = float(np.sqrt(np.mean(np.square(expected, dtype=np.float64)))) if expected.size else 0.0
    return float(difference.max(initial=0.0)) / max(1.0, size)


def rounding_change(original: Sequence[Case], rounded: Sequence[Case]) -> dict[str, float]:
    """What rounding the weights changes in each output: ``ROLE/NAME`` -> rms of the change over rms of
    the output, the worst of its cases."""
    changes: dict[str, float] = {}
    for before, after in zip(original, rounded, strict=True):
        for name, expected in before.expected.items():
            if expected.dtype.kind != "f":
                continue
            scale = float(np.linalg.norm(expected.astype(np.float64)))
            change = float(np.linalg.norm(after.expected[name].astype(np.float64) - expected))
            relative = change / scale if scale else change
            key = f"{before.role}/{name}"
            # NaN compares false with everything and must win.
            changes[key] = relative if not relative <= changes.get(key, 0.0) else changes.get(key, 0.0)
    return changes


def check_record(cases: Sequence[Case]) -> bytes:
    """The content of ``check.safetensors``: the first case of each role, an output of each role that says
    what it computes, whatever its size, and of the others the smallest first."""
    kept: dict[str, NDArray[Any]] = {}
    outputs: dict[str, NDArray[Any]] = {}
    seen: set[str] = set()
    for case in cases:
        if case.role in seen:
            continue
        seen.add(case.role)
        kept.update({f"{case.role}/input/{name}": _narrowed(value) for name, value in case.inputs.items()})
        telling = min(case.expected, key=lambda name: _telling(name, case.expected[name]))
        for name, value in case.expected.items():
            (kept if name == telling else outputs)[f"{case.role}/output/{name}"] = value
    # The header needs about a hundred bytes per tensor.
    left = _BUDGET_BYTES - sum(value.nbytes + 100 for value in kept.values())
    for name, value in sorted(outputs.items(), key=lambda item: (item[1].nbytes, item[0])):
        left -= value.nbytes + 100
        if left < 0:
            break
        kept[name] = value
    return safetensors.numpy.save({name: np.ascontiguousarray(value) for name, value in kept.items()})


def _telling(name: str, value: NDArray[Any]) -> tuple[bool, bool, int]:
    """The least of a role is the output to judge it by: numbers and not a mask, no cache, and small."""
    return value.dtype.kind != "f", name.startswith(("present.", "cross.")), value.nbytes


def _narrowed(value: NDArray[Any]) -> NDArray[Any]:
    """The same numbers as bytes where they are whole and small, as check pictures are."""
    if value.dtype.kind != "f" or not np.array_equal(value, value.astype(np.int8)):
        return value
    return value.astype(np.int8)
