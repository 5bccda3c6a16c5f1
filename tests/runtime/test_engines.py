"""The engines over tiny graphs of our own: exactness, precision, cache, threads and errors."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from seetell.bundle.manifest import GateRecord, GraphSpec, Manifest, TensorSpec
from seetell.bundle.store import Bundle, file_record
from seetell.core.errors import (
    BundleDamaged,
    DeviceUnavailable,
    EngineError,
    PrecisionUnavailable,
    UsageError,
)
from seetell.runtime import comparison, fastest_engine, onnxruntime_engine, openvino_engine, select
from seetell.runtime.comparison import Way
from seetell.runtime.engine import Engine
from seetell.runtime.fastest_engine import FastestEngine
from seetell.runtime.onnxruntime_engine import ONNXRuntimeEngine
from seetell.runtime.openvino_engine import OpenVINOEngine, has_bf16
from seetell.runtime.select import choose_engine

WIDTH = 16
ENGINES = [OpenVINOEngine, ONNXRuntimeEngine]
MakeEngine = Callable[..., Engine]


def weight(seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(WIDTH, WIDTH)).astype(np.float32)


def _graph(
    path: Path, nodes: list[Any], inputs: list[Any], outputs: list[Any], constants: dict[str, Any]
) -> None:
    graph = helper.make_graph(
        nodes,
        "tiny",
        inputs,
        outputs,
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def _value(name: str, kind: int, *axes: str | int) -> Any:
    return helper.make_tensor_value_info(name, kind, list(axes))


def write_encoder(path: Path, seed: int = 0) -> None:
    """image_embeds = tanh(pixel_values @ W), image_tokens = pixel_values + 1."""
    _graph(
        path,
        [
            helper.make_node("MatMul", ["pixel_values", "W"], ["product"]),
            helper.make_node("Tanh", ["product"], ["image_embeds"]),
            helper.make_node("Add", ["pixel_values", "one"], ["image_tokens"]),
        ],
        [_value("pixel_values", TensorProto.FLOAT, "B", WIDTH)],
        [
            _value("image_embeds", TensorProto.FLOAT, "B", WIDTH),
            _value("image_tokens", TensorProto.FLOAT, "B", WIDTH),
        ],
        {"W": weight(seed), "one": np.ones(1, np.float32)},
    )


def write_decoder(path: Path) -> None:
    """present = the cache's rows ``beam_idx`` with ``input_ids`` appended; logits = the sum of present."""
    _graph(
        path,
        [
            helper.make_node("Gather", ["past", "beam_idx"], ["kept"], axis=0),
            helper.make_node("Cast", ["input_ids"], ["new"], to=TensorProto.FLOAT),
            helper.make_node("Where", ["attention_mask", "new", "zero"], ["seen"]),
            helper.make_node("Concat", ["kept", "seen"], ["present"], axis=1),
            helper.make_node("ReduceSum", ["present", "axis"], ["logits"], keepdims=0),
        ],
        [
            _value("input_ids", TensorProto.INT64, "B", "T"),
            _value("attention_mask", TensorProto.BOOL, "B", "T"),
            _value("beam_idx", TensorProto.INT64, "B"),
            _value("past", TensorProto.FLOAT, "B", "P"),
        ],
        [
            _value("present", TensorProto.FLOAT, "B", "S"),
            _value("logits", TensorProto.FLOAT, "B"),
        ],
        {"zero": np.zeros(1, np.float32), "axis": np.array([1], np.int64)},
    )


def tensor(dtype: str, *axes: str | int) -> TensorSpec:
    return TensorSpec.model_validate({"dtype": dtype, "axes": axes})


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    folder = tmp_path / "bundle"
    folder.mkdir()
    write_encoder(folder / "image_encoder.onnx")
    write_decoder(folder / "text_decoder.onnx")
    manifest = Manifest(
        name="tiny",
        family="tiny",
        version="1",
        config={},
        tasks=("features",),
        licence="none",
        graphs={
            "image_encoder": GraphSpec(
                files={"fp32": "image_encoder.onnx"},
                inputs={"pixel_values": tensor("float32", "B", WIDTH)},
                outputs={
                    "image_embeds": tensor("float32", "B", WIDTH),
                    "image_tokens": tensor("float32", "B", WIDTH),
                },
            ),
            "text_decoder": GraphSpec(
                files={"fp32": "text_decoder.onnx"},
                inputs={
                    "input_ids": tensor("int64", "B", "T"),
                    "attention_mask": tensor("bool", "B", "T"),
                    "beam_idx": tensor("int64", "B"),
                    "past": tensor("float32", "B", "P"),
                },
                outputs={"present": tensor("float32", "B", "S"), "logits": tensor("float32", "B")},
            ),
        },
    )
    return Bundle(folder, manifest)


