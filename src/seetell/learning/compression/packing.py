"""Writing compressed graphs: int8 weights stored once in ``model.safetensors``, graphs pointing into it.

A weight is stored the way the bundle held it, [out, in], whatever way round its layers read it: a Transpose
of int8 values, which engines fold, then the DequantizeLinear that layers need in front of them. Rows of a
table are gathered as int8 and only then multiplied by their scales.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from seetell.bundle.manifest import GraphSpec, Role
from seetell.bundle.store import Bundle
from seetell.bundle.tensor_file import write_tensors
from seetell.core.errors import ExportError
from seetell.learning.compression.graphs import Layer, WorkingGraph, drop_unused
from seetell.learning.compression.levels import Levels, at_levels, quantise_weight

WEIGHTS_NAME = "model.safetensors"
INT8_WEIGHTS_NAME = "model.int8.safetensors"
# Smaller constants stay in the graph: a reference costs as much as they do.
_INLINE_BYTES = 256
_DTYPES = {"int8": "I8", "float16": "F16", "float32": "F32", "float64": "F64"}


@dataclass(slots=True)
class Store:
    """Tensors to store, each content once. ``used`` tells which role refers to which."""

    tensors: dict[str, NDArray[Any]] = field(default_factory=dict)
    used: dict[str, set[str]] = field(default_factory=dict)
    _names: dict[tuple[str, tuple[int, ...], bytes], str] = field(default_factory=dict)

    def add(self, role: str, wished: str, value: NDArray[Any]) -> str:
        """The name under which ``value`` is stored."""
        value = np.asarray(value, order="C")
        key = (str(value.dtype), value.shape, value.tobytes())
        name = self._names.get(key)
        if name is None:
            name = wished if wished not in self.tensors else f"{role}/{wished}"
            number = 2
            while name in self.tensors:
                name, number = f"{role}/{wished}/{number}", number + 1
            self._names[key] = name
            self.tensors[name] = value
        self.used.setdefault(role, set()).add(name)
        return name


@dataclass(frozen=True, slots=True)
class Packed:
    """files: role -> its graph file. is_int8: whether any of its layers is. weights_bytes: role -> what its
    weights take; float_bytes: what they took as float32."""

    files: dict[str, str]
    is_int8: dict[str, bool]
    weights_bytes: dict[str, int]
    float_bytes: dict[str, int]

    def share(self, role: str) -> float:
        """Its weights' bytes as a part of what they took as float32."""
        return self.weights_bytes[role] / max(1, self.float_bytes[role])


def pack(
    folder: Path, graphs: Mapping[str, WorkingGraph], calibrated: Mapping[str, Any], levels: Levels
) -> Packed:
    """Write the graphs at ``levels`` and their weights into ``folder``."""
    store = Store()
    models: dict[str, Any] = {}
    inline: dict[str, int] = {}
    for role, graph in graphs.items():
        model = at_levels(graph, calibrated.get(role), levels)
        _quantise_weights(model, graph, levels, store)
        inline[role] = _move_out(model, graph, store)
        models[role] = model
    places = _write(folder / WEIGHTS_NAME, store.tensors)
    files, is_int8 = {}, {}
    for role, model in models.items():
        is_int8[role] = any(levels[layer.source] != "float" for layer in graphs[role].layers)
        files[role] = f"{role}.int8.onnx" if is_int8[role] else f"{role}.onnx"
        _refer(model, places)
        (folder / files[role]).write_bytes(model.SerializeToString(deterministic=True))
    return Packed(
        files,
        is_int8,
        {
            role: inline[role] + sum(store.tensors[name].nbytes for name in store.used.get(role, ()))
            for role in models
        },
        {role: graph.float_bytes for role, graph in graphs.items()},
    )


def float_files(source: Bundle) -> list[str]:
    """What runs in floats: graphs and weights, by name."""
    graphs = source.manifest.graphs.values()
    return sorted({WEIGHTS_NAME, *(spec.files["fp32"] for spec in graphs)})


