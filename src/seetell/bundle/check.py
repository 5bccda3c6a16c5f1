"""A bundle's recorded check set against an engine: does it compute here what it computed where it was made?

``check.safetensors`` holds, for each role, one set of inputs and the fp32 outputs, under flat names
``ROLE/input/NAME`` and ``ROLE/output/NAME``. ``seetell doctor`` and every conversion run it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from seetell.bundle.store import Bundle
from seetell.core.errors import BundleDamaged

CHECK_NAME = "check.safetensors"


class Runner(Protocol):
    """The part of an engine that a check needs."""

    def run(
        self, role: str, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None
    ) -> dict[str, NDArray[Any]]:
        """Run one graph."""
        ...


@dataclass(frozen=True, slots=True)
class Difference:
    """How far one output lies from the record. ``max_abs_diff`` is infinite for another shape or NaN."""

    role: str
    output: str
    max_abs_diff: float


@dataclass(slots=True)
class Recorded:
    """What is recorded of one role."""

    inputs: dict[str, NDArray[Any]] = field(default_factory=dict)
    outputs: dict[str, NDArray[Any]] = field(default_factory=dict)


def read_check(bundle: Bundle) -> dict[str, Recorded]:
    """The recorded inputs and outputs per role; empty when the bundle was made without a check set.

    Raises BundleDamaged when the file is no safetensors file or holds other names than it should.
    """
    # Imported here: only doctor and conversions need it.
    from safetensors import SafetensorError
    from safetensors.numpy import load

    if CHECK_NAME not in bundle.manifest.files and not (bundle.folder / CHECK_NAME).exists():
        return {}
    path = bundle.path(CHECK_NAME)
    try:
        tensors = load(path.read_bytes())
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        raise BundleDamaged(f"{path}: cannot be read ({error})") from error
    roles: dict[str, Recorded] = {}
    for key, value in tensors.items():
        role, _, rest = key.partition("/")
        side, _, name = rest.partition("/")
        if role not in bundle.manifest.graphs or side not in ("input", "output") or not name:
            raise BundleDamaged(f"{path}: holds {key!r}, which names no input or output of this bundle")
        recorded = roles.setdefault(role, Recorded())
        (recorded.inputs if side == "input" else recorded.outputs)[name] = value
    return roles


def run_check(bundle: Bundle, engine: Runner) -> list[Difference]:
    """Run every role of the check set and compare. Empty when the bundle has none.

    Raises BundleDamaged, and EngineError from the engine.
    """
    differences = []
    for role, recorded in read_check(bundle).items():
        results = engine.run(role, recorded.inputs, sorted(recorded.outputs))
        for name, expected in sorted(recorded.outputs.items()):
            differences.append(Difference(role, name, max_abs_diff(results[name], expected)))
    return differences


def run_cosines(
    bundle: Bundle, engine: Runner, wanted: Mapping[str, Sequence[str]] | None = None
) -> dict[tuple[str, str], float]:
    """(role, output) -> cosine with the record, for floating outputs: what int8 graphs are judged by, which
    give other numbers but must point the same way.

    wanted: outputs by role, None for all there are.

    Raises BundleDamaged, and EngineError from the engine.
    """
    found = {}
    for role, recorded in read_check(bundle).items():
        names = sorted(name for name, value in recorded.outputs.items() if value.dtype.kind == "f")
        if wanted is not None:
            names = [name for name in names if name in wanted.get(role, ())]
        results = engine.run(role, recorded.inputs, names) if names else {}
        found.update({(role, name): cosine(results[name], recorded.outputs[name]) for name in names})
    return found


def cosine(found: NDArray[Any], expected: NDArray[Any]) -> float:
    """Cosine of two arrays as vectors, over what is finite in both; 1.0 for two of zeros, NaN where one side
    alone is NaN or shapes differ."""
    if found.shape != expected.shape or np.any(np.isnan(found) != np.isnan(expected)):
        return float("nan")
    finite = np.isfinite(found) & np.isfinite(expected)
    left, right = found[finite].astype(np.float64), expected[finite].astype(np.float64)
    lengths = float(np.linalg.norm(left) * np.linalg.norm(right))
    if lengths == 0:
        return float(np.array_equal(left, right))
    return float(left @ right) / lengths


def max_abs_diff(found: NDArray[Any], expected: NDArray[Any]) -> float:
    """The largest absolute difference, equal infinities counting as equal; infinite where shapes differ or
    only one side is NaN."""
    if found.shape != expected.shape:
        return float("inf")
    if found.size == 0:
        return 0.0
    left, right = found.astype(np.float64), expected.astype(np.float64)
    same = (left == right) | (np.isnan(left) & np.isnan(right))
    with np.errstate(invalid="ignore"):
        distance = np.where(same, 0.0, np.abs(left - right))
    return float(np.nan_to_num(distance, nan=np.inf, posinf=np.inf).max())
