"""How fast this machine multiplies matrices: measured once, in a moment, and kept in the cache.

The engine that runs models is asked: OpenVINO, in fp32 and in bf16 where the processor can compute in it, and
the faster is the rate; a processor that lists bf16 may be twice as fast without it. Other programs can only
slow a measurement down, so the best of many short runs counts, and a better one found later replaces what was
kept.
"""

from __future__ import annotations

import hashlib
import math
import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from seetell.core.errors import EngineError, StorageError, UsageError
from seetell.core.files import cache_folder
from seetell.core.kept import keep, read_kept
from seetell.core.processors import described
from seetell.runtime.graphs import first_line

RatePrecision = Literal["fp32", "bf16"]

# The attention projection of a ViT-B/16: 197 tokens of width 768, a quarter of a GFLOP, a millisecond or two.
# Short, so that on a busy machine some run falls between two interruptions.
TOKENS, WIDTH = 197, 768
FLOPS = 2 * TOKENS * WIDTH * WIDTH

BUDGET_S = 0.8
_LEAST_RUNS = 3
_FORMAT = 2


@dataclass(frozen=True, slots=True)
class GemmRate:
    """A measured rate, in 10^9 floating-point operations a second (a multiply-add is two), and the precision
    that reaches it."""

    rate_gflops: float
    precision: RatePrecision
    engine: str
    machine: str


def measure_gemm_rate(*, budget_s: float = BUDGET_S, again: bool = False) -> GemmRate:
    """The rate of this machine, from the cache or measured now.

    Args:
        budget_s: time for the runs; starting the engine and compiling comes on top.
        again: measure even though the cache has a rate. The better of the two is kept and returned.

    Raises EngineError if neither OpenVINO nor numpy can multiply.
    """
    if not (math.isfinite(budget_s) and budget_s > 0):
        raise UsageError(f"budget_s is a time above 0, not {budget_s}")
    runs, engine = _runners()
    machine = described()
    path = _cache_path(machine, engine)
    kept = _read(path, machine, engine)
    if kept is not None and not again:
        return kept
    took_s = {precision: _best_time_s(run, budget_s / len(runs)) for precision, run in runs.items()}
    fastest = min(took_s, key=took_s.__getitem__)
    found = GemmRate(FLOPS / took_s[fastest] / 1e9, fastest, engine, machine)
    if kept is not None and kept.rate_gflops >= found.rate_gflops:
        return kept
    keep(path, {"format": _FORMAT, **asdict(found)})
    return found


def _best_time_s(run: Callable[[], Any], budget_s: float) -> float:
    run()  # the first one also allocates
    best, runs, start = math.inf, 0, time.perf_counter()
    while runs < _LEAST_RUNS or time.perf_counter() - start < budget_s:
        before = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - before)
        runs += 1
    return max(best, 1e-9)


def _runners() -> tuple[Mapping[RatePrecision, Callable[[], Any]], str]:
    """Something that multiplies once per call, by precision, and who does it."""
    try:
        from seetell.runtime import openvino_engine

        openvino = openvino_engine.import_openvino()
    except ImportError:
        return {"fp32": _numpy_runner()}, f"numpy {np.__version__}"
    try:
        precisions = get_args(RatePrecision) if openvino_engine.has_bf16() else ("fp32",)
        runs = {precision: _OpenVINORunner(openvino, precision) for precision in precisions}
        return runs, f"openvino {openvino_engine.version()}"
    except Exception as error:  # OpenVINO raises RuntimeError and others from native code
        raise EngineError(f"OpenVINO cannot multiply matrices here: {first_line(error)}") from error


class _OpenVINORunner:
    """Compiles when it is first called: a rate found in the cache must not cost a compilation."""

    def __init__(self, openvino: Any, precision: RatePrecision) -> None:
        self._ov = openvino
        self._precision = precision
        self._request: Any = None
        self._input = _matrix(TOKENS, WIDTH)

    def __call__(self) -> None:
        try:
            if self._request is None:
                self._request = self._compile()
            self._request.infer({0: self._input}, share_inputs=True, share_outputs=True)
        except Exception as error:  # OpenVINO raises RuntimeError and others from native code
            raise EngineError(f"OpenVINO cannot multiply matrices here: {first_line(error)}") from error

    def _compile(self) -> Any:
        from openvino import opset13

        tokens = opset13.parameter([TOKENS, WIDTH], np.float32)
        # The weight is a constant, as in a model: the engine may lay it out as it likes best.
        product = opset13.matmul(tokens, opset13.constant(_matrix(WIDTH, WIDTH)), False, True)
        hint = "bf16" if self._precision == "bf16" else "f32"
        properties = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": hint}
        compiled = self._ov.Core().compile_model(self._ov.Model([product], [tokens]), "CPU", properties)
        return compiled.create_infer_request()


def _numpy_runner() -> Callable[[], Any]:
    tokens, weight = _matrix(TOKENS, WIDTH), _matrix(WIDTH, WIDTH)
    return lambda: tokens @ weight


def _matrix(rows: int, columns: int) -> NDArray[np.float32]:
    """Ordinary numbers: zeros or denormals would not run at the usual pace."""
    return np.random.default_rng(0).standard_normal((rows, columns), dtype=np.float32)


def _cache_path(machine: str, engine: str) -> Path | None:
    try:
        seetell = metadata.version("seetell")
    except metadata.PackageNotFoundError:
        seetell = "source"
    # Machines of one make may share a home folder, and a person may limit numpy's threads.
    place = (platform.node(), os.environ.get("OMP_NUM_THREADS", ""))
    key = "\n".join((machine, *place, engine, seetell, str(_FORMAT)))
    try:
        return cache_folder() / "rates" / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"
    except StorageError:
        return None


def _read(path: Path | None, machine: str, engine: str) -> GemmRate | None:
    """What was kept; None if there is nothing or nothing sensible, which costs a moment and no answer."""
    document = read_kept(path) or {}
    same = tuple(document.get(key) for key in ("format", "machine", "engine")) == (_FORMAT, machine, engine)
    known: tuple[RatePrecision, ...] = get_args(RatePrecision)
    precision = next((one for one in known if one == document.get("precision")), None)
    try:
        rate = float(document["rate_gflops"])
    except (KeyError, TypeError, ValueError):
        return None
    if precision is None or not same or not (math.isfinite(rate) and rate > 0):
        return None
    return GemmRate(rate, precision, engine, machine)
