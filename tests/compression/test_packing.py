"""Compressed graphs on disk: small, stored once, and alike in both engines."""

from __future__ import annotations

import copy
import json
import struct
from pathlib import Path

import numpy as np
import onnx
import pytest

from seetell.bundle.check import read_check
from seetell.bundle.store import Bundle, open_bundle
from seetell.learning.compression.graphs import read_graph
from seetell.learning.compression.levels import Level, run_model, simulated
from seetell.learning.compression.packing import Packed, pack
from seetell.learning.compression.sensitivity import relative_error
from seetell.modeling.export.write_bundle import write_bundle
from seetell.modeling.facts import BundleFacts
from seetell.modeling.models.unified import UnifiedModel
from seetell.runtime.engine import Arrays
from tests.compression.conftest import ReadGraphs


@pytest.fixture
def packed(tmp_path: Path, read_graphs: ReadGraphs) -> Packed:
    graphs = read_graphs()
    levels: dict[str, Level] = {
        layer.source: "weights" for graph in graphs.values() for layer in graph.layers
    }
    return pack(tmp_path, graphs, {}, levels)


def run_openvino(path: Path, sample: Arrays) -> Arrays:
    import openvino

    # As our engine has it.
    properties = {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"}
    compiled = openvino.Core().compile_model(str(path), "CPU", properties)
    found = compiled(sample)
    return {port.any_name: np.array(found[port]) for port in compiled.outputs}


def run_onnxruntime(path: Path, sample: Arrays) -> Arrays:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "1")  # as our engine has it
    session = onnxruntime.InferenceSession(str(path), options)
    names = [one.name for one in session.get_outputs()]
    return dict(zip(names, session.run(names, sample), strict=True))


def test_weights_stored_as_float32_are_compressed_alike(
    tmp_path: Path,
    tiny_model: UnifiedModel,
    tokenizer_json: bytes,
    facts: BundleFacts,
    samples: dict[str, list[Arrays]],
) -> None:
    """There a weight has one name in the graph and in the file, which its int8 values take over."""
    write_bundle(
        lambda: copy.deepcopy(tiny_model), tokenizer_json, tmp_path / "whole", facts, weights_dtype="fp32"
    )
    bundle = open_bundle(tmp_path / "whole")
    graphs = {role: read_graph(bundle.graph_path(role), role) for role in bundle.manifest.graphs}
    levels: dict[str, Level] = {
        layer.source: "weights" for graph in graphs.values() for layer in graph.layers
    }
    (tmp_path / "small").mkdir()
    packed = pack(tmp_path / "small", graphs, {}, levels)
    for role in graphs:
        graph = read_graph(bundle.graph_path(role), role)
        own: dict[str, Level] = {layer.source: "weights" for layer in graph.layers}
        expected = run_model(simulated(graph, None, own), samples[role])
        for run in (run_openvino, run_onnxruntime):
            found = run(tmp_path / "small" / packed.files[role], samples[role][0])
            assert relative_error(expected, [found]) < 2e-3, (role, run.__name__)
        assert packed.share(role) < 0.5


def test_both_engines_compute_what_was_simulated(
    tmp_path: Path, packed: Packed, read_graphs: ReadGraphs, samples: dict[str, list[Arrays]]
) -> None:
    for role, graph in read_graphs().items():
        levels: dict[str, Level] = {layer.source: "weights" for layer in graph.layers}
        expected = run_model(simulated(graph, None, levels), samples[role])
        for run in (run_openvino, run_onnxruntime):
            found = run(tmp_path / packed.files[role], samples[role][0])
            # What stays in floats is stored as it was, matrices as float16.
            assert relative_error(expected, [found]) < 2e-3, (role, run.__name__)


def test_weights_are_int8_and_stored_once(tmp_path: Path, packed: Packed, tiny_bundle: Bundle) -> None:
    raw = (tmp_path / "model.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + length])
    contents = [
        (one["dtype"], tuple(one["shape"]), raw[slice(*(8 + length + at for at in one["data_offsets"]))])
        for one in header.values()
    ]
    assert len(set(contents)) == len(contents)
    end = max(one["data_offsets"][1] for one in header.values())
    assert len(raw) == 8 + length + end
    # No matrix of a layer is left in floats: what is, is small.
    floats = sum(len(data) for dtype, _, data in contents if dtype != "I8")
    whole = sum(len(data) for dtype, _, data in contents if dtype == "I8")
    assert whole > 2 * floats
    source = tiny_bundle.path("model.safetensors").stat().st_size
    assert len(raw) < 0.75 * source


def test_every_reference_lies_in_the_file(tmp_path: Path, packed: Packed) -> None:
    size = (tmp_path / "model.safetensors").stat().st_size
    for name in packed.files.values():
        model = onnx.load(str(tmp_path / name), load_external_data=False)
        onnx.checker.check_model(str(tmp_path / name))
        for tensor in model.graph.initializer:
            told = {one.key: one.value for one in tensor.external_data}
            if not told:
                continue
            assert told["location"] == "model.safetensors"
            width = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)).itemsize
            assert int(told["length"]) == width * int(np.prod(tensor.dims))
            assert int(told["offset"]) % width == 0
            assert int(told["offset"]) + int(told["length"]) <= size


def test_the_same_graphs_give_the_same_bytes(tmp_path: Path, packed: Packed, read_graphs: ReadGraphs) -> None:
    again = tmp_path / "again"
    again.mkdir()
    graphs = read_graphs()
    pack(again, graphs, {}, {one.source: "weights" for graph in graphs.values() for one in graph.layers})
    for path in again.iterdir():
        assert path.read_bytes() == (tmp_path / path.name).read_bytes(), path.name


def test_a_role_left_in_floats_is_an_fp32_graph(
    tmp_path: Path, read_graphs: ReadGraphs, tiny_bundle: Bundle, samples: dict[str, list[Arrays]]
) -> None:
    graphs = {role: graph for role, graph in read_graphs().items() if role == "text_encoder"}
    found = pack(tmp_path, graphs, {}, {one.source: "float" for one in graphs["text_encoder"].layers})
    assert found.files == {"text_encoder": "text_encoder.onnx"} and not found.is_int8["text_encoder"]
    outputs = run_onnxruntime(tmp_path / "text_encoder.onnx", samples["text_encoder"][0])
    expected = read_check(tiny_bundle)["text_encoder"].outputs
    assert relative_error([expected], [outputs]) < 1e-5
