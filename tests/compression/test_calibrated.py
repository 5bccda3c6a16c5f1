"""Compression with NNCF and photos, of our model and of a public family; killed, and on a full disk."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import seetell
from seetell.bundle.store import Bundle, open_bundle
from seetell.learning.compression.gate import Tolerance
from seetell.learning.compression.levels import quantise_weight
from seetell.learning.compression.nncf_backend import quantise
from seetell.learning.compression.run import compress
from seetell.learning.compression.settings import Settings
from seetell.runtime.engine import Arrays
from tests.compression.conftest import ReadGraphs
from tests.compression.test_run import fingerprint, save_photos

pytestmark = pytest.mark.slow


def activation_quantisers(path: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    model = onnx.load(str(path))
    constants = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    return [
        (constants[node.input[1]], constants[node.input[2]])
        for node in model.graph.node
        if node.op_type == "QuantizeLinear"
    ]


def products(path: Path) -> dict[str, str]:
    """Layer -> the precision OpenVINO computes it in, of the layers that have weights."""
    import openvino

    properties = {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"}
    compiled = openvino.Core().compile_model(str(path), "CPU", properties)
    found = {}
    for node in compiled.get_runtime_model().get_ops():
        told = node.get_rt_info()
        if "layerType" in told and str(told["layerType"].value) in ("FullyConnected", "Convolution"):
            found[node.get_friendly_name()] = str(told["runtimePrecision"].value)
    return found


@pytest.mark.parametrize("profile", ["portable", "cpu"])
def test_every_graph_computes_in_int8(tiny_bundle: Bundle, tmp_path: Path, profile: str) -> None:
    before = fingerprint(tiny_bundle.folder)
    photos = save_photos(tmp_path / "photos", 8)
    (photos / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    texts = tmp_path / "texts.txt"
    texts.write_text("a dog runs on the grass\nis the dog green?\n一只狗\n", encoding="utf-8")
    said: list[str] = []
    settings = Settings(photos, texts, 9, profile, Tolerance(20, relative=True))  # type: ignore[arg-type]
    result = compress(tiny_bundle, tmp_path / "out", settings, say=said.append)
    assert any("broken.png" in line for line in said)
    assert fingerprint(tiny_bundle.folder) == before
    document = result.document
    assert document["method"]["calibration"]["unreadable"] == 1
    assert set(document["method"]["calibration"]["runs"]) == set(tiny_bundle.manifest.graphs)
    assert document["peak_memory_mb"]["after"] > 10
    for role in tiny_bundle.manifest.graphs:
        assert document["graphs"][role]["latency_ms"]["after"] > 0
        found = activation_quantisers(tmp_path / "out" / f"{role}.int8.onnx")
        assert found, role
        computed = products(tmp_path / "out" / f"{role}.int8.onnx")
        floats = [name for name, precision in computed.items() if precision not in ("i8", "u8")]
        if profile == "cpu":
            # NNCF may put an asymmetric quantiser before a ReLU, past which OpenVINO does not carry it.
            floats = [name for name in floats if "conv" not in name]
        assert computed and not floats, role
        if profile == "portable":
            assert all(zero.dtype == np.int8 and zero == 0 for _, zero in found), role
    with seetell.load(tmp_path / "out") as small, seetell.load(tiny_bundle.folder, precision="fp32") as whole:
        assert small.precision == "int8"
        rows = [photos / f"{number}.png" for number in range(8)]
        cosines = np.sum(small.embed_images(rows) * whole.embed_images(rows), axis=1)
        assert cosines.min() > 0.97
        cosines = np.sum(small.embed_texts(["a dog"]) * whole.embed_texts(["a dog"]), axis=1)
        assert cosines.min() > 0.97
        assert small.ask(rows[0], "is the dog green?").answer


def test_weights_follow_the_rule_of_nncf(read_graphs: ReadGraphs, samples: dict[str, list[Arrays]]) -> None:
    """What we store is what NNCF's own quantisation of the same graph stores."""
    from seetell.learning.compression.nncf_backend import import_nncf

    nncf = import_nncf()
    graph = read_graphs()["text_encoder"]
    theirs = nncf.quantize(
        graph.model,
        nncf.Dataset(samples["text_encoder"]),
        subset_size=1,
        preset=nncf.QuantizationPreset.PERFORMANCE,
        advanced_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=nncf.OverflowFix.DISABLE),
    )
    constants = {one.name: one for one in theirs.graph.initializer}
    compared = 0
    for node in theirs.graph.node:
        if node.op_type != "DequantizeLinear" or node.input[0] not in constants:
            continue
        layer = next((one for one in graph.layers if f"q_output_{one.weight}_" in node.input[0]), None)
        if layer is None or layer.data is None:
            continue
        whole, scale = quantise_weight(graph.constant(layer.weight), layer.channel)
        np.testing.assert_allclose(numpy_helper.to_array(constants[node.input[1]]), scale, rtol=1e-5)
        gap = numpy_helper.to_array(constants[node.input[0]]).astype(int) - whole
        # Half steps may fall on either side.
        assert np.abs(gap).max() <= 1 and np.count_nonzero(gap) <= 0.01 * gap.size
        compared += 1
    assert compared > 3


