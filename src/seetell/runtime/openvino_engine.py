"""The OpenVINO engine: the CPU's default.

OpenVINO's own defaults are not exact (bf16 arithmetic where the processor has it, an 8-bit cache), so
``fp32`` sets both to f32. Compiled graphs are kept in seetell's cache folder, under the hash of the
bundle's files: a bundle that changes can never meet a stale graph.
"""

from __future__ import annotations

import contextlib
import importlib
import shutil
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from seetell.core.errors import DeviceUnavailable, EngineError, PrecisionUnavailable
from seetell.core.locking import in_turn
from seetell.runtime.engine import Arrays
from seetell.runtime.graphs import GraphEngine, check_inputs, first_line, kept_folder
from seetell.runtime.openvino_state import OpenVINOState, make_stateful
from seetell.runtime.states import ROLE, cache_names

if TYPE_CHECKING:
    import openvino

    from seetell.bundle.manifest import Role
    from seetell.bundle.store import Bundle

Floats = Literal["f32", "bf16"]

_IMPORT_LOCK = threading.Lock()
_CONVERTER = "openvino.tools.ovc"


def import_openvino() -> Any:
    """The ``openvino`` module, without its model converter.

    The converter is two thirds of the import's time (0.1 s) and sends a usage event over the network when it
    is imported; a toolkit that works offline wants neither. OpenVINO treats it as optional, and a later
    ``import openvino.tools.ovc`` by anyone else still works.
    """
    with _IMPORT_LOCK:
        if "openvino" in sys.modules or _CONVERTER in sys.modules:
            return importlib.import_module("openvino")
        sys.modules[_CONVERTER] = None  # type: ignore[assignment]  # how Python marks a module as absent
        try:
            return importlib.import_module("openvino")
        finally:
            del sys.modules[_CONVERTER]


def version() -> str:
    """Of OpenVINO, with its build."""
    return str(import_openvino().get_version())


def has_bf16(device: str = "cpu") -> bool:
    """Whether ``device`` can compute in bf16, fast or slowly. Raises DeviceUnavailable."""
    core = import_openvino().Core()
    _check_device(core, device)
    return _computes_bf16(core, device.upper())


def _check_device(core: openvino.Core, device: str) -> None:
    if not _has(core, device.upper()):
        found = ", ".join(name.lower() for name in core.available_devices)
        raise DeviceUnavailable(
            f"OpenVINO finds no {device} here, only: {found} (an NVIDIA GPU needs onnxruntime-gpu)"
        )


def _has(core: openvino.Core, plugin: str) -> bool:
    return any(name.split(".")[0] == plugin for name in core.available_devices)


def _computes_bf16(core: openvino.Core, plugin: str) -> bool:
    return "BF16" in core.get_property(plugin, "OPTIMIZATION_CAPABILITIES")


