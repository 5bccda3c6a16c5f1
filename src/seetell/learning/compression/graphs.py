"""A role's graph with its weights inside, in the form that quantisers understand.

A bundle's graph casts and transposes each stored weight before it is used. Quantisers look for a constant at
the layer itself, so what depends on weights alone is computed here, batch norms are folded into the
convolutions before them, and where each constant came from is kept: the quantised weight is stored the way
the bundle held it, once for all graphs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from seetell.core.errors import BundleDamaged

# A table of fewer numbers (positions, types) is no place to save bytes in.
_SMALLEST_TABLE = 4096


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a constant of a working graph comes from.

    source: the stored tensor's name. transposed: whether it was turned round on the way. half: whether it
    was stored as float16.
    """

    source: str
    transposed: bool = False
    half: bool = False


@dataclass(frozen=True, slots=True)
class Layer:
    """One use of a weight by a MatMul, Gemm or Conv, or a table that rows are gathered from.

    node: the node's name. data: the activation it reads, None for a table. weight: the constant.
    source: the stored tensor, which other graphs may use too. channel: the constant's axis of outputs; of a
    table, of its rows.
    """

    node: str
    kind: str
    data: str | None
    weight: str
    source: str
    channel: int


@dataclass(slots=True)
class WorkingGraph:
    """model: weights inside, float32. float_bytes: what its weights take as float32."""

    role: str
    model: Any
    origins: dict[str, Origin]
    layers: list[Layer] = field(default_factory=list)
    float_bytes: int = 0

    def constant(self, name: str) -> NDArray[Any]:
        """The value of a constant."""
        for tensor in self.model.graph.initializer:
            if tensor.name == name:
                return np.asarray(numpy_helper.to_array(tensor))
        raise KeyError(name)

    def set_constant(self, name: str, value: NDArray[Any]) -> None:
        """Give a constant another value."""
        for tensor in self.model.graph.initializer:
            if tensor.name == name:
                tensor.CopyFrom(numpy_helper.from_array(np.asarray(value, order="C"), name))
                return
        raise KeyError(name)


def read_graph(path: Path, role: str) -> WorkingGraph:
    """Read a bundle's graph. Raises BundleDamaged when it is no ONNX graph."""
    try:
        model = onnx.load(str(path))
    except Exception as error:  # onnx and protobuf raise many kinds
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise BundleDamaged(f"{path}: cannot be read as a graph ({reason})") from error
    graph = model.graph
    values = {one.name: np.asarray(numpy_helper.to_array(one)) for one in graph.initializer}
    origins = {name: Origin(name, half=value.dtype == np.float16) for name, value in values.items()}
    float_bytes = sum(4 * value.size for value in values.values() if value.dtype.kind == "f")
    _name_nodes(graph)
    nodes = _without_casts(_without_constants(graph.node, values), values, origins)
    nodes = _without_batch_norms(nodes, values, origins, {one.name for one in graph.output})
    used = {name for node in nodes for name in node.input} | {one.name for one in graph.output}
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.value_info[:]  # inferred anew by those who need it
    del graph.initializer[:]
    graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value, order="C"), name)
        for name, value in values.items()
        if name in used
    )
    return WorkingGraph(role, model, origins, list(_layers(nodes, values, origins)), float_bytes)


def attribute(node: Any, name: str, default: Any) -> Any:
    """An attribute of a node."""
    for one in node.attribute:
        if one.name == name:
            return onnx.helper.get_attribute_value(one)
    return default


def drop_unused(model: Any) -> None:
    """Remove nodes and constants that no output needs. Nodes are in order, as ONNX has them."""
    graph = model.graph
    needed = {one.name for one in graph.output}
    kept = []
    for node in reversed(list(graph.node)):
        if needed & set(node.output):
            needed.update(node.input)
            kept.append(node)
    constants = [one for one in graph.initializer if one.name in needed]
    del graph.node[:]
    graph.node.extend(reversed(kept))
    del graph.initializer[:]
    graph.initializer.extend(constants)


def _name_nodes(graph: Any) -> None:
    """Layers are spoken of by their nodes' names, so each node has one of its own."""
    seen: Counter[str] = Counter()
    for node in graph.node:
        name = node.name or f"{node.op_type}_{node.output[0]}"
        seen[name] += 1
        node.name = name if seen[name] == 1 else f"{name}_{seen[name]}"