def pixels(rows: int = 3, seed: int = 1) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(rows, WIDTH)).astype(np.float32)


def expected(given: NDArray[np.float32], seed: int = 0) -> NDArray[np.float64]:
    return np.tanh(given.astype(np.float64) @ weight(seed))


def no_openvino() -> None:
    raise ImportError("no openvino")


needs_bf16 = pytest.mark.skipif(not has_bf16(), reason="this processor does not compute in bf16")


@pytest.mark.parametrize("make", ENGINES)
def test_fp32_is_exact_for_any_batch(bundle: Bundle, make: MakeEngine) -> None:
    engine = make(bundle, precision="fp32", threads=1)
    for rows in (3, 1, 7):
        found = engine.run("image_encoder", {"pixel_values": pixels(rows)}, ["image_embeds"])
        assert found.keys() == {"image_embeds"}
        np.testing.assert_allclose(found["image_embeds"], expected(pixels(rows)), atol=1e-5)
    both = engine.run("image_encoder", {"pixel_values": pixels()})
    assert both.keys() == {"image_embeds", "image_tokens"}
    np.testing.assert_array_equal(both["image_tokens"], pixels() + 1)
    assert (engine.precision, engine.device) == ("fp32", "cpu")


@pytest.mark.parametrize("make", ENGINES)
def test_results_are_the_callers_own(bundle: Bundle, make: MakeEngine) -> None:
    """A later run, or writing into a result or an input, changes nothing that was given out."""
    engine, given = make(bundle), pixels()
    first = engine.run("image_encoder", {"pixel_values": given})["image_tokens"]
    kept = first.copy()
    given[:] = 99
    second = engine.run("image_encoder", {"pixel_values": pixels(seed=5)})["image_tokens"]
    np.testing.assert_array_equal(first, kept)
    second[:] = 0
    np.testing.assert_array_equal(
        engine.run("image_encoder", {"pixel_values": pixels()})["image_tokens"], kept
    )


@pytest.mark.parametrize("make", ENGINES)
def test_inputs_of_any_layout(bundle: Bundle, make: MakeEngine) -> None:
    engine, given = make(bundle), pixels(6)
    frozen = given.copy()
    frozen.flags.writeable = False
    for odd in (given[::2], np.asfortranarray(given), frozen, given.astype(np.float64)):
        np.testing.assert_allclose(
            engine.run("image_encoder", {"pixel_values": odd})["image_embeds"],
            expected(np.asarray(odd, np.float32)),
            atol=1e-5,
        )


@pytest.mark.parametrize("make", ENGINES)
def test_a_cache_that_starts_empty_grows_and_is_reordered(bundle: Bundle, make: MakeEngine) -> None:
    engine = make(bundle)
    ids = np.array([[1, 2], [3, 4]], np.int64)
    past = np.zeros((2, 0), np.float32)
    beam_idx = np.arange(2)
    expect = np.zeros((2, 0), np.float32)
    for step in range(3):
        found = engine.run(
            "text_decoder",
            {
                "input_ids": ids + step,
                "attention_mask": np.ones((2, 2), np.bool_),
                "beam_idx": beam_idx,
                "past": past,
            },
        )
        expect = np.concatenate([expect[beam_idx], ids + step], axis=1)
        np.testing.assert_array_equal(found["present"], expect)
        np.testing.assert_array_equal(found["logits"], expect.sum(axis=1))
        past, beam_idx = found["present"], np.array([1, 1])


@needs_bf16
def test_bf16_is_bf16_and_fp32_stays_fp32_with_one_cache(bundle: Bundle) -> None:
    given = pixels(64)
    for _ in range(2):  # the second time from the cache
        exact = OpenVINOEngine(bundle, precision="fp32").run("image_encoder", {"pixel_values": given})
        rough = OpenVINOEngine(bundle, precision="bf16").run("image_encoder", {"pixel_values": given})
        np.testing.assert_allclose(exact["image_embeds"], expected(given), atol=1e-5)
        difference = np.abs(rough["image_embeds"] - expected(given)).max()
        assert 1e-4 < difference < 0.1


def test_bf16_where_the_processor_lacks_it(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino_engine, "_computes_bf16", lambda core, plugin: False)
    with pytest.raises(PrecisionUnavailable, match="bf16"):
        OpenVINOEngine(bundle, precision="bf16")
    assert choose_engine(bundle).precision == "fp32"