class OpenVINOEngine(GraphEngine):
    """Runs a bundle's graphs with OpenVINO. Thread-safe; compiles a graph when it is first run.

    Args:
        bundle: gives the graphs.
        precision: ``fp32``, ``bf16`` or ``int8``.
        floats: what an int8 graph leaves in floats is computed in; the other precisions say so themselves.
        decoder_floats: the same of the text decoder, where it is another.
        device: ``cpu`` or ``gpu`` (Intel's).
        threads: processor threads to use, None for all.
        streams: runs of one graph that compute side by side, each on its share of the threads. Together they
            do more, for threads wait for each other less; one run alone takes longer.

    Raises PrecisionUnavailable and DeviceUnavailable, saying what is available.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        precision: str = "fp32",
        floats: Floats = "f32",
        decoder_floats: Floats | None = None,
        device: str = "cpu",
        threads: int | None = None,
        streams: int = 1,
    ) -> None:
        super().__init__(bundle, precision, device)
        self._core: openvino.Core = import_openvino().Core()
        self._plugin = device.upper()
        _check_device(self._core, device)
        if precision != "int8":
            floats, decoder_floats = ("bf16" if precision == "bf16" else "f32"), None
        if "bf16" in (floats, decoder_floats) and not _computes_bf16(self._core, self._plugin):
            raise PrecisionUnavailable(f"this {device} does not compute in bf16; use precision fp32")
        self._properties = self._settings(threads, streams)
        self._floats = floats
        self._decoder_floats = floats if decoder_floats is None else decoder_floats
        self._lock = threading.Lock()
        self._role_locks: dict[str, threading.Lock] = {}
        self._compiled: dict[str, openvino.CompiledModel] = {}
        self._idle: dict[str, list[openvino.InferRequest]] = {}
        self._closed = False

    @property
    def name(self) -> str:
        return "openvino"

    def run(
        self, role: str, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None
    ) -> Arrays:
        wanted = sorted(self.outputs(role)) if outputs is None else outputs
        feeds = check_inputs(self._bundle.manifest, role, inputs, wanted)
        with self._request(role) as request:
            try:
                # Inputs are read in place; outputs are views into the request's memory, which the next
                # run overwrites, so those asked for are copied out.
                found = request.infer(feeds, share_inputs=True, share_outputs=True)
                return {name: np.array(found[name]) for name in wanted}
            except Exception as error:  # OpenVINO raises RuntimeError and others from native code
                raise EngineError(f"{role} failed in OpenVINO: {first_line(error)}") from error

    def decoder_state(self) -> OpenVINOState:
        """A text decoder that keeps its keys and values; each has a memory of its own over the same
        weights."""
        request = self._graph(ROLE, stateful=True).create_infer_request()
        return OpenVINOState(request, lambda: self._closed)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._idle.clear()
            self._compiled.clear()

    def _settings(self, threads: int | None, streams: int) -> dict[str, Any]:
        settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
        if streams > 1:
            settings = {"PERFORMANCE_HINT": "THROUGHPUT", "NUM_STREAMS": str(streams)}
        if self._plugin == "CPU":
            settings["KV_CACHE_PRECISION"] = "f32"
            # A graph with int8 weights alone computes in floats, as its gate measured it; OpenVINO would
            # quantise what such weights are multiplied with while it runs.
            settings["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = "0"
            if threads is not None:
                settings["INFERENCE_NUM_THREADS"] = threads
        return settings

    @contextlib.contextmanager
    def _request(self, role: str) -> Iterator[openvino.InferRequest]:
        """An inference request of this role that nobody else holds."""
        with self._lock:
            if self._closed:
                raise EngineError(f"{role}: this model is closed; load it again")
            idle = self._idle.setdefault(role, [])
            request = idle.pop() if idle else None
        if request is None:
            request = self._graph(role).create_infer_request()
        try:
            yield request
        finally:
            # After a close it is simply dropped.
            with self._lock:
                if not self._closed:
                    idle.append(request)

    def _graph(self, role: str, *, stateful: bool = False) -> openvino.CompiledModel:
        key = f"{role}, stateful" if stateful else role
        with self._lock:
            if self._closed:
                raise EngineError(f"{role}: this model is closed; load it again")
            lock = self._role_locks.setdefault(key, threading.Lock())
        with lock:  # one compilation per role, and other roles go on meanwhile
            if key not in self._compiled:
                self._compiled[key] = self._compile(role, stateful)
            return self._compiled[key]

    def _compile(self, role: str, stateful: bool) -> openvino.CompiledModel:
        path = self._bundle.graph_path(cast("Role", role), self._precision)
        graph: Any = str(path)
        floats = self._decoder_floats if role == "text_decoder" else self._floats
        properties = {**self._properties, "INFERENCE_PRECISION_HINT": floats}
        cache = self._cache_folder()
        if cache is not None:
            try:
                # A compiled graph is written where it will lie and mapped into memory when it is read: a
                # process that read what another is writing would be ended by the system (SIGBUS).
                with in_turn(cache / f"{role}.lock"):
                    graph = self._read(path, role) if stateful else graph
                    return self._core.compile_model(
                        graph, self._plugin, {**properties, "CACHE_DIR": str(cache)}
                    )
            except Exception:
                # A damaged or unwritable cache must cost time, never an answer. Whatever else is wrong
                # shows again without it, just below.
                shutil.rmtree(cache, ignore_errors=True)
        try:
            graph = self._read(path, role) if stateful else graph
            return self._core.compile_model(graph, self._plugin, properties)
        except Exception as error:
            # A damaged file fails in many obscure ways; the recorded hashes say which one it is.
            self._bundle.verify(full=True)
            raise EngineError(f"{role} ({path.name}) cannot be compiled: {first_line(error)}") from error

    def _read(self, path: Path, role: str) -> openvino.Model:
        """The graph with its caches inside."""
        model = self._core.read_model(str(path))
        make_stateful(model, cache_names(self._bundle.manifest.graphs[cast("Role", role)]))
        return model

    def _cache_folder(self) -> Path | None:
        """Where compiled graphs of this very bundle go; None where nothing can be written."""
        folder = kept_folder(self._bundle, self.name, version())
        try:
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            return None
        return folder