def _without_constants(nodes: Iterable[Any], values: dict[str, NDArray[Any]]) -> list[Any]:
    """Constants as initialisers: half the nodes of an exported graph, and NNCF's time grows with them."""
    left = []
    for node in nodes:
        value = attribute(node, "value", None) if node.op_type == "Constant" else None
        if value is None:
            left.append(node)
        else:
            values[node.output[0]] = np.asarray(numpy_helper.to_array(value))
    return left


def _without_casts(
    nodes: Iterable[Any], values: dict[str, NDArray[Any]], origins: dict[str, Origin]
) -> list[Any]:
    """Compute what only turns a weight into another dtype or orientation."""
    left = []
    for node in nodes:
        given = node.input[0] if len(node.input) == 1 else ""
        value = values.get(given)
        if given not in origins or value is None or value.dtype.kind != "f":
            left.append(node)
            continue
        if node.op_type not in ("Cast", "Transpose", "Identity"):
            left.append(node)
            continue
        origin = origins[given]
        if node.op_type == "Cast":
            if attribute(node, "to", 0) != onnx.TensorProto.FLOAT:
                left.append(node)
                continue
            value = value.astype(np.float32)
        elif node.op_type == "Transpose":
            order = attribute(node, "perm", list(reversed(range(value.ndim))))
            if list(order) != [1, 0]:
                left.append(node)
                continue
            value = value.T
            origin = Origin(origin.source, not origin.transposed, origin.half)
        values[node.output[0]], origins[node.output[0]] = value, origin
    return left


def _without_batch_norms(
    nodes: list[Any], values: dict[str, NDArray[Any]], origins: dict[str, Origin], outputs: set[str]
) -> list[Any]:
    """Batch norms become part of the convolution before them: one weight to quantise, with their scale."""
    uses = Counter(name for node in nodes for name in node.input)
    makers = {node.output[0]: node for node in nodes}
    renamed: dict[str, str] = {}
    left = []
    for node in nodes:
        conv = makers.get(node.input[0]) if node.op_type == "BatchNormalization" else None
        foldable = (
            conv is not None
            and conv.op_type == "Conv"
            and conv.input[1] in values
            and uses[conv.output[0]] == 1
            and conv.output[0] not in outputs
            and all(name in values for name in node.input[1:5])
        )
        if not foldable or conv is None:
            left.append(node)
            continue
        gain, shift, mean, variance = (values[name].astype(np.float64) for name in node.input[1:5])
        factor = gain / np.sqrt(variance + attribute(node, "epsilon", 1e-5))
        weight = values[conv.input[1]].astype(np.float64)
        had_bias = len(conv.input) > 2
        bias = values[conv.input[2]].astype(np.float64) if had_bias else np.zeros(len(factor))
        source = origins[conv.input[1]]
        folded, folded_bias = f"{source.source}/folded", f"{source.source}/folded_bias"
        values[folded] = (weight * factor.reshape(-1, *[1] * (weight.ndim - 1))).astype(np.float32)
        values[folded_bias] = (shift + (bias - mean) * factor).astype(np.float32)
        origins[folded] = Origin(source.source, half=source.half)
        origins[folded_bias] = Origin(folded_bias)
        conv.input[1] = folded
        if had_bias:
            conv.input[2] = folded_bias
        else:
            conv.input.append(folded_bias)
        # The convolution takes the batch norm's place in what follows.
        renamed[conv.output[0]] = node.output[0]
    for node in left:
        for place, name in enumerate(node.output):
            node.output[place] = renamed.get(name, name)
    return left


def _layers(
    nodes: Iterable[Any], values: dict[str, NDArray[Any]], origins: dict[str, Origin]
) -> Iterator[Layer]:
    for node in nodes:
        if node.op_type in ("MatMul", "Gemm", "Conv"):
            weight = values.get(node.input[1]) if node.input[1] in origins else None
            if weight is None or weight.ndim < 2 or node.input[0] in values:
                continue
            by_rows = node.op_type == "Conv" or (node.op_type == "Gemm" and attribute(node, "transB", 0))
            channel = 0 if by_rows else weight.ndim - 1
            yield Layer(
                node.name,
                node.op_type,
                node.input[0],
                node.input[1],
                origins[node.input[1]].source,
                channel,
            )
        elif node.op_type == "Gather" and attribute(node, "axis", 0) == 0:
            table = values.get(node.input[0]) if node.input[0] in origins else None
            if table is None or table.dtype.kind != "f" or table.ndim != 2 or table.size < _SMALLEST_TABLE:
                continue
            yield Layer(node.name, "Gather", None, node.input[0], origins[node.input[0]].source, 0)