def test_a_calibrated_graph_keeps_its_weights_in_floats(
    read_graphs: ReadGraphs, samples: dict[str, list[Arrays]]
) -> None:
    graph = read_graphs()["text_encoder"]
    found = quantise(graph, samples["text_encoder"], "portable")
    values = {one.name: numpy_helper.to_array(one) for one in found.graph.initializer}
    for layer in graph.layers:
        np.testing.assert_array_equal(values[layer.weight], graph.constant(layer.weight))
    # Nothing but layers with weights reads a quantised activation.
    made = {node.output[0] for node in found.graph.node if node.op_type == "DequantizeLinear"}
    readers = {node.name for node in found.graph.node if made & set(node.input)}
    assert readers == {layer.node for layer in graph.layers if layer.data is not None}


def test_a_public_family(tmp_path: Path) -> None:
    from seetell.modeling.export.public import convert_checkpoint
    from tests.parity.test_clip import make

    make("plain", tmp_path / "clip")
    convert_checkpoint(tmp_path / "clip", tmp_path / "bundle")
    source = open_bundle(tmp_path / "bundle")
    photos = save_photos(tmp_path / "photos", 6)
    texts = tmp_path / "texts.txt"
    texts.write_text("the cat\nthe dog in the th\ncat\n")
    settings = Settings(photos, texts, 6, "portable", Tolerance(20, relative=True))
    compress(source, tmp_path / "out", settings)
    rows = sorted(photos.iterdir())
    with (
        seetell.load(tmp_path / "out") as small,
        seetell.load(tmp_path / "bundle", precision="fp32") as whole,
    ):
        assert small.precision == "int8" and small.tasks == whole.tasks
        assert np.sum(small.embed_images(rows) * whole.embed_images(rows), axis=1).min() > 0.97
        words = ["the cat", "the dog in the th"]
        assert np.sum(small.embed_texts(words) * whole.embed_texts(words), axis=1).min() > 0.97


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "seetell.cli.main", "compress", *map(str, words)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_leaves_nothing(tiny_bundle: Bundle, tmp_path: Path, number: signal.Signals) -> None:
    before = fingerprint(tiny_bundle.folder)
    photos = save_photos(tmp_path / "photos", 8)
    place = tmp_path / "place"
    place.mkdir()
    process = subprocess.Popen(
        command(tiny_bundle.folder, place / "out", "--calibration", photos),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "calibrating" in line:
            break
    assert list(place.iterdir()), "it works beside OUT"
    process.send_signal(number)
    process.communicate(timeout=600)
    assert process.returncode in (130, 128 + number)
    assert list(place.iterdir()) == []
    assert fingerprint(tiny_bundle.folder) == before


def test_a_killed_run_is_swept_by_the_next(tiny_bundle: Bundle, tmp_path: Path) -> None:
    """Nothing can clean up after SIGKILL; OUT is not there, and the next run to OUT removes what was left."""
    process = subprocess.Popen(
        command(tiny_bundle.folder, tmp_path / "out"), stderr=subprocess.PIPE, text=True
    )
    while not [path for path in tmp_path.iterdir() if path.name.endswith(".tmp")]:
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.communicate()
    left = {path.name: path for path in tmp_path.iterdir()}
    writing = left.pop(next(name for name in left if name.startswith(".out.")))
    assert left.keys() <= {"out.stages"}, "what it had done so far"
    os.utime(writing, (1, 1))
    done = subprocess.run(
        command(tiny_bundle.folder, tmp_path / "out", "--max-drop", "9%", "--json"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["gate"]["passed"] is True
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("small_disk", ["100k"], indirect=True)
def test_no_room_on_the_disk(tiny_bundle: Bundle, small_disk: Path) -> None:
    before = fingerprint(tiny_bundle.folder)
    done = subprocess.run(
        command(tiny_bundle.folder, small_disk / "out"), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "the disk is full" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert list(small_disk.iterdir()) == []
    assert fingerprint(tiny_bundle.folder) == before
