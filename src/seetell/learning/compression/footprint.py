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
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from seetell.core.errors import EngineError

_WARM, _TIMED = 3, 15
# The two bundles take turns, so that a busy moment of the machine does not count against one of them.
_ROUNDS = 2


@dataclass(frozen=True, slots=True)
class Footprint:
    """latency_ms: role -> median of a run of the check set's inputs. peak_memory_mb: of a process that runs
    every graph."""

    latency_ms: dict[str, float]
    peak_memory_mb: float


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


def _in_process(folder: Path, precision: str) -> Footprint:
    command = [sys.executable, "-m", "seetell.learning.compression.footprint", str(folder), precision]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise EngineError(f"{folder}: time and memory could not be measured at {precision}: {reason}")
    found = json.loads(done.stdout)
    return Footprint(found["latency_ms"], found["peak_memory_mb"])


def measure(folder: Path, precision: str) -> Footprint:
    """Run every graph of a bundle in this process, on the inputs of its check set."""
    from seetell.bundle.check import read_check
    from seetell.bundle.store import open_bundle
    from seetell.runtime.select import choose_engine

    bundle = open_bundle(folder)
    engine = choose_engine(bundle, precision=precision, device="cpu")
    latency_ms: dict[str, float] = {}
    for role, recorded in read_check(bundle).items():
        took = []
        for number in range(_WARM + _TIMED):
            start = time.perf_counter()
            engine.run(role, recorded.inputs)
            if number >= _WARM:
                took.append(1000 * (time.perf_counter() - start))
        latency_ms[role] = sorted(took)[len(took) // 2]
    return Footprint(latency_ms, _peak_memory_mb())


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