def beside_floats(folder: Path, source: Bundle, made: Bundle) -> dict[Role, GraphSpec]:
    """Make ``folder``, a copy of the int8 bundle ``made``, hold the floats of ``source`` too: their weights
    take the name that all bundles' have, and those in int8 one beside it. Returns both's graphs."""
    (folder / WEIGHTS_NAME).rename(folder / INT8_WEIGHTS_NAME)
    graphs: dict[Role, GraphSpec] = {}
    for role, spec in made.manifest.graphs.items():
        files = source.manifest.graphs[role].files
        int8 = spec.files.get("int8")
        if int8 is None:
            (folder / spec.files["fp32"]).unlink()
        else:
            model = onnx.load(str(folder / int8), load_external_data=False)
            for tensor in model.graph.initializer:
                for entry in tensor.external_data:
                    if entry.key == "location":
                        entry.value = INT8_WEIGHTS_NAME
            # Another name of the stage's own file lies here: it is replaced, never written to.
            (folder / int8).unlink()
            (folder / int8).write_bytes(model.SerializeToString(deterministic=True))
        graphs[role] = spec.model_copy(
            update={"files": {**files, **({} if int8 is None else {"int8": int8})}}
        )
    for name in float_files(source):
        shutil.copyfile(source.path(name), folder / name)
    return graphs


def _quantise_weights(model: Any, working: WorkingGraph, levels: Levels, store: Store) -> None:
    constants = {one.name: one for one in model.graph.initializer}
    nodes = {node.name: node for node in model.graph.node}
    made: dict[str, str] = {}  # weight -> its dequantised value in this graph
    added: list[Any] = []
    for layer in working.layers:
        node = nodes.get(layer.node)
        if levels[layer.source] == "float" or node is None:
            continue
        value = numpy_helper.to_array(constants[layer.weight])
        whole, scale = quantise_weight(value, layer.channel)
        turned = working.origins[layer.weight].transposed
        stored = store.add(working.role, layer.source, whole.T if turned else whole)
        scales = store.add(working.role, f"{layer.source}.scale", scale)
        _make_way(model, stored)
        _declare(model, stored, store.tensors[stored])
        _declare(model, scales, store.tensors[scales])
        if layer.kind == "Gather":
            if turned:
                raise ExportError(
                    f"{working.role}: the table {layer.source} is transposed, which none should be"
                )
            _gather(model, node, layer, stored, scales)
            continue
        if layer.weight not in made:
            made[layer.weight] = _dequantised(added, layer, stored, scales, turned)
        node.input[1] = made[layer.weight]
    for place, node in enumerate(added):
        model.graph.node.insert(place, node)
    drop_unused(model)


def _dequantised(added: list[Any], layer: Layer, stored: str, scales: str, turned: bool) -> str:
    """The weight in floats, the way round its layer reads it.

    It is turned after it is made float, not before: OpenVINO takes a transpose into its int8 product, but
    computes in floats what it finds between an int8 weight and its scale.
    """
    result = f"{layer.weight}/float"
    floated = f"{layer.weight}/stored" if turned else result
    # The stored matrix has its outputs where the turned one has its inputs.
    axis = 1 - layer.channel if turned else layer.channel
    added.append(
        onnx.helper.make_node("DequantizeLinear", [stored, scales], [floated], name=f"{result}ed", axis=axis)
    )
    if turned:
        added.append(
            onnx.helper.make_node(
                "Transpose", [floated], [result], name=f"{layer.weight}/turned", perm=[1, 0]
            )
        )
    return result


