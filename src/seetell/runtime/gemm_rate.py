"""How fast this machine multiplies matrices: measured once, in a moment, and kept in the cache.

The engine that runs models is asked: OpenVINO, in the precision ``auto`` takes here. Other programs can
only slow a measurement down, so the best of many short runs counts, and a better one found later replaces
what was kept.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from seetell.core.errors import EngineError, StorageError, UsageError
from seetell.core.files import atomic_write_text, cache_folder
from seetell.core.processors import described
from seetell.runtime.graphs import first_line

RatePrecision = Literal["fp32", "bf16"]

# The attention projection of a ViT-B/16: 197 tokens of width 768, a quarter of a GFLOP, a millisecond or two.
# Short, so that on a busy machine some run falls between two interruptions.
TOKENS, WIDTH = 197, 768
FLOPS = 2 * TOKENS * WIDTH * WIDTH

BUDGET_S = 0.8
_LEAST_RUNS = 3
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class GemmRate:
    """A measured rate, in 10^9 floating-point operations a second (a multiply-add is two)."""

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
    run, precision, engine = _runner()
    machine = described()
    path = _cache_path(machine, precision, engine)
    kept = _read(path, machine, precision, engine)
    if kept is not None and not again:
        return kept
    found = GemmRate(FLOPS / _best_time_s(run, budget_s) / 1e9, precision, engine, machine)
    if kept is not None and kept.rate_gflops >= found.rate_gflops:
        return kept
    if path is not None:
        with suppress(StorageError):  # without a cache it is measured again the next time
            atomic_write_text(path, json.dumps({"format": _FORMAT, **asdict(found)}) + "\n")
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


def _runner() -> tuple[Callable[[], Any], RatePrecision, str]:
    """Something that multiplies once per call, its precision, and who does it."""
    try:
        from seetell.runtime import openvino_engine

        openvino = openvino_engine.import_openvino()
    except ImportError:
        return _numpy_runner(), "fp32", f"numpy {np.__version__}"
    try:
        precision: RatePrecision = "bf16" if openvino_engine.has_bf16() else "fp32"
        return _OpenVINORunner(openvino, precision), precision, f"openvino {openvino.get_version()}"
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


def _cache_path(machine: str, precision: str, engine: str) -> Path | None:
    try:
        seetell = metadata.version("seetell")
    except metadata.PackageNotFoundError:
        seetell = "source"
    # Machines of one make may share a home folder, and a person may limit numpy's threads.
    place = (platform.node(), os.environ.get("OMP_NUM_THREADS", ""))
    key = "\n".join((machine, *place, precision, engine, seetell, str(_FORMAT)))
    try:
        return cache_folder() / "rates" / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"
    except StorageError:
        return None


def _read(path: Path | None, machine: str, precision: str, engine: str) -> GemmRate | None:
    """What was kept; None if there is nothing or nothing sensible, which costs a moment and no answer."""
    if path is None:
        return None
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        rate = float(document["rate_gflops"])
        same = (document["format"], document["machine"], document["precision"], document["engine"])
    except (OSError, ValueError, TypeError, KeyError):
        return None
    if same != (_FORMAT, machine, precision, engine) or not (math.isfinite(rate) and rate > 0):
        return None
    return GemmRate(rate, cast("RatePrecision", precision), engine, machine)
