"""What each stage did, as plain types: what its record and the report hold."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from seetell.learning.compression.calibration import Calibration
from seetell.learning.compression.quantising import Attempt, Quantised, count_levels

if TYPE_CHECKING:
    from seetell.learning.compression.merging import Merged
    from seetell.learning.compression.pruning.prune import Pruned


def of_pruning(pruned: Pruned) -> dict[str, Any]:
    """share: of what ``measure`` names. trials: how a share of the time was come to, shares of the arithmetic
    left out and of the time left. estimated_cost: part -> its share of all that was left out, the largest
    first."""
    return {
        "share": pruned.wish.share,
        "measure": pruned.wish.measure,
        "budget": pruned.wish.budget,
        "trials": [{"left_out": round(one.left_out, 4), "time": round(one.time, 4)} for one in pruned.trials],
        "calibration": _calibration(pruned.calibration),
        "layers_dropped": list(pruned.dropped),
        "kept": {name: {"kept": left, "of": of} for name, (left, of) in pruned.kept.items()},
        "estimated_cost": {name: round(part, 4) for name, part in pruned.costly.items()},
    }


def of_merging(merged: Merged) -> dict[str, Any]:
    """image_tokens: of a photo."""
    return {
        "in_every_block": merged.count,
        "image_tokens": {"before": merged.before, "after": merged.after},
    }


def of_quantising(quantised: Quantised) -> dict[str, Any]:
    """graphs: role -> bytes of its weights now and as float32. layers: those above int8. sensitivity: the
    most sensitive layer first, empty where none was measured. tried: each attempt, in order."""
    last = quantised.last
    return {
        "profile": quantised.profile,
        "calibration": _calibration(quantised.calibration),
        "smoothed_groups": quantised.smoothed,
        "graphs": {
            role: {
                "fp32_weights_bytes": last.packed.float_bytes[role],
                "weights_bytes": last.packed.weights_bytes[role],
                "share": round(last.packed.weights_bytes[role] / max(1, last.packed.float_bytes[role]), 4),
            }
            for role in last.packed.files
        },
        "counts": count_levels(last.levels),
        "layers": {source: level for source, level in sorted(last.levels.items()) if level != "int8"},
        "sensitivity": [
            {"layer": one.source, "role": one.role, "error": _finite(one.error)} for one in quantised.ranking
        ],
        "tried": [_attempt(one) for one in quantised.tried],
    }


def _attempt(one: Attempt) -> dict[str, Any]:
    return {
        "layers": count_levels(one.levels),
        "weights_bytes": sum(one.packed.weights_bytes.values()),
        "size_bytes": one.size_bytes,
        "latency_ms": round(one.footprint.total_ms, 4),
        "peak_memory_mb": round(one.footprint.peak_memory_mb, 1),
        "metrics": {metric: _finite(value.value) for metric, value in one.quality.items()},
        "passed": one.passed,
    }


def _calibration(calibration: Calibration) -> dict[str, Any]:
    return {
        "photos": calibration.n_photos,
        "unreadable": len(calibration.failed),
        "texts": calibration.n_texts,
        "texts_from": calibration.texts_from,
        "runs": {role: len(some) for role, some in calibration.samples.items()},
    }


def _finite(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None