def test_int8_without_such_graphs_names_the_command(bundle: Bundle) -> None:
    for make in ENGINES:
        with pytest.raises(PrecisionUnavailable, match="seetell compress"):
            make(bundle, precision="int8")


def with_int8(bundle: Bundle, passed: bool) -> Bundle:
    write_encoder(bundle.folder / "image_encoder.int8.onnx", seed=9)
    encoder = bundle.manifest.graphs["image_encoder"]
    encoder = encoder.model_copy(update={"files": {**encoder.files, "int8": "image_encoder.int8.onnx"}})
    gate = GateRecord(passed=passed, tolerance=1.0, metric="r10", drop=0.2)
    graphs = {**bundle.manifest.graphs, "image_encoder": encoder}
    return Bundle(bundle.folder, bundle.manifest.model_copy(update={"graphs": graphs, "gate": gate}))


def taking(monkeypatch: pytest.MonkeyPatch, **seconds: float) -> None:
    """Ways take these times, by the first word of their name; those not named ten seconds."""

    def best_times_s(runs: Mapping[Way, Any], **_: object) -> dict[Way, float]:
        return {way: seconds.get(way.name.partition(",")[0], 10.0) for way in runs}

    monkeypatch.setattr(comparison, "best_times_s", best_times_s)


def test_auto_takes_int8_only_past_a_gate(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    taking(monkeypatch, fp32=2.0, int8=1.0)
    assert choose_engine(bundle, device="cpu").precision == "fp32"
    assert choose_engine(with_int8(bundle, passed=False), device="cpu").precision == "fp32"
    engine = choose_engine(with_int8(bundle, passed=True), device="cpu")
    assert engine.precision == "int8"
    found = engine.run("image_encoder", {"pixel_values": pixels()}, ["image_embeds"])["image_embeds"]
    np.testing.assert_allclose(found, expected(pixels(), seed=9), atol=1e-5)
    assert engine.outputs("text_decoder"), "a role left in fp32 runs beside it"


@pytest.mark.parametrize("without", ["nothing", "openvino"])
def test_auto_takes_what_is_fastest(bundle: Bundle, monkeypatch: pytest.MonkeyPatch, without: str) -> None:
    if without == "openvino":
        monkeypatch.setattr(openvino_engine, "import_openvino", no_openvino)
    taking(monkeypatch, fp32=2.0, int8=3.0)
    engine = choose_engine(with_int8(bundle, passed=True), device="cpu")
    assert engine.precision == "fp32", "a gate that was passed makes int8 no faster"
    assert engine.name == ("onnxruntime" if without == "openvino" else "openvino")
    found = engine.run("image_encoder", {"pixel_values": pixels()}, ["image_embeds"])["image_embeds"]
    np.testing.assert_allclose(found, expected(pixels()), atol=1e-5)


@needs_bf16
def test_bf16_is_taken_where_it_is_faster_and_not_for_being_there(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seconds, precision in ((1.0, "bf16"), (3.0, "fp32")):
        taking(monkeypatch, fp32=2.0, bf16=seconds)
        # Threads, so that the two questions are not one.
        assert choose_engine(bundle, device="cpu", threads=int(seconds)).precision == precision


def test_a_machine_measures_once_and_for_real(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEETELL_CACHE", str(tmp_path / "cache"))
    mixed = with_int8(bundle, passed=True)
    engine = choose_engine(mixed, device="cpu", threads=1)
    assert isinstance(engine, FastestEngine)
    found = engine.comparison
    assert {*found.ms[found.chosen]} == {"read 1", "write 1", "read 4"}
    floats = ["fp32", "bf16"] if has_bf16() else ["fp32"]
    assert [way.name for way in found.ms][: len(floats) + 1] == [*floats, "int8, rest f32"]
    assert found.chosen.precision == engine.precision
    [path] = (tmp_path / "cache").rglob("fastest-*.json")
    assert blobs(path.parent), "beside the compiled graphs"
    monkeypatch.setattr(fastest_engine, "compare", None)
    again = choose_engine(mixed, device="cpu", threads=1)
    assert isinstance(again, FastestEngine)
    assert again.comparison == found


@needs_bf16
@pytest.mark.parametrize("floats", ["f32", "bf16"])
def test_what_int8_leaves_in_floats(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, floats: Literal["f32", "bf16"]
) -> None:
    # Of this "int8" graph nothing is int8, so that all of it shows what it was computed in.
    mixed, given = with_int8(bundle, passed=False), pixels(64)

    def best_times_s(runs: Mapping[Way, Any], **_: object) -> dict[Way, float]:
        return {way: 1.0 if way.floats == floats else 2.0 for way in runs}

    monkeypatch.setattr(comparison, "best_times_s", best_times_s)
    engine = choose_engine(mixed, precision="int8", device="cpu")
    assert engine.precision == "int8", "known without measuring"
    for one in (engine, OpenVINOEngine(mixed, precision="int8", floats=floats)):
        found = one.run("image_encoder", {"pixel_values": given}, ["image_embeds"])["image_embeds"]
        difference = np.abs(found - expected(given, seed=9)).max()
        assert (difference < 1e-5) == (floats == "f32"), difference


def test_int8_alone_without_a_gate_says_how_to_run_it(bundle: Bundle) -> None:
    mixed = with_int8(bundle, passed=False)
    graphs = dict(mixed.manifest.graphs)
    encoder = graphs["image_encoder"]
    graphs["image_encoder"] = encoder.model_copy(update={"files": {"int8": encoder.files["int8"]}})
    alone = Bundle(mixed.folder, mixed.manifest.model_copy(update={"graphs": graphs}))
    with pytest.raises(PrecisionUnavailable, match="ask for precision int8"):
        choose_engine(alone, device="cpu")
    assert choose_engine(alone, precision="int8", device="cpu").precision == "int8"


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"precision": "fp16"}, "fp16"),
        ({"device": "tpu"}, "tpu"),
        ({"threads": 0}, "threads"),
        ({"streams": 0}, "streams"),
        ({"streams": 3, "threads": 2}, "streams is at least 1 and at most threads, 2, not 3"),
    ],
)
def test_unknown_words(bundle: Bundle, options: dict[str, Any], word: str) -> None:
    with pytest.raises(UsageError, match=word):
        choose_engine(bundle, **options)


