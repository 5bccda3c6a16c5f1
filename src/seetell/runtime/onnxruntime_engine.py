"""The ONNX Runtime engine: NVIDIA GPUs, processors OpenVINO does not know, and a second opinion in tests.

Reads the same graphs as OpenVINO does. Runs them at fp32 (TF32 off) or int8.
"""

from __future__ import annotations

import ctypes
import importlib.util
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from seetell.core.errors import DeviceUnavailable, EngineError, MissingExtra, PrecisionUnavailable
from seetell.runtime.engine import Arrays
from seetell.runtime.graphs import GraphEngine, check_inputs, first_line

if TYPE_CHECKING:
    from seetell.bundle.manifest import Role
    from seetell.bundle.store import Bundle

_CUDA = "CUDAExecutionProvider"
_ONLY_ERRORS = 3


def installed() -> bool:
    """Whether ONNX Runtime is installed, without importing it."""
    return importlib.util.find_spec("onnxruntime") is not None


def has_cuda() -> bool:
    """Whether an NVIDIA GPU is here and this ONNX Runtime was built for it."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0 or count.value == 0:
        return False
    return installed() and _CUDA in _import().get_available_providers()


def version() -> str:
    """Of ONNX Runtime. Raises MissingExtra."""
    return str(_import().__version__)


def _import() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtra("onnxruntime", "onnxruntime", "to run graphs without OpenVINO") from error
    return onnxruntime


class ONNXRuntimeEngine(GraphEngine):
    """Runs a bundle's graphs with ONNX Runtime. Thread-safe; loads a graph when it is first run.

    Args:
        bundle: gives the graphs.
        precision: ``fp32`` or ``int8``.
        device: ``cpu`` or ``gpu`` (NVIDIA's).
        threads: processor threads to use, None for all.

    Raises PrecisionUnavailable, DeviceUnavailable and MissingExtra.
    """

    def __init__(
        self, bundle: Bundle, *, precision: str = "fp32", device: str = "cpu", threads: int | None = None
    ) -> None:
        super().__init__(bundle, precision, device)
        if precision not in ("fp32", "int8"):
            raise PrecisionUnavailable(f"ONNX Runtime does not run {precision} here; use fp32")
        self._runtime = _import()
        if device == "gpu" and not has_cuda():
            raise DeviceUnavailable("ONNX Runtime (onnxruntime-gpu) finds no NVIDIA GPU; use device cpu")
        self._options = self._runtime.SessionOptions()
        self._options.log_severity_level = _ONLY_ERRORS
        # int8 weights alone: computed in floats, as the gate measured them (1), and not in int8 (4).
        self._options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "1")
        if threads is not None:
            self._options.intra_op_num_threads = threads
        self._lock = threading.Lock()
        self._sessions: dict[str, Any] = {}
        self._closed = False

    @property
    def name(self) -> str:
        return "onnxruntime"

    def run(
        self, role: str, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None
    ) -> Arrays:
        wanted = sorted(self.outputs(role)) if outputs is None else list(outputs)
        feeds = check_inputs(self._bundle.manifest, role, inputs, wanted)
        session = self._session(role)
        try:
            found = session.run(wanted, feeds)
        except Exception as error:  # ONNX Runtime's exceptions share no public base
            raise EngineError(f"{role} failed in ONNX Runtime: {first_line(error)}") from error
        return {name: np.asarray(value) for name, value in zip(wanted, found, strict=True)}

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._sessions.clear()

    def _session(self, role: str) -> Any:
        with self._lock:
            if self._closed:
                raise EngineError(f"{role}: this model is closed; load it again")
            if role not in self._sessions:
                self._sessions[role] = self._load(role)
            return self._sessions[role]

    def _load(self, role: str) -> Any:
        path = self._bundle.graph_path(cast("Role", role), self._precision)
        providers: list[Any] = ["CPUExecutionProvider"]
        if self._device == "gpu":
            providers.insert(0, (_CUDA, {"use_tf32": "0"}))
        try:
            session = self._runtime.InferenceSession(str(path), self._options, providers=providers)
        except Exception as error:  # as above
            # A damaged file fails in many obscure ways; the recorded hashes say which one it is.
            self._bundle.verify(full=True)
            raise EngineError(f"{role} ({path.name}) cannot be loaded: {first_line(error)}") from error
        if self._device == "gpu" and session.get_providers()[0] != _CUDA:
            # It would go on silently on the processor.
            raise DeviceUnavailable("ONNX Runtime could not start on the GPU (CUDA or cuDNN is missing)")
        return session
