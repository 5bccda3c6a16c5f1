"""OpenVINO over a folder that is not a bundle yet: how graphs are checked before they become one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seetell.core.errors import ExportError
from seetell.modeling.export.roles.base import RoleModule
from seetell.runtime.engine import Arrays
from seetell.runtime.graphs import first_line
from seetell.runtime.openvino_engine import import_openvino


class PlainOpenVINO:
    """Graphs ``ROLE.onnx`` of a folder at float32: an Engine without a manifest or a cache.

    The folder has a name that is gone afterwards; compiled graphs kept for it would only fill the disk.
    """

    def __init__(self, folder: Path, modules: Iterable[RoleModule]) -> None:
        self._folder = folder
        self._modules = {str(module.role): module for module in modules}
        self._core = import_openvino().Core()
        self._compiled: dict[str, Any] = {}

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
        return frozenset(self._modules[role].inputs) if role in self._modules else frozenset()

    def outputs(self, role: str) -> frozenset[str]:
        return frozenset(self._modules[role].outputs) if role in self._modules else frozenset()

    def run(
        self, role: str, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None
    ) -> Arrays:
        """Raises ExportError where the graph cannot be read or run: it is the graph that is on trial."""
        try:
            if role not in self._compiled:
                exact = {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32"}
                path = self._folder / f"{role}.onnx"
                self._compiled[role] = self._core.compile_model(str(path), "CPU", exact)
            found = self._compiled[role](dict(inputs))
            wanted = sorted(self.outputs(role)) if outputs is None else outputs
            return {name: np.array(found[name]) for name in wanted}
        except Exception as error:  # OpenVINO raises RuntimeError and others from native code
            raise ExportError(f"{role} fails in OpenVINO: {first_line(error)}") from error

    def close(self) -> None:
        self._compiled.clear()
