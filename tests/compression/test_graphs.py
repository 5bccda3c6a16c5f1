"""Graphs with their weights inside compute what the bundle's graphs compute."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from seetell.bundle.check import read_check
from seetell.bundle.store import Bundle
from seetell.core.errors import BundleDamaged
from seetell.learning.compression.graphs import drop_unused, read_graph
from seetell.learning.compression.levels import run_model
from seetell.runtime.engine import Arrays
from tests.compression.conftest import ReadGraphs


def test_working_graphs_give_the_recorded_outputs(
    tiny_bundle: Bundle, read_graphs: ReadGraphs, samples: dict[str, list[Arrays]]
) -> None:
    graphs = read_graphs()
    for role, recorded in read_check(tiny_bundle).items():
        found = run_model(graphs[role].model, samples[role])[0]
        for name, expected in recorded.outputs.items():
            np.testing.assert_allclose(found[name], expected, atol=1e-4, err_msg=f"{role} {name}")


def test_every_linear_layer_and_convolution_is_found(read_graphs: ReadGraphs) -> None:
    for role, graph in read_graphs().items():
        kinds = [node.op_type for node in graph.model.graph.node]
        assert "BatchNormalization" not in kinds, role
        assert sum(layer.kind == "Conv" for layer in graph.layers) == kinds.count("Conv")
        # Whatever multiplies by a constant of two dimensions is a layer; the rest is attention.
        constants = {one.name for one in graph.model.graph.initializer if len(one.dims) == 2}
        products = [
            node.name
            for node in graph.model.graph.node
            if node.op_type in ("MatMul", "Gemm") and node.input[1] in constants
        ]
        assert {layer.node for layer in graph.layers if layer.kind in ("MatMul", "Gemm")} == set(products)
        assert products or role == "image_encoder"


def test_layers_know_the_stored_tensor(tiny_bundle: Bundle, read_graphs: ReadGraphs) -> None:
    from safetensors import safe_open

    with safe_open(tiny_bundle.path("model.safetensors"), framework="numpy") as file:
        for graph in read_graphs().values():
            for layer in graph.layers:
                stored = file.get_tensor(layer.source).astype(np.float32)
                value = graph.constant(layer.weight)
                if layer.weight.endswith("/folded"):
                    assert value.shape == stored.shape
                else:
                    turned = graph.origins[layer.weight].transposed
                    np.testing.assert_array_equal(value.T if turned else value, stored)
                # One output channel per row of the stored [out, in].
                assert value.shape[layer.channel] == stored.shape[0]


def test_unused_nodes_go_and_outputs_stay(read_graphs: ReadGraphs, samples: dict[str, list[Arrays]]) -> None:
    graph = read_graphs()["text_encoder"]
    before = run_model(graph.model, samples["text_encoder"], ["text_embeds"])[0]
    kept = [one for one in graph.model.graph.output if one.name == "text_embeds"]
    nodes = len(graph.model.graph.node)
    del graph.model.graph.output[:]
    graph.model.graph.output.extend(kept)
    drop_unused(graph.model)
    assert len(graph.model.graph.node) <= nodes
    after = run_model(graph.model, samples["text_encoder"])[0]
    assert list(after) == ["text_embeds"]
    np.testing.assert_array_equal(after["text_embeds"], before["text_embeds"])


def test_what_is_no_graph_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "image_encoder.onnx"
    path.write_bytes(b"\x08\x07no graph at all")
    with pytest.raises(BundleDamaged, match=r"image_encoder\.onnx: cannot be read as a graph"):
        read_graph(path, "image_encoder")
