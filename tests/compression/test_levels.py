"""Weights in int8, and graphs in which some layers are quantised and others are not."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import onnx
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from onnx import numpy_helper

from seetell.learning.compression.graphs import WorkingGraph
from seetell.learning.compression.levels import (
    Level,
    at_levels,
    quantise_weight,
    rounded_weight,
    run_model,
    simulated,
)
from seetell.learning.compression.sensitivity import rank_layers, relative_error
from seetell.runtime.engine import Arrays
from tests.compression.conftest import ReadGraphs


@settings(max_examples=60, deadline=None)
@given(
    arrays(
        np.float32,
        array_shapes(min_dims=2, max_dims=4, min_side=1, max_side=5),
        elements=st.floats(-1e6, 1e6, width=32),
    ),
    st.data(),
)
def test_each_weight_lies_within_half_a_step(weight: Any, data: st.DataObject) -> None:
    channel = data.draw(st.integers(0, weight.ndim - 1))
    whole, scale = quantise_weight(weight, channel)
    assert whole.dtype == np.int8 and whole.shape == weight.shape
    assert scale.shape == (weight.shape[channel],) and np.all(scale > 0)
    assert whole.min(initial=0) >= -127
    shape = [1] * weight.ndim
    shape[channel] = -1
    gap = np.abs(rounded_weight(weight, channel).astype(np.float64) - weight)
    assert np.all(gap <= 0.5001 * scale.astype(np.float64).reshape(shape) + 1e-30)
    # Its largest weight uses the whole range, and turning signs round turns the result round.
    np.testing.assert_array_equal(quantise_weight(-weight, channel)[0], -whole)


def quantised_by_hand(graph: WorkingGraph) -> Any:
    """Coarse Q/DQ nodes before every layer, as a calibration would leave them, and biases it has moved."""
    model = copy.deepcopy(graph.model)
    constants = {one.name: one for one in model.graph.initializer}
    made: dict[str, str] = {}
    layers = {layer.node: layer for layer in graph.layers if layer.data is not None}
    scale = numpy_helper.from_array(np.array(0.25, np.float32), "by_hand/scale")
    zero = numpy_helper.from_array(np.array(0, np.int8), "by_hand/zero")
    model.graph.initializer.extend([scale, zero])
    for place in range(len(model.graph.node) - 1, -1, -1):
        node = model.graph.node[place]
        if node.name not in layers:
            continue
        name = node.input[0]
        if len(node.input) > 2:
            moved = numpy_helper.to_array(constants[node.input[2]]) + 1
            constants[node.input[2]].CopyFrom(numpy_helper.from_array(moved, node.input[2]))
        number = len(made)
        made[node.name] = f"{name}/{number}/dq"
        given = ["by_hand/scale", "by_hand/zero"]
        node.input[0] = made[node.name]
        make = onnx.helper.make_node
        model.graph.node.insert(
            place, make("DequantizeLinear", [f"{name}/{number}/q", *given], [node.input[0]])
        )
        model.graph.node.insert(place, make("QuantizeLinear", [name, *given], [f"{name}/{number}/q"]))
    return model


def all_at(graph: WorkingGraph, level: Level) -> dict[str, Level]:
    return {layer.source: level for layer in graph.layers}


def test_layers_that_leave_int8_compute_as_before(
    read_graphs: ReadGraphs, samples: dict[str, list[Arrays]]
) -> None:
    for role, graph in read_graphs().items():
        calibrated = quantised_by_hand(graph)
        reference = run_model(graph.model, samples[role])
        coarse = run_model(at_levels(graph, calibrated, all_at(graph, "int8")), samples[role])
        assert relative_error(reference, coarse) > 1e-3, role
        back = at_levels(graph, calibrated, all_at(graph, "float"))
        assert not [node for node in back.graph.node if "Quantize" in node.op_type]
        assert relative_error(reference, run_model(back, samples[role])) < 1e-6, role


def test_weights_alone_keep_activations_and_round_weights(
    read_graphs: ReadGraphs, samples: dict[str, list[Arrays]]
) -> None:
    graph = read_graphs()["text_encoder"]
    reference = run_model(graph.model, samples["text_encoder"])
    model = simulated(graph, None, all_at(graph, "weights"))
    error = relative_error(reference, run_model(model, samples["text_encoder"]))
    assert 0 < error < 0.02
    untouched = simulated(graph, None, all_at(graph, "float"))
    assert relative_error(reference, run_model(untouched, samples["text_encoder"])) == 0


def test_the_layer_that_hurts_most_comes_first(
    read_graphs: ReadGraphs, samples: dict[str, list[Arrays]]
) -> None:
    graph = read_graphs()["fusion_encoder"]
    victim = next(layer for layer in graph.layers if layer.kind == "MatMul")
    # One huge weight per output leaves the others no steps of their own.
    weight = np.array(graph.constant(victim.weight))
    weight[0, :] = 500 * np.abs(weight).max()
    graph.set_constant(victim.weight, weight)
    ranking = rank_layers(
        {"fusion_encoder": graph}, {}, {"fusion_encoder": samples["fusion_encoder"]}, all_at(graph, "weights")
    )
    assert ranking[0].source == victim.source
    assert {one.source for one in ranking} == {layer.source for layer in graph.layers}
    assert all(one.role == "fusion_encoder" for one in ranking)


def test_relative_error_says_when_there_is_no_number() -> None:
    good = [{"a": np.ones((2, 3), np.float32), "mask": np.ones(2, np.bool_)}]
    half = [{"a": np.full((2, 3), 0.5, np.float32), "mask": np.zeros(2, np.bool_)}]
    none = [{"a": np.full((2, 3), np.nan, np.float32), "mask": np.ones(2, np.bool_)}]
    assert relative_error(good, good) == 0
    assert relative_error(good, half) == 0.5
    assert relative_error(good, none) == float("inf")