def _gather(model: Any, node: Any, layer: Layer, stored: str, scales: str) -> None:
    """``table[ids]`` as ``int8[ids] * scale[ids]``, in the place of ``node``."""
    ids, result, name = node.input[1], node.output[0], f"{layer.node}/rows"
    last = f"{name}/axis"
    model.graph.initializer.append(numpy_helper.from_array(np.array([-1], np.int64), last))
    make = onnx.helper.make_node
    steps = [
        make("Gather", [stored, ids], [f"{name}/int8"], name=f"{name}/gather", axis=0),
        make("Cast", [f"{name}/int8"], [f"{name}/float"], name=f"{name}/cast", to=onnx.TensorProto.FLOAT),
        make("Gather", [scales, ids], [f"{name}/scale"], name=f"{name}/scales", axis=0),
        make("Unsqueeze", [f"{name}/scale", last], [f"{name}/column"], name=f"{name}/unsqueeze"),
        make("Mul", [f"{name}/float", f"{name}/column"], [result], name=f"{name}/multiply"),
    ]
    place = next(at for at, one in enumerate(model.graph.node) if one.name == node.name)
    del model.graph.node[place]
    for step in reversed(steps):
        model.graph.node.insert(place, step)


def _make_way(model: Any, name: str) -> None:
    """Call a float constant of the graph something else where an int8 one is to have its name: a weight that
    the bundle stores as float32 is called there as it is in the weights file."""
    for one in model.graph.initializer:
        if one.name == name and one.data_location != onnx.TensorProto.EXTERNAL:
            one.name = f"{name}/float32"
            _rename_uses(model, name, one.name)


def _declare(model: Any, name: str, value: NDArray[Any]) -> None:
    """A constant that will point into the weights file."""
    if any(one.name == name for one in model.graph.initializer):
        return
    tensor = onnx.TensorProto()
    tensor.name = name
    tensor.dims.extend(value.shape)
    tensor.data_type = onnx.helper.np_dtype_to_tensor_dtype(value.dtype)
    tensor.data_location = onnx.TensorProto.EXTERNAL
    model.graph.initializer.append(tensor)


def _move_out(model: Any, working: WorkingGraph, store: Store) -> int:
    """Move what else is large into the weights file; the bytes of weights that stay in the graph."""
    inline = 0
    casts: list[Any] = []
    for tensor in list(model.graph.initializer):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            continue
        value = np.asarray(numpy_helper.to_array(tensor))
        if value.dtype.kind != "f":
            continue
        if value.nbytes < _INLINE_BYTES:
            inline += value.nbytes
            continue
        origin = working.origins.get(tensor.name)
        wished = tensor.name if origin is None else origin.source
        halved = origin is not None and origin.half
        # A table of numbers that the exporter computed keeps its dtype; a weight the one it was stored in.
        stored = store.add(working.role, wished, value.astype(np.float16) if halved else value)
        name = tensor.name
        model.graph.initializer.remove(tensor)
        _declare(model, stored, store.tensors[stored])
        if halved:
            casts.append(
                onnx.helper.make_node(
                    "Cast", [stored], [f"{name}/whole"], name=f"{name}/widen", to=onnx.TensorProto.FLOAT
                )
            )
            _rename_uses(model, name, f"{name}/whole")
        elif stored != name:
            _rename_uses(model, name, stored)
    for place, node in enumerate(casts):
        model.graph.node.insert(place, node)
    return inline


def _rename_uses(model: Any, old: str, new: str) -> None:
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            if name == old:
                node.input[place] = new


def _write(path: Path, tensors: Mapping[str, NDArray[Any]]) -> dict[str, tuple[int, int]]:
    """Write the file; name -> (offset from its first byte, bytes)."""
    kinds = {name: (_DTYPES[tensor.dtype.name], tensor.shape) for name, tensor in tensors.items()}
    return write_tensors(
        path, kinds, lambda name: np.ascontiguousarray(tensors[name]).reshape(-1).view(np.uint8).data
    )


def _refer(model: Any, places: Mapping[str, tuple[int, int]]) -> None:
    for tensor in model.graph.initializer:
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        offset, length = places[tensor.name]
        del tensor.external_data[:]
        for key, value in (("location", WEIGHTS_NAME), ("offset", offset), ("length", length)):
            tensor.external_data.add(key=key, value=str(value))
