"""What every engine over a bundle's ONNX graphs needs: names, input checks, the bundle's fingerprint."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from seetell.core.errors import EngineError, StorageError
from seetell.core.files import cache_folder

if TYPE_CHECKING:
    from seetell.bundle.manifest import GraphSpec, Manifest
    from seetell.bundle.store import Bundle


class GraphEngine:
    """What a bundle's manifest tells an engine; how its graphs are run is the engine's own.

    Raises PrecisionUnavailable at once, and not only when a graph is first run.
    """

    def __init__(self, bundle: Bundle, precision: str, device: str) -> None:
        for role in bundle.manifest.graphs:
            bundle.graph_path(role, precision)
        self._bundle = bundle
        self._precision = precision
        self._device = device

    @property
    def precision(self) -> str:
        return self._precision

    @property
    def device(self) -> str:
        return self._device

    def inputs(self, role: str) -> frozenset[str]:
        graph = _graph(self._bundle.manifest, role)
        return frozenset() if graph is None else frozenset(graph.inputs)

    def outputs(self, role: str) -> frozenset[str]:
        graph = _graph(self._bundle.manifest, role)
        return frozenset() if graph is None else frozenset(graph.outputs)


def check_inputs(
    manifest: Manifest, role: str, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str]
) -> dict[str, NDArray[Any]]:
    """The inputs in the dtypes the graph declares, contiguous and writable as engines share them.

    Raises EngineError naming what is missing or unknown.
    """
    graph = _graph(manifest, role)
    if graph is None:
        raise EngineError(f"this bundle has no {role}; it has: {', '.join(sorted(manifest.graphs))}")
    missing = sorted(graph.inputs.keys() - inputs.keys())
    unknown = sorted(inputs.keys() - graph.inputs.keys())
    absent = sorted(set(outputs) - graph.outputs.keys())
    if missing:
        raise EngineError(f"{role} needs {', '.join(missing)} as well")
    if unknown:
        raise EngineError(f"{role} takes no {', '.join(unknown)}")
    if absent:
        raise EngineError(f"{role} gives no {', '.join(absent)}")
    return {
        name: np.require(inputs[name], spec.dtype, ["C", "W", "A"]) for name, spec in graph.inputs.items()
    }


def _graph(manifest: Manifest, role: str) -> GraphSpec | None:
    graphs: Mapping[str, GraphSpec] = manifest.graphs  # type: ignore[assignment]  # any word may be asked for
    return graphs.get(role)


def fingerprint(bundle: Bundle, engine_version: str) -> str:
    """16 hex digits that change whenever a file of the bundle or the engine's version does.

    Recorded hashes where the manifest has them; sizes and times of the files as well, because a file
    edited in place keeps its recorded hash.
    """
    digest = hashlib.sha256(engine_version.encode())
    for name, record in sorted(bundle.manifest.files.items()):
        digest.update(f"{name}:{record.sha256}\n".encode())
    for path in sorted(bundle.folder.iterdir()):
        if path.suffix in (".onnx", ".safetensors", ".data"):
            status = path.stat()
            digest.update(f"{path.name}:{status.st_size}:{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def kept_folder(bundle: Bundle, engine: str, engine_version: str) -> Path | None:
    """Where an engine keeps what it made of this very bundle; None where there is no cache.

    It need not exist yet, and may be one that cannot be written.
    """
    try:
        return cache_folder() / engine / fingerprint(bundle, engine_version)
    except (OSError, StorageError):
        return None


def first_line(error: BaseException) -> str:
    """A native engine's message on one line: where its source file stands is of no use to anyone."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    useful = [line for line in lines if not line.startswith(("Exception from", "Check '"))]
    return (useful or lines or [type(error).__name__])[-1][:300]
