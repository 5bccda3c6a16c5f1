"""Moving outliers from activations into weights before they are quantised (SmoothQuant, Xiao et al. 2023).

Channel j of an activation is divided by s_j = max|X_j|^a / max|W_j|^(1-a) and the weights that read it are
multiplied by it: the same function, of ranges that int8 holds better. NNCF does this graph by graph, but a
bundle stores a weight once and several graphs use it, so the scale is made here from all of them together.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from seetell.learning.compression.graphs import Layer, WorkingGraph, drop_unused
from seetell.learning.compression.levels import run_model
from seetell.runtime.engine import Arrays

# Between activations (1) and weights (0); the paper's value for most models.
STRENGTH = 0.5
# A channel that hardly ever speaks must not be blown up.
_FLOOR = 1e-4


def smooth(
    graphs: Mapping[str, WorkingGraph],
    samples: Mapping[str, Sequence[Arrays]],
    strength: float = STRENGTH,
) -> int:
    """Rewrite the graphs in place; returns how many groups of layers were smoothed.

    A group is what shares a scale: all layers that read one activation, and all uses of their weights in
    every graph. Groups are left alone when a graph of theirs has no samples, or a table is tied to one of
    their weights. A scale becomes part of the norm that makes the activation where nothing else reads it,
    else a multiplication before the layers.
    """
    peaks = {role: _activation_peaks(graphs[role], samples[role]) for role in graphs if samples.get(role)}
    tables = {one.source for graph in graphs.values() for one in graph.layers if one.data is None}
    smoothed = 0
    for group in _groups(graphs):
        if any(layer.source in tables or role not in peaks for role, layer in group):
            continue
        activation = np.max([peaks[role][str(layer.data)] for role, layer in group], axis=0)
        weight = np.max([_input_peaks(graphs[role], layer) for role, layer in group], axis=0)
        scale = _scale(activation, weight, strength)
        if scale is None:
            continue
        _apply(graphs, group, scale)
        smoothed += 1
    for graph in graphs.values():
        drop_unused(graph.model)
    return smoothed


def _groups(graphs: Mapping[str, WorkingGraph]) -> list[list[tuple[str, Layer]]]:
    """Linear layers joined by a common activation or a common weight, in any graph."""
    layers = [
        (role, layer)
        for role, graph in graphs.items()
        for layer in graph.layers
        if layer.kind in ("MatMul", "Gemm")
    ]
    parent: dict[tuple[str, ...], tuple[str, ...]] = {}

    def root(key: tuple[str, ...]) -> tuple[str, ...]:
        while parent.setdefault(key, key) != key:
            key = parent[key]
        return key

    for role, layer in layers:
        parent[root((role, str(layer.data)))] = root((layer.source,))
    groups: dict[tuple[str, ...], list[tuple[str, Layer]]] = defaultdict(list)
    for role, layer in layers:
        groups[root((layer.source,))].append((role, layer))
    return list(groups.values())


def _scale(
    activation: NDArray[np.float32], weight: NDArray[np.float32], strength: float
) -> NDArray[np.float32] | None:
    if not np.all(np.isfinite(activation)) or activation.max() <= 0:
        return None
    loud = np.maximum(activation, _FLOOR * float(activation.max()))
    least = max(float(weight.max()) * _FLOOR, float(np.finfo(np.float32).tiny))
    heavy = np.maximum(weight, least)
    scale = loud**strength / heavy ** (1 - strength)
    # Only ratios between channels matter; around 1 floats keep their precision.
    return np.asarray(scale / np.exp(np.mean(np.log(scale))), np.float32)


def _input_peaks(graph: WorkingGraph, layer: Layer) -> NDArray[np.float32]:
    """float32[inputs]: the largest weight that reads each channel."""
    return np.asarray(np.abs(graph.constant(layer.weight)).max(axis=layer.channel), np.float32)


def _activation_peaks(graph: WorkingGraph, samples: Sequence[Arrays]) -> dict[str, NDArray[np.float32]]:
    """The largest value per channel of each activation that a linear layer reads."""
    names = sorted({str(one.data) for one in graph.layers if one.kind in ("MatMul", "Gemm")})
    given = {one.name for one in graph.model.graph.input}
    model = copy.deepcopy(graph.model)
    have = {one.name for one in model.graph.output}
    model.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
        for name in names
        if name not in have | given
    )
    asked = [name for name in names if name not in given]
    found = run_model(model, samples, asked) if asked else [{} for _ in samples]
    peaks: dict[str, NDArray[np.float32]] = {}
    for sample, computed in zip(samples, found, strict=True):
        for name in names:
            value = computed[name] if name in computed else sample[name]
            rows = np.abs(value).reshape(-1, value.shape[-1])
            peak = np.asarray(rows.max(axis=0, initial=0.0), np.float32)
            peaks[name] = np.maximum(peaks[name], peak) if name in peaks else peak
    return peaks


def _apply(
    graphs: Mapping[str, WorkingGraph], group: Sequence[tuple[str, Layer]], scale: NDArray[np.float32]
) -> None:
    done: set[tuple[str, str]] = set()
    readers: dict[tuple[str, str], list[Layer]] = defaultdict(list)
    for role, layer in group:
        readers[role, str(layer.data)].append(layer)
        if (role, layer.weight) in done:
            continue
        done.add((role, layer.weight))
        weight = graphs[role].constant(layer.weight)
        shape = [-1, 1] if layer.channel == 1 else [1, -1]
        graphs[role].set_constant(layer.weight, (weight * scale.reshape(shape)).astype(np.float32))
    for (role, data), layers in readers.items():
        if not _into_norm(graphs[role], data, layers, scale):
            _multiply(graphs[role], data, layers, scale)


def _into_norm(graph: WorkingGraph, data: str, layers: Sequence[Layer], scale: NDArray[np.float32]) -> bool:
    """Divide the gain and shift of the layer norm that makes ``data``, if only these layers read it."""
    nodes = {layer.node for layer in layers}
    proto = graph.model.graph
    if data in {one.name for one in proto.output}:
        return False
    if any(data in node.input and node.name not in nodes for node in proto.node):
        return False
    norm = next((node for node in proto.node if data in node.output), None)
    if norm is None or norm.op_type != "LayerNormalization":
        return False
    constants = {one.name: one for one in proto.initializer}
    if any(name not in constants for name in norm.input[1:]):
        return False
    for place, name in enumerate(norm.input[1:], start=1):
        value = numpy_helper.to_array(constants[name])
        if value.shape != scale.shape:
            return False
        own = f"{name}/smooth/{norm.name}"  # the norm's constants may serve another norm, too
        proto.initializer.append(numpy_helper.from_array((value / scale).astype(np.float32), own))
        norm.input[place] = own
    return True


def _multiply(graph: WorkingGraph, data: str, layers: Sequence[Layer], scale: NDArray[np.float32]) -> None:
    proto = graph.model.graph
    inverse, smoothed = f"{data}/smooth", f"{data}/smoothed"
    proto.initializer.append(numpy_helper.from_array((1 / scale).astype(np.float32), inverse))
    node = onnx.helper.make_node("Mul", [data, inverse], [smoothed], name=f"{data}/smoothing")
    names = {layer.node for layer in layers}
    first = min(place for place, one in enumerate(proto.node) if one.name in names)
    for one in proto.node:
        if one.name in names:
            one.input[0] = smoothed
    proto.node.insert(first, node)
    graph.layers[:] = [
        Layer(one.node, one.kind, smoothed, one.weight, one.source, one.channel) if one.node in names else one
        for one in graph.layers
    ]
