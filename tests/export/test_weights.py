"""One file of weights that torch reads back and every graph points into."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import load_file, save

from seetell.bundle.store import Bundle
from seetell.core.errors import ExportError
from seetell.modeling.export import onnx_export
from seetell.modeling.export.onnx_export import export_graph
from seetell.modeling.export.roles.unified import DecoderMemory
from seetell.modeling.export.weights import (
    WEIGHTS_NAME,
    choose_storage,
    names_by_content,
    point_into_file,
    write_weights,
)
from seetell.modeling.models.unified import UnifiedModel

NUMPY = {onnx.TensorProto.FLOAT: np.float32, onnx.TensorProto.FLOAT16: np.float16}


def graphs(bundle: Bundle) -> dict[str, onnx.ModelProto]:
    return {
        role: onnx.load(bundle.graph_path(role), load_external_data=False) for role in bundle.manifest.graphs
    }


def test_weights_are_stored_once_and_in_half(tiny_bundle: Bundle, tiny_model: UnifiedModel) -> None:
    floats = [one for one in tiny_model.state_dict().values() if one.is_floating_point()]
    # Kernels of this model are all small, and stay as they are.
    matrices = sum(one.numel() for one in tiny_model.parameters() if one.ndim in (2, 3))
    others = sum(one.numel() for one in floats) - matrices
    header_and_counters = 20_000
    size_bytes = (tiny_bundle.folder / WEIGHTS_NAME).stat().st_size
    assert 2 * matrices + 4 * others <= size_bytes <= 2 * matrices + 4 * others + header_and_counters


def test_graphs_hold_no_weight_of_their_own(tiny_bundle: Bundle) -> None:
    for role, graph in graphs(tiny_bundle).items():
        inline = [one for one in graph.graph.initializer if one.data_location != onnx.TensorProto.EXTERNAL]
        # The position grid [8 cells, 32] and the means and variances batch norm makes for itself.
        assert all(len(one.raw_data) <= 8 * 32 * 4 for one in inline), role
        assert any(one.data_location == onnx.TensorProto.EXTERNAL for one in graph.graph.initializer), role


def test_references_lead_to_the_right_bytes(tiny_bundle: Bundle) -> None:
    data = (tiny_bundle.folder / WEIGHTS_NAME).read_bytes()
    state = load_file(tiny_bundle.folder / WEIGHTS_NAME)
    used = set()
    for graph in graphs(tiny_bundle).values():
        for one in graph.graph.initializer:
            place = {entry.key: entry.value for entry in one.external_data}
            if not place:
                continue
            assert place["location"] == WEIGHTS_NAME
            start, length = int(place["offset"]), int(place["length"])
            found = np.frombuffer(data[start : start + length], NUMPY[one.data_type]).reshape(one.dims)
            np.testing.assert_array_equal(found, state[one.name].numpy())
            used.add(one.name)
    unused = {name for name in state if name not in used and not name.endswith("num_batches_tracked")}
    # The temperature is in the manifest, and is needed to train on.
    assert unused == {"logit_scale"}


def test_trunk_weights_are_shared_between_graphs(tiny_bundle: Bundle) -> None:
    places = []
    for role in ("text_encoder", "fusion_encoder", "text_decoder"):
        graph = onnx.load(tiny_bundle.graph_path(role), load_external_data=False)
        embedding = next(one for one in graph.graph.initializer if one.name == "text_embedding.tokens.weight")
        places.append({entry.key: entry.value for entry in embedding.external_data})
    assert places[0] == places[1] == places[2]


def test_graphs_name_neither_machine_nor_source(tiny_bundle: Bundle) -> None:
    for role in tiny_bundle.manifest.graphs:
        content = tiny_bundle.graph_path(role).read_bytes()
        for trace in (str(Path(onnx_export.__file__).parents[3]), str(Path.home()), ".py"):
            assert trace.encode() not in content, (role, trace)


def test_the_same_model_gives_the_same_bytes(make_model: Callable[..., UnifiedModel], tmp_path: Path) -> None:
    found = []
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        model = make_model()
        stored = choose_storage(model.state_dict(), "fp16")
        stored.round_in_place()
        places = write_weights(tmp_path / place / WEIGHTS_NAME, stored)
        graph = export_graph(DecoderMemory(model).eval())
        point_into_file(graph, names_by_content(stored), places, "decoder_memory")
        onnx_export.ir.save(graph, tmp_path / place / "graph.onnx")
        found.append([(tmp_path / place / name).read_bytes() for name in (WEIGHTS_NAME, "graph.onnx")])
    assert found[0] == found[1]


def test_a_weight_that_changed_is_refused(make_model: Callable[..., UnifiedModel], tmp_path: Path) -> None:
    model = make_model()
    stored = choose_storage(model.state_dict(), "fp16")
    places = write_weights(tmp_path / WEIGHTS_NAME, stored)
    graph = export_graph(DecoderMemory(model).eval())  # with the weights before rounding
    with pytest.raises(ExportError, match=r"decoder_memory: the weight fusion\..* changed"):
        point_into_file(graph, names_by_content(stored), places, "decoder_memory")


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (torch.full((4, 4), 1e-9), torch.float32),  # float16 makes it 0
        (torch.full((4, 4), 1e6), torch.float32),  # float16 makes it infinite
        (torch.tensor([[1e-7, 1.0]]), torch.float16),  # the small one does not matter beside the other
        (torch.zeros(3, 3), torch.float16),
        (torch.zeros(0, 3), torch.float16),
        (torch.full((4,), 0.1), torch.float32),  # vectors are not worth it
        (torch.tensor(0.1), torch.float32),
        (torch.full((2, 2), 0.1, dtype=torch.bfloat16), torch.float16),
        (torch.tensor(3), torch.int64),
    ],
)
def test_what_is_stored_as_float16(value: torch.Tensor, dtype: torch.dtype) -> None:
    stored = choose_storage({"w": value}, "fp16")
    assert stored.tensor("w").dtype == dtype
    kept = value.ndim >= 2 and dtype == torch.float32
    assert set(stored.kept_fp32) == ({"w"} if kept else set())
    whole = choose_storage({"w": value}, "fp32").tensor("w")
    assert whole.dtype == (torch.int64 if value.dtype == torch.int64 else torch.float32)


def test_small_kernels_stay_as_they_are() -> None:
    """What they round is carried on by everything above them."""
    state = {"small": torch.full((32, 16, 3, 3), 0.1), "large": torch.full((160, 128, 1, 1), 0.1)}
    stored = choose_storage(state, "fp16")
    assert stored.dtypes == {"small": torch.float32, "large": torch.float16}
    assert not stored.kept_fp32, "nothing is wrong with it"


def test_tied_weights_are_stored_once(tmp_path: Path) -> None:
    shared = torch.randn(3, 5)
    stored = choose_storage({"a": shared, "b": shared, "c": shared.T, "d": shared.clone()}, "fp32")
    # A transposed view is another tensor; a copy is not tied, only equal.
    assert list(stored.sources) == ["a", "c", "d"]
    places = write_weights(tmp_path / WEIGHTS_NAME, stored)
    data = (tmp_path / WEIGHTS_NAME).read_bytes()
    for name in stored.sources:
        at = places[name]
        found = np.frombuffer(data[at.offset : at.offset + at.size_bytes], np.float32).reshape(at.shape)
        np.testing.assert_array_equal(found, stored.tensor(name).numpy())


def test_the_file_is_one_that_safetensors_reads(
    make_model: Callable[..., UnifiedModel], tmp_path: Path
) -> None:
    state = {
        **make_model().state_dict(),
        "empty": torch.zeros(0, 3),
        "scalar": torch.tensor(0.5),
        "turned": torch.randn(4, 6).T,
    }
    stored = choose_storage(state, "fp16")
    places = write_weights(tmp_path / WEIGHTS_NAME, stored)
    found = load_file(tmp_path / WEIGHTS_NAME)
    assert set(found) == set(places) == set(stored.sources)
    for name, tensor in found.items():
        assert tensor.dtype == stored.dtypes[name]
        assert torch.equal(tensor, stored.tensor(name)), name
    # As safetensors' own writer lays it out, so that a rewritten file is the same.
    expected = save({name: stored.tensor(name) for name in stored.sources})
    assert (tmp_path / WEIGHTS_NAME).read_bytes() == expected


def test_only_rounding_changes_the_model(make_model: Callable[..., UnifiedModel], tmp_path: Path) -> None:
    model = make_model()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    stored = choose_storage(model.state_dict(), "fp16")
    write_weights(tmp_path / WEIGHTS_NAME, stored)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    stored.round_in_place()
    for name, tensor in model.state_dict().items():
        rounded = before[name].half().float() if stored.dtypes[name] == torch.float16 else before[name]
        assert torch.equal(tensor, rounded), name
    # Rounding twice is rounding once, so that what is stored stays what the model computes with.
    assert load_file(tmp_path / WEIGHTS_NAME)["text_embedding.tokens.weight"].equal(
        stored.tensor("text_embedding.tokens.weight")
    )
