"""Which layers int8 hurts: what each changes alone, the rest of its graph in floats."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from seetell.learning.compression.graphs import WorkingGraph
from seetell.learning.compression.levels import Level, run_model, simulated
from seetell.runtime.engine import Arrays

# Runs of a graph that a layer is judged by.
_RUNS = 6


@dataclass(frozen=True, slots=True)
class LayerError:
    """error: root mean square change of the role's outputs over theirs, mean over outputs, when only this
    layer is quantised; the largest over the roles that use it, and which."""

    source: str
    role: str
    error: float


def rank_layers(
    graphs: Mapping[str, WorkingGraph],
    calibrated: Mapping[str, Any],
    samples: Mapping[str, Sequence[Arrays]],
    start: Mapping[str, Level],
    track: Callable[[Iterable[str]], Iterable[str]] = iter,
) -> list[LayerError]:
    """All layers that ``start`` quantises, the most sensitive first. Roles without samples are left out."""
    worst: dict[str, LayerError] = {}
    work = [role for role in graphs if samples.get(role)]
    for role in track(work):
        graph, some = graphs[role], _spread(samples[role])
        reference = run_model(graph.model, some)
        floats: dict[str, Level] = {layer.source: "float" for layer in graph.layers}
        for source in sorted(floats):
            if start[source] == "float":
                continue
            model = simulated(graph, calibrated.get(role), {**floats, source: start[source]})
            error = relative_error(reference, run_model(model, some))
            if source not in worst or error > worst[source].error:
                worst[source] = LayerError(source, role, error)
    return sorted(worst.values(), key=lambda one: (-one.error, one.source))


def _spread(samples: Sequence[Arrays]) -> list[Arrays]:
    places = np.linspace(0, len(samples) - 1, min(_RUNS, len(samples))).round().astype(int)
    return [samples[place] for place in places]


def relative_error(reference: Sequence[Arrays], found: Sequence[Arrays]) -> float:
    """Root mean square of the change over that of the reference, mean over floating outputs; infinite for
    what is no number."""
    changes: dict[str, float] = defaultdict(float)
    sizes: dict[str, float] = defaultdict(float)
    for before, after in zip(reference, found, strict=True):
        for name, value in before.items():
            if value.dtype.kind != "f":
                continue
            finite = np.isfinite(value)
            gap = np.where(finite, after[name].astype(np.float64) - np.where(finite, value, 0.0), 0.0)
            changes[name] += float(np.square(gap).sum())
            sizes[name] += float(np.square(np.where(finite, value, 0.0).astype(np.float64)).sum())
    errors = [np.sqrt(changes[name] / sizes[name]) for name in sizes if sizes[name] > 0]
    error = float(np.mean(errors)) if errors else 0.0
    return error if np.isfinite(error) else float("inf")
