"""The benchmark of `auto`: what it counts, what it asks, and one bundle out of two."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from benchmarks.auto_precision import INT8_WEIGHTS, CountingKeeper, joined, passed, ratio, table, verbs
from onnx import TensorProto, helper

from seetell.bundle.manifest import GraphSpec, Manifest, TensorSpec
from seetell.bundle.store import Bundle, open_bundle
from seetell.tasks.model import Model
from tests.runtime.toy import SIZE, ToyEngine, make_manifest, make_tokenizer

MS = {"auto": 10.0, "fp32": 10.5, "bf16": 19.0, "int8, rest f32": 9.8}


def test_a_ratio_is_of_the_fastest_that_could_be_chosen() -> None:
    assert ratio(MS) == pytest.approx(0.98)
    assert ratio({**MS, "auto": 5.0}) > 1


def test_the_table_has_a_line_for_each_and_says_the_least() -> None:
    rows = [
        {"verb": "embed", "batch": 1, "runs": {}, "ms": MS},
        {"verb": "caption", "batch": 8, "runs": {}, "ms": {**MS, "auto": 20.0}},
    ]
    families = {
        "clip": {"shape": "CLIP", "auto": "fp32", "rows": [{**rows[0], "ms": {"auto": 2.0, "fp32": 2.0}}]},
        "seetell": {"shape": "the built-in model", "auto": "int8, rest f32", "rows": rows},
    }
    said = table({"families": families, "machine": "a machine", "beside": "nothing", "load": 0.1})
    assert "| CLIP | fp32 | embed | 1 | 2 | 2 |  |  | 1.00 |" in said
    assert "Least: 0.49 (seetell, caption, 8 photos); 0.95 is asked." in said


def photos(count: int) -> list[Any]:
    return [np.full((SIZE, SIZE, 3), 40 * number, np.uint8) for number in range(count)]


def test_what_each_verb_has_the_engine_do() -> None:
    engine = CountingKeeper(ToyEngine())
    model = Model(make_manifest(ToyEngine()), make_tokenizer(), engine, batch_size=4)
    assert list(verbs(model)) == ["embed", "caption", "ask"]
    verbs(model)["embed"](photos(3))
    assert dict(engine.runs) == {"image_encoder": 1}
    assert len(engine.given["image_encoder"]["pixel_values"]) == 3
    engine.runs.clear()
    verbs(model)["caption"](photos(2))
    assert engine.runs["image_encoder"] == engine.runs["decoder_memory"] == 1
    assert engine.runs["text_decoder"] > 3


def graph_file(path: Path, weights: str) -> None:
    """y = x + w, w four bytes of another file."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", weights), ("offset", "0"), ("length", "4")):
        tensor.external_data.add(key=key, value=value)
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])], "one", ends[:1], ends[1:], [tensor]
    )
    path.write_bytes(helper.make_model(graph).SerializeToString())


def bundle(folder: Path, precision: str, weight: float) -> Bundle:
    folder.mkdir()
    name = f"image_encoder.{precision}.onnx"
    graph_file(folder / name, "model.safetensors")
    (folder / "model.safetensors").write_bytes(np.float32(weight).tobytes())
    spec = TensorSpec(dtype="float32", axes=(1,))
    files: Any = {precision: name}
    graph = GraphSpec(files=files, inputs={"x": spec}, outputs={"y": spec})
    manifest = Manifest(
        name="one",
        family="none",
        version="1",
        config={},
        tasks=("features",),
        licence="none",
        graphs={"image_encoder": graph},
    )
    return Bundle(folder, manifest)


def test_one_bundle_has_both_each_with_its_own_weights(tmp_path: Path) -> None:
    base = bundle(tmp_path / "fp32", "fp32", 1.0)
    joined(base, bundle(tmp_path / "int8", "int8", 2.0), tmp_path / "both")
    both = passed(open_bundle(tmp_path / "both"))
    assert both.has_int8 and both.manifest.gate is not None and both.manifest.gate.passed
    for precision, weight in (("fp32", 1.0), ("int8", 2.0)):
        [tensor] = onnx.load(str(both.graph_path("image_encoder", precision))).graph.initializer
        assert np.frombuffer(tensor.raw_data, np.float32) == weight
    assert (both.folder / INT8_WEIGHTS).exists()