def test_a_gpu_that_is_not_there(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino_engine, "_has", lambda core, plugin: plugin == "CPU")
    monkeypatch.setattr(onnxruntime_engine, "has_cuda", lambda: False)
    with pytest.raises(DeviceUnavailable, match="cpu"):
        choose_engine(bundle, device="gpu")
    assert choose_engine(bundle, device="auto").device == "cpu"
    with pytest.raises(DeviceUnavailable):
        ONNXRuntimeEngine(bundle, device="gpu")


def test_without_openvino_the_other_engine_serves(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino_engine, "import_openvino", no_openvino)
    monkeypatch.setattr(select.onnxruntime_engine, "has_cuda", lambda: False)
    engine = choose_engine(bundle)
    assert (engine.name, engine.precision) == ("onnxruntime", "fp32")
    with pytest.raises(DeviceUnavailable):
        choose_engine(bundle, device="gpu")


@pytest.mark.parametrize("make", ENGINES)
def test_wrong_calls_name_the_role(bundle: Bundle, make: MakeEngine) -> None:
    engine = make(bundle)
    for inputs, outputs, word in (
        ({}, None, "pixel_values"),
        ({"pixel_values": pixels(), "extra": pixels()}, None, "extra"),
        ({"pixel_values": pixels()}, ["nothing"], "nothing"),
        ({"pixel_values": np.zeros((2, WIDTH + 1), np.float32)}, None, "image_encoder"),
    ):
        with pytest.raises(EngineError, match=word) as caught:
            engine.run("image_encoder", inputs, outputs)
        assert "image_encoder" in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(EngineError, match="no fusion_encoder"):
        engine.run("fusion_encoder", {})
    assert engine.inputs("fusion_encoder") == engine.outputs("fusion_encoder") == frozenset()
    assert engine.inputs("image_encoder") == {"pixel_values"}


@pytest.mark.parametrize("make", ENGINES)
def test_a_damaged_graph_names_role_and_file(bundle: Bundle, make: MakeEngine) -> None:
    (bundle.folder / "image_encoder.onnx").write_bytes(b"not a graph")
    with pytest.raises(EngineError, match=r"image_encoder \(image_encoder\.onnx\)"):
        make(bundle).run("image_encoder", {"pixel_values": pixels()})


@pytest.mark.parametrize("make", ENGINES)
def test_a_closed_engine_says_so(bundle: Bundle, make: MakeEngine) -> None:
    engine = make(bundle)
    engine.run("image_encoder", {"pixel_values": pixels()})
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.run("image_encoder", {"pixel_values": pixels()})


@pytest.mark.parametrize("make", ENGINES)
def test_many_threads_get_their_own_answers(bundle: Bundle, make: MakeEngine) -> None:
    engine = make(bundle, threads=1)

    def ask(seed: int) -> bool:
        given = pixels(1 + seed % 5, seed)
        found = engine.run("image_encoder", {"pixel_values": given}, ["image_embeds"])["image_embeds"]
        return bool(np.allclose(found, expected(given), atol=1e-5))

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(ask, range(60)))


