"""What a bundle costs on this machine: time per graph and peak memory, in a process of its own.

    python -m seetell.learning.compression.footprint FOLDER PRECISION

prints one JSON object. A process of its own, because memory once used by another model cannot be told from
what this one needs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seetell.bundle.manifest import Manifest
from seetell.core.errors import EngineError
from seetell.runtime.usual_inputs import usual_sizes

_WARM, _TIMED = 3, 15
# Two bundles take turns, so that a busy moment of the machine does not count against one of them.
_ROUNDS = 2


@dataclass(frozen=True, slots=True)
class Footprint:
    """latency_ms: role -> median of a run of one: one photo, one text, one step of a caption. peak_memory_mb:
    of a process that runs every graph."""

    latency_ms: dict[str, float]
    peak_memory_mb: float

    @property
    def total_ms(self) -> float:
        """Of one run of every graph."""
        return sum(self.latency_ms.values())


def measure_both(before: tuple[Path, str], after: tuple[Path, str]) -> tuple[Footprint, Footprint]:
    """Footprints of two (folder, precision). Raises EngineError when a process fails."""
    runs: tuple[list[Footprint], list[Footprint]] = ([], [])
    for _ in range(_ROUNDS):
        for found, (folder, precision) in zip(runs, (before, after), strict=True):
            found.append(_in_process(folder, precision))
    return _best(runs[0]), _best(runs[1])


def _best(runs: list[Footprint]) -> Footprint:
    return Footprint(
        {role: min(run.latency_ms[role] for run in runs) for role in runs[0].latency_ms},
        min(run.peak_memory_mb for run in runs),
    )


def measure_one(folder: Path, precision: str) -> Footprint:
    """The footprint of a bundle. Raises EngineError when its process fails."""
    return _in_process(folder, precision)


def _in_process(folder: Path, precision: str) -> Footprint:
    command = [sys.executable, "-m", "seetell.learning.compression.footprint", str(folder), precision]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise EngineError(f"{folder}: time and memory could not be measured at {precision}: {reason}")
    found = json.loads(done.stdout)
    return Footprint(found["latency_ms"], found["peak_memory_mb"])


def measure(folder: Path, precision: str) -> Footprint:
    """Run every graph of a bundle in this process."""
    from seetell.bundle.check import read_check
    from seetell.bundle.store import open_bundle
    from seetell.runtime.select import choose_engine

    bundle = open_bundle(folder)
    engine = choose_engine(bundle, precision=precision, device="cpu")
    latency_ms: dict[str, float] = {}
    for role, recorded in read_check(bundle).items():
        inputs = of_one(bundle.manifest, role, recorded.inputs)
        took = []
        for number in range(_WARM + _TIMED):
            start = time.perf_counter()
            engine.run(role, inputs)
            if number >= _WARM:
                took.append(1000 * (time.perf_counter() - start))
        latency_ms[role] = sorted(took)[len(took) // 2]
    return Footprint(latency_ms, _peak_memory_mb())


def of_one(manifest: Manifest, role: str, recorded: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Inputs of the check set, made those of one photo and one text of usual length: a question, and the step
    in the middle of a caption. What they hold repeats itself; photos keep their size."""
    graph = manifest.graphs[role]  # type: ignore[index]  # roles are words
    sizes = usual_sizes(manifest, role)
    found = {}
    for name, value in recorded.items():
        for axis, size_name in enumerate(graph.inputs[name].axes):
            size = _size(size_name, sizes)
            if size is not None and value.shape[axis]:
                value = value.take(np.arange(size) % value.shape[axis], axis=axis)
        # Rows to go on with: of one there is the first alone.
        found[name] = np.zeros_like(value) if name == "beam_idx" else value
    return found


def _size(axis: int | str, sizes: Mapping[str, int]) -> int | None:
    """How long an axis is to be, as in ``P+T``; None where it stays as recorded."""
    parts = [sizes.get(part) for part in str(axis).split("+")]
    return None if None in parts else sum(part for part in parts if part is not None)


def _peak_memory_mb() -> float:
    """Of this process, in units of 1024 x 1024 bytes."""
    # On Linux not what getrusage says: that remembers the parent a process was forked from.
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024**2 if sys.platform == "darwin" else 1024)


def main() -> int:
    folder, precision = Path(sys.argv[1]), sys.argv[2]
    found = measure(folder, precision)
    print(json.dumps({"latency_ms": found.latency_ms, "peak_memory_mb": found.peak_memory_mb}))
    return 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)
