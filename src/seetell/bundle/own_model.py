"""The built-in model as a candidate: every fact and figure read from its bundle, none typed."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

from safetensors import SafetensorError, safe_open

from seetell.bundle.catalogue import Figure, Purpose, RunPrecision
from seetell.bundle.flops import Work
from seetell.bundle.manifest import Manifest
from seetell.bundle.recommend import MEASURED, MEASURED_SETTING, Candidate
from seetell.bundle.store import Bundle
from seetell.core.errors import BundleDamaged

WEIGHTS_NAME = "model.safetensors"

# Measured sets carry the language of their texts: "flickr8k (zh)", "voc_traffic_zh".
_LANGUAGE = re.compile(r"(?:\(([a-z]{2,3})\)|_([a-z]{2,3}))$")


def own_candidate(
    bundle: Bundle, name: str, precision: RunPrecision, work: Mapping[Purpose, Work]
) -> Candidate:
    """A bundle of this machine as a candidate.

    Args:
        precision: what floats run in here; a bundle that passed its gate runs in int8.
        work: what was counted from its graphs.

    Raises BundleDamaged.
    """
    manifest = bundle.manifest
    runs_in = runs_in_precision(manifest, precision)
    return Candidate(
        name=name,
        tasks=manifest.tasks,
        languages=manifest.languages,
        parameters=count_parameters(bundle),
        licence=manifest.licence,
        precision=runs_in,
        work=work,
        figures=measured_figures(manifest, runs_in),
        here=True,
    )


def runs_in_precision(manifest: Manifest, precision: RunPrecision) -> RunPrecision:
    """What ``auto`` is likely to take for a bundle, where ``precision`` is the faster of floats."""
    has_int8 = any("int8" in graph.files for graph in manifest.graphs.values())
    return "int8" if has_int8 and manifest.gate is not None and manifest.gate.passed else precision


def count_parameters(bundle: Bundle) -> int:
    """The weights a bundle stores. Raises BundleDamaged."""
    path = bundle.path(WEIGHTS_NAME)
    try:
        with safe_open(path, framework="numpy") as file:
            return sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118 (no mapping)
    except (OSError, SafetensorError) as error:
        raise BundleDamaged(f"{path}: not readable as safetensors; copy or convert it again") from error


def measured_figures(manifest: Manifest, precision: RunPrecision) -> tuple[Figure, ...]:
    """The figures of a manifest that a choice is made by, of ``precision`` where it was measured in it."""
    purposes = {metric: purpose for purpose, metrics in MEASURED.items() for metric in metrics}
    rows = [row for row in manifest.measurements if row.metric in purposes]
    # Rows of another precision would stand beside these as if they were of another set.
    same = {(row.metric, row.dataset, row.split) for row in rows if row.precision == precision}
    figures = []
    for row in rows:
        if row.precision != precision and (row.metric, row.dataset, row.split) in same:
            continue
        figures.append(
            Figure(
                task=purposes[row.metric],
                metric=row.metric,
                dataset=f"{row.dataset} {row.split}",
                setting=MEASURED_SETTING,
                language=_language(row.dataset, manifest.languages),
                value=row.value,
                source=f"measured in {row.precision} on {row.machine}, recorded in the model's manifest",
            )
        )
    return tuple(figures)


def _language(dataset: str, languages: Sequence[str]) -> str:
    found = _LANGUAGE.search(dataset)
    named = "" if found is None else found[1] or found[2]
    # After a line may also stand what is no language: "my_set".
    return named if named in languages or (found is not None and found[1]) else "en"
