"""OpenVINO over a folder that is not a bundle yet: how graphs are checked before they become one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seetell.bundle.manifest import GraphSpec, Role
from seetell.core.errors import ExportError
from seetell.runtime.engine import Arrays
from seetell.runtime.graphs import first_line
from seetell.runtime.openvino_engine import import_openvino


class PlainOpenVINO:
    """Graphs ``ROLE.onnx`` of a folder at float32: an Engine without a manifest or a cache.

    One graph is compiled at a time, the one that ran last: each holds its weights anew. The folder has a
    name that is gone afterwards; compiled graphs kept for it would only fill the disk.
    """

    def __init__(self, folder: Path, graphs: Mapping[Role, GraphSpec]) -> None:
        self._folder = folder
        self._graphs = {str(role): graph for role, graph in graphs.items()}
        self._core = import_openvino().Core()
        self._compiled: tuple[str, Any] | None = None

    @property
    def name(self) -> str:
        return "openvino"

    @property
    def precision(self) -> str:
        return "fp32"

    @property
    def device(self) -> str:
        return "cpu"

    def inputs(self, role: str) -> frozenset[str]:
        return frozenset(self._graphs[role].inputs) if role in self._graphs else frozenset()

    def outputs(self, role: str) -> frozenset[str]:
        return frozenset(self._graphs[role].outputs) if role in self._graphs else frozenset()

    def run(
        self, role: str, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None
    ) -> Arrays:
        """Raises ExportError where the graph cannot be read or run: it is the graph that is on trial."""
        try:
            found = self._model(role)(dict(inputs))
            wanted = sorted(self.outputs(role)) if outputs is None else outputs
            return {name: np.array(found[name]) for name in wanted}
        except Exception as error:  # OpenVINO raises RuntimeError and others from native code
            raise ExportError(f"{role} fails in OpenVINO: {first_line(error)}") from error

    def close(self) -> None:
        self._compiled = None

    def _model(self, role: str) -> Any:
        if self._compiled is None or self._compiled[0] != role:
            self._compiled = None  # let go of before the next one is made
            exact = {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32"}
            path = self._folder / f"{role}.onnx"
            self._compiled = (role, self._core.compile_model(str(path), "CPU", exact))
        return self._compiled[1]