def test_streams_run_side_by_side_and_answer_the_same(bundle: Bundle) -> None:
    engine = choose_engine(bundle, precision="fp32", device="cpu", threads=2, streams=2)
    assert isinstance(engine, OpenVINOEngine)

    def ask(seed: int) -> bool:
        given = pixels(1 + seed % 5, seed)
        found = engine.run("image_encoder", {"pixel_values": given}, ["image_embeds"])["image_embeds"]
        return bool(np.allclose(found, expected(given), atol=1e-5))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(ask, range(40)))
    assert engine._graph("image_encoder").get_property("NUM_STREAMS") == 2


# --- the cache of compiled graphs ------------------------------------------------------------------------


def run_once(bundle: Bundle) -> NDArray[np.float32]:
    return np.asarray(
        OpenVINOEngine(bundle).run("image_encoder", {"pixel_values": pixels()}, ["image_embeds"])[
            "image_embeds"
        ]
    )


def blobs(cache: Path) -> list[Path]:
    return sorted(cache.rglob("*.blob"))


def test_compiled_graphs_are_kept_and_a_changed_bundle_is_compiled_anew(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setenv("SEETELL_CACHE", str(cache))
    np.testing.assert_allclose(run_once(bundle), expected(pixels()), atol=1e-5)
    kept = blobs(cache)
    assert kept
    run_once(bundle)
    assert blobs(cache) == kept
    path = bundle.folder / "image_encoder.onnx"
    before = path.stat()
    write_encoder(path, seed=4)
    # Edited within the same second and to the same size: only the sub-second time tells.
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    np.testing.assert_allclose(run_once(bundle), expected(pixels(), seed=4), atol=1e-5)


def test_a_damaged_cache_costs_time_and_no_answer(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setenv("SEETELL_CACHE", str(cache))
    run_once(bundle)
    for damage in (b"", b"rubbish" * 100):
        for blob in blobs(cache):
            blob.chmod(0o600)
            blob.write_bytes(damage)
        np.testing.assert_allclose(run_once(bundle), expected(pixels()), atol=1e-5)


def test_a_cache_that_cannot_be_written(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("a file stands where the cache should be")
    monkeypatch.setenv("SEETELL_CACHE", str(in_the_way))
    np.testing.assert_allclose(run_once(bundle), expected(pixels()), atol=1e-5)


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_cache(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "cache"
    cache.mkdir(mode=0o500)
    monkeypatch.setenv("SEETELL_CACHE", str(cache))
    np.testing.assert_allclose(run_once(bundle), expected(pixels()), atol=1e-5)


def test_a_cache_openvino_fails_with_is_left_aside(bundle: Bundle) -> None:
    engine = OpenVINOEngine(bundle)
    core, given = engine._core, []

    class Grumbling:
        def compile_model(self, path: str, plugin: str, properties: dict[str, Any]) -> Any:
            given.append(properties)
            if "CACHE_DIR" in properties:
                raise RuntimeError("No space left on device")
            return core.compile_model(path, plugin, properties)

    engine._core = Grumbling()
    found = engine.run("image_encoder", {"pixel_values": pixels()}, ["image_embeds"])["image_embeds"]
    np.testing.assert_allclose(found, expected(pixels()), atol=1e-5)
    assert ["CACHE_DIR" in properties for properties in given] == [True, False]


def test_importing_openvino_brings_no_converter_and_no_telemetry() -> None:
    code = """
        import importlib.util, sys
        from seetell.runtime.openvino_engine import import_openvino
        assert import_openvino().Core().available_devices
        loud = [name for name in sys.modules if "telemetry" in name or name.startswith("openvino.tools.ovc")]
        assert not loud, loud
        # Still there for anyone who wants it.
        assert importlib.util.find_spec("openvino.tools.ovc")
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=120)


@pytest.mark.parametrize("make", ENGINES)
def test_a_graph_that_differs_from_its_hash_is_called_damaged(bundle: Bundle, make: MakeEngine) -> None:
    path = bundle.folder / "image_encoder.onnx"
    recorded = bundle.manifest.model_copy(update={"files": {path.name: file_record(path)}})
    path.write_bytes(b"x" * path.stat().st_size)
    with pytest.raises(BundleDamaged, match=r"image_encoder\.onnx: its content differs"):
        make(Bundle(bundle.folder, recorded)).run("image_encoder", {"pixel_values": pixels()})
