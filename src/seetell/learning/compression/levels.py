"""How precisely each layer computes, and what a graph looks like and gives at given levels.

A layer is known by its stored weight, which several graphs may use: it has one level in all of them.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from onnx import numpy_helper

from seetell.learning.compression.graphs import WorkingGraph, drop_unused
from seetell.runtime.engine import Arrays

# int8: weights and activations. weights: int8 weights, float arithmetic. float: as it was.
Level = Literal["int8", "weights", "float"]
Levels = Mapping[str, Level]

_LARGEST = 127


def quantise_weight(
    weight: NDArray[np.float32], channel: int
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Symmetric, one scale per output channel: int8 of the same shape, and float32[channels].

    -128 is not used, so that the range is symmetric too; the rule of NNCF's weights.
    """
    others = tuple(axis for axis in range(weight.ndim) if axis != channel % weight.ndim)
    peak = np.max(np.abs(weight), axis=others).astype(np.float32)
    scale = np.where(peak > 0, peak / _LARGEST, 1 / _LARGEST).astype(np.float32)
    shape = [1] * weight.ndim
    shape[channel] = -1
    rounded = np.rint(weight / scale.reshape(shape))
    return np.clip(rounded, -_LARGEST, _LARGEST).astype(np.int8), scale


def rounded_weight(weight: NDArray[np.float32], channel: int) -> NDArray[np.float32]:
    """The float values that an int8 weight stands for."""
    whole, scale = quantise_weight(weight, channel)
    shape = [1] * weight.ndim
    shape[channel] = -1
    return whole.astype(np.float32) * scale.reshape(shape)


def at_levels(working: WorkingGraph, calibrated: Any, levels: Levels) -> Any:
    """A copy of ``calibrated`` in which only layers at ``int8`` have quantised activations.

    Args:
        working: the graph in float32.
        calibrated: the same graph with Q/DQ nodes before its layers, weights in floats; None for a role
            that was not calibrated, whose layers can only be at ``weights`` or ``float``.
    """
    if calibrated is None:
        return copy.deepcopy(working.model)
    model = copy.deepcopy(calibrated)
    constants = {one.name: one for one in model.graph.initializer}
    originals = {one.name: one for one in working.model.graph.initializer}
    makers = {node.output[0]: node for node in model.graph.node}
    nodes = {node.name: node for node in model.graph.node}
    for layer in working.layers:
        if layer.data is None or levels[layer.source] == "int8":
            continue
        node = nodes[layer.node]
        last = makers.get(node.input[0])
        if last is not None and last.op_type == "DequantizeLinear":
            node.input[0] = makers[last.input[0]].input[0]
        if len(node.input) > 2 and node.input[2] in originals:
            # Its bias was corrected for an error that it no longer makes.
            constants[node.input[2]].CopyFrom(originals[node.input[2]])
    drop_unused(model)
    return model


def simulated(working: WorkingGraph, calibrated: Any, levels: Levels) -> Any:
    """What :func:`at_levels` gives, with the values that stored weights will have."""
    model = at_levels(working, calibrated, levels)
    channels = {one.weight: one.channel for one in working.layers if levels[one.source] != "float"}
    for tensor in model.graph.initializer:
        if tensor.name in channels:
            value = rounded_weight(numpy_helper.to_array(tensor), channels[tensor.name])
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    return model


def run_model(model: Any, samples: Iterable[Arrays], outputs: Sequence[str] | None = None) -> list[Arrays]:
    """Run an ONNX model in memory. ``outputs``: those wanted, None for the graph's own."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [one.name for one in session.get_outputs()] if outputs is None else list(outputs)
    taken = {one.name for one in session.get_inputs()}
    found = []
    for sample in samples:
        values = session.run(names, {name: value for name, value in sample.items() if name in taken})
        found.append(dict(zip(names, map(np.asarray, values), strict=True)))
    return found
