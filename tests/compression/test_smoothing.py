"""Smoothing changes ranges and nothing else, and weights stay shared between graphs."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from seetell.learning.compression.levels import rounded_weight, run_model
from seetell.learning.compression.sensitivity import relative_error
from seetell.learning.compression.smoothing import smooth
from seetell.runtime.engine import Arrays
from tests.compression.conftest import ReadGraphs


@pytest.mark.parametrize("strength", [0.5, 0.95])
def test_the_function_stays_the_same(
    read_graphs: ReadGraphs, samples: dict[str, list[Arrays]], strength: float
) -> None:
    graphs = read_graphs()
    before = {role: run_model(graph.model, samples[role]) for role, graph in graphs.items()}
    weights = {
        (role, layer.weight): np.array(graph.constant(layer.weight))
        for role, graph in graphs.items()
        for layer in graph.layers
    }
    assert smooth(graphs, samples, strength) > 0
    changed = 0
    for role, graph in graphs.items():
        assert relative_error(before[role], run_model(graph.model, samples[role])) < 1e-5, role
        changed += sum(
            not np.array_equal(weights[role, layer.weight], graph.constant(layer.weight))
            for layer in graph.layers
        )
    assert changed > 10


def test_a_weight_of_several_graphs_stays_one_weight(
    read_graphs: ReadGraphs, samples: dict[str, list[Arrays]]
) -> None:
    graphs = read_graphs()
    smooth(graphs, samples)
    seen: dict[str, np.ndarray] = {}
    shared = 0
    for graph in graphs.values():
        for layer in graph.layers:
            value = graph.constant(layer.weight)
            value = value.T if graph.origins[layer.weight].transposed else value
            if layer.source in seen:
                shared += 1
                np.testing.assert_array_equal(value, seen[layer.source], err_msg=layer.source)
            seen[layer.source] = value
    assert shared > 5


def test_graphs_without_samples_and_what_they_share_are_left_alone(
    read_graphs: ReadGraphs, samples: dict[str, list[Arrays]]
) -> None:
    graphs = read_graphs()
    before = copy.deepcopy(graphs["decoder_memory"].model)
    smooth(graphs, {role: some for role, some in samples.items() if role != "decoder_memory"})
    assert graphs["decoder_memory"].model == before


def test_outliers_of_an_activation_cost_less_afterwards(
    read_graphs: ReadGraphs, samples: dict[str, list[Arrays]]
) -> None:
    """A layer that reads one loud channel: int8 of its input loses the quiet ones, unless it was smoothed."""
    role = "decoder_memory"
    graphs = {role: read_graphs()[role]}
    random = np.random.default_rng(0)
    (name,) = (one.name for one in graphs[role].model.graph.input)
    width = samples[role][0][name].shape[-1]
    loud = random.standard_normal((2, 6, width)).astype(np.float32)
    loud[..., 3] *= 200
    some = {role: [{name: loud}]}

    def error() -> float:
        """Of the first layer's output, its input and weight in int8 steps."""
        layer = graphs[role].layers[0]
        given = loud if layer.data == name else loud * graphs[role].constant(f"{name}/smooth")
        step = np.abs(given).max() / 127
        weight = graphs[role].constant(layer.weight)
        exact = given @ weight
        coarse = (np.rint(given / step) * step) @ rounded_weight(weight, layer.channel)
        return float(np.linalg.norm(coarse - exact))

    before = error()
    assert smooth(graphs, some) > 0
    assert error() < before
