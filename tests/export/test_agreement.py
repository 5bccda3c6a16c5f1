"""A graph that computes something else must be found, and the record must say what was computed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from safetensors.numpy import load_file

from seetell.bundle.check import CHECK_NAME, run_check
from seetell.bundle.store import Bundle, open_bundle
from seetell.core.errors import ExportError
from seetell.modeling.export.agreement import (
    Case,
    check_record,
    largest_difference,
    record_cases,
    rounding_change,
)
from seetell.modeling.export.plain_openvino import PlainOpenVINO
from seetell.modeling.export.torch_engine import TorchEngine
from seetell.modeling.export.weights import WEIGHTS_NAME
from seetell.modeling.models.assembled import ModelLimits
from seetell.runtime.engine import Arrays
from seetell.runtime.onnxruntime_engine import ONNXRuntimeEngine
from seetell.runtime.openvino_engine import OpenVINOEngine


@pytest.fixture(scope="module")
def cases(stored_engine: TorchEngine) -> list[Case]:
    return record_cases(stored_engine, ModelLimits(vocab_size=280, context_length=16))


@pytest.fixture
def copy(tiny_bundle: Bundle, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_bundle.folder, tmp_path / "copy"))


class Fixed:
    """An engine that gives what it is told."""

    name = "fixed"

    def __init__(self, found: Arrays) -> None:
        self.found = found

    def run(self, role: str, inputs: Arrays, outputs: Any = None) -> Arrays:
        return self.found


@pytest.mark.parametrize(
    ("weight", "roles"),
    [
        ("text_trunk.blocks.0.mlp.down.weight", {"text_encoder", "fusion_encoder", "text_decoder"}),
        ("image_encoder.resnet.stem.0.0.weight", {"image_encoder"}),
    ],
)
def test_a_corrupted_weight_is_found(
    weight: str, roles: set[str], copy: Path, cases: list[Case], stored_engine: TorchEngine
) -> None:
    role = sorted(roles)[0]
    graph = onnx.load(copy / f"{role}.onnx", load_external_data=False)
    tensor = next(one for one in graph.graph.initializer if one.name == weight)
    offset = next(int(entry.value) for entry in tensor.external_data if entry.key == "offset")
    with (copy / WEIGHTS_NAME).open("r+b") as file:
        file.seek(offset)
        file.write(np.array(3.0, onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)).tobytes())
    engine = PlainOpenVINO(copy, stored_engine.graphs)
    for case in cases:
        if case.role in roles:
            with pytest.raises(ExportError, match=rf"^{case.role}: \S+ differs from torch by \d"):
                largest_difference(engine, [case])
        else:
            assert largest_difference(engine, [case]) < 1e-3


def test_a_graph_that_does_not_load_is_found(
    copy: Path, cases: list[Case], stored_engine: TorchEngine
) -> None:
    (copy / "text_encoder.onnx").write_bytes(b"not a graph")
    (copy / "image_encoder.onnx").unlink()
    engine = PlainOpenVINO(copy, stored_engine.graphs)
    for role in ("text_encoder", "image_encoder"):
        with pytest.raises(ExportError, match=f"^{role} fails in OpenVINO: .+") as caught:
            largest_difference(engine, [case for case in cases if case.role == role])
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "found",
    [
        np.array([[1.0, np.nan]], np.float32),
        np.array([[1.0, np.inf]], np.float32),
        np.array([[1.0, 2.002]], np.float32),
        np.array([1.0, 2.0], np.float32),
        np.array([[1.0], [2.0]], np.float32),
        np.array([[1.0, 2.0]], np.float64),
        None,
    ],
)
def test_what_is_not_agreement(found: Any) -> None:
    case = Case("text_encoder", {}, {"text_embeds": np.array([[1.0, 2.0]], np.float32)})
    with pytest.raises(ExportError, match="text_encoder: text_embeds differs"):
        largest_difference(Fixed({} if found is None else {"text_embeds": found}), [case])  # type: ignore[arg-type]  # runs only


def test_nan_on_both_sides_is_not_agreement() -> None:
    nan = np.array([np.nan], np.float32)
    with pytest.raises(ExportError):
        largest_difference(Fixed({"x": nan}), [Case("text_encoder", {}, {"x": nan})])  # type: ignore[arg-type]  # runs only


def test_masks_must_be_equal() -> None:
    case = Case("image_encoder", {}, {"image_mask": np.array([True, False])})
    assert largest_difference(Fixed({"image_mask": np.array([True, False])}), [case]) == 0  # type: ignore[arg-type]  # runs only
    with pytest.raises(ExportError, match="image_mask"):
        largest_difference(Fixed({"image_mask": np.array([True, True])}), [case])  # type: ignore[arg-type]  # runs only


def test_rounding_change_names_the_output_and_takes_the_worst_case() -> None:
    def case(values: list[float]) -> Case:
        return Case("text_encoder", {}, {"a": np.array(values, np.float32), "b": np.ones(2, np.float32)})

    before, after = [case([3, 4]), case([3, 4])], [case([3, 4.5]), case([3, 4])]
    assert rounding_change(before, after) == {"text_encoder/a": pytest.approx(0.1), "text_encoder/b": 0}
    broken = rounding_change(before, [case([3, 4]), case([np.nan, 4])])
    assert np.isnan(broken["text_encoder/a"])


def test_the_record_is_small_and_complete(tiny_bundle: Bundle, cases: list[Case]) -> None:
    path = tiny_bundle.path(CHECK_NAME)
    assert path.stat().st_size < 300_000
    record = load_file(path)
    for role, graph in tiny_bundle.manifest.graphs.items():
        first = next(case for case in cases if case.role == role)
        for name, spec in graph.inputs.items():
            stored = record[f"{role}/input/{name}"]
            # Narrowed dtypes must hold the very same numbers.
            np.testing.assert_array_equal(stored.astype(spec.dtype), first.inputs[name])
        for name in graph.outputs:
            np.testing.assert_array_equal(record[f"{role}/output/{name}"], first.expected[name])
    assert record["image_encoder/input/pixel_values"].dtype == np.int8


def test_large_outputs_are_left_out_of_the_record(tmp_path: Path) -> None:
    def case(role: Any) -> Case:
        outputs = {"large": np.zeros(70_000, np.float32), "small": np.zeros(3, np.float32)}
        return Case(role, {"x": np.full(4, 0.5, np.float32)}, outputs)

    data = check_record([case("image_encoder"), case("text_encoder"), case("text_encoder")])
    assert len(data) < 300_000
    (tmp_path / "f").write_bytes(data)
    names = set(load_file(tmp_path / "f"))
    assert {
        f"{role}_encoder/{one}" for role in ("image", "text") for one in ("input/x", "output/small")
    } <= names
    assert "text_encoder/output/large" not in names


def test_every_role_has_an_output_to_be_judged_by_however_large(tmp_path: Path) -> None:
    photo = Case(
        "image_encoder",
        {"pixel_values": np.full((1, 3, 400, 400), 0.5, np.float32)},
        {"image_tokens": np.ones((1, 600, 768), np.float32), "image_mask": np.ones((1, 600), np.bool_)},
    )
    words = Case(
        "text_decoder",
        {"input_ids": np.ones((1, 1), np.int64)},
        {"logits": np.ones((1, 1, 30_000), np.float32), "present.0.key": np.ones(8, np.float32)},
    )
    (tmp_path / "f").write_bytes(check_record([photo, words]))
    record = load_file(tmp_path / "f")
    for case, name in ((photo, "image_tokens"), (words, "logits")):
        np.testing.assert_array_equal(record[f"{case.role}/output/{name}"], case.expected[name])


def test_the_shipped_engines_reproduce_the_record(tiny_bundle: Bundle) -> None:
    for kind in (OpenVINOEngine, ONNXRuntimeEngine):
        engine = kind(open_bundle(tiny_bundle.folder), precision="fp32", threads=1)
        differences = run_check(tiny_bundle, engine)
        engine.close()
        assert {one.role for one in differences} == set(tiny_bundle.manifest.graphs)
        assert max(one.max_abs_diff for one in differences) < 1e-4
