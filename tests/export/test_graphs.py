"""Exported graphs against torch, in both engines, where traced graphs go wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from numpy.typing import NDArray

from seetell.bundle.store import Bundle
from seetell.modeling.export.agreement import largest_difference, record_cases
from seetell.modeling.export.onnx_export import export_graph
from seetell.modeling.export.plain_openvino import PlainOpenVINO
from seetell.modeling.export.torch_engine import TorchEngine
from seetell.modeling.export.weights import (
    WEIGHTS_NAME,
    choose_storage,
    names_by_content,
    point_into_file,
    write_weights,
)
from seetell.modeling.models.assembled import ModelLimits
from seetell.modeling.models.unified import UnifiedModel
from seetell.runtime.engine import Arrays, Engine
from seetell.runtime.generation import GenerationOptions, TextDecoder, generate
from seetell.runtime.onnxruntime_engine import ONNXRuntimeEngine
from seetell.runtime.openvino_engine import OpenVINOEngine

LIMITS = ModelLimits(vocab_size=280, context_length=16)
# float32 engines sum in another order; anything structural is off by far more.
TIGHT = 2e-5


@pytest.fixture(scope="module", params=[OpenVINOEngine, ONNXRuntimeEngine])
def engine(request: pytest.FixtureRequest, tiny_bundle: Bundle) -> Iterator[Engine]:
    found = request.param(tiny_bundle, precision="fp32", threads=1)
    yield found
    found.close()


def export_into(folder: Path, model: UnifiedModel, roles: set[str]) -> TorchEngine:
    """Graphs of some roles, and torch with the weights they were given."""
    stored = choose_storage(model.state_dict(), "fp16")
    stored.round_in_place()
    torch_engine = TorchEngine(model)
    places, contents = write_weights(folder / WEIGHTS_NAME, stored), names_by_content(stored)
    for module in torch_engine.modules:
        if module.role in roles:
            graph = export_graph(module)
            point_into_file(graph, contents, places, module.role)
            ir.save(graph, folder / f"{module.role}.onnx")
    return torch_engine


class PlainONNXRuntime:
    name = "onnxruntime"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, role: str, inputs: Arrays, outputs: Any = None) -> Arrays:
        import onnxruntime

        session = onnxruntime.InferenceSession(
            str(self.folder / f"{role}.onnx"), providers=["CPUExecutionProvider"]
        )
        names = [one.name for one in session.get_outputs()]
        return dict(zip(names, session.run(names, inputs), strict=True))


def agree(folder: Path, torch_engine: TorchEngine, roles: set[str]) -> None:
    cases = [case for case in record_cases(torch_engine, LIMITS) if case.role in roles]
    assert {case.role for case in cases} == roles
    for engine in (PlainOpenVINO(folder, torch_engine.graphs), PlainONNXRuntime(folder)):
        assert largest_difference(engine, cases) < 1e-4  # type: ignore[arg-type]  # only run() is used


def test_all_roles_agree_with_torch(engine: Engine, stored_engine: TorchEngine) -> None:
    cases = record_cases(stored_engine, LIMITS)
    assert len({case.role for case in cases}) == 5
    assert any(
        case.inputs["past_key_values.0.key"].shape[2] == 0 for case in cases if case.role == "text_decoder"
    )
    assert largest_difference(engine, cases, tolerance=1e-4) < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("image", ["vit", "resnet"])
def test_other_image_encoders_agree(
    image: str, make_model: Callable[..., UnifiedModel], tmp_path: Path
) -> None:
    torch_engine = export_into(tmp_path, make_model(image), {"image_encoder"})
    agree(tmp_path, torch_engine, {"image_encoder"})


@pytest.mark.slow
@pytest.mark.parametrize("fusion", ["co_attention", "gated", "projection"])
def test_other_fusions_agree(fusion: str, make_model: Callable[..., UnifiedModel], tmp_path: Path) -> None:
    roles = {"fusion_encoder", "decoder_memory", "text_decoder"}
    torch_engine = export_into(tmp_path, make_model("resnet", fusion), roles)
    agree(tmp_path, torch_engine, roles)


def decoder_inputs(engine: Engine, ids: NDArray[np.int64], length: int) -> Arrays:
    """Everything but cache and ids for a memory of ``length`` tokens, the last masked in the second row."""
    random = np.random.default_rng(3)
    memory = random.standard_normal((len(ids), length, 32), np.float32)
    mask = np.ones((len(ids), length), np.bool_)
    mask[1:, -1] = False
    return {"memory_mask": mask, **engine.run("decoder_memory", {"memory_tokens": memory})}


def step(
    engine: Engine,
    fixed: Arrays,
    cache: Arrays,
    ids: NDArray[np.int64],
    mask: NDArray[np.bool_],
    beams: list[int],
) -> tuple[NDArray[np.float32], Arrays]:
    inputs = {
        **fixed,
        **cache,
        "input_ids": ids,
        "attention_mask": mask,
        "beam_idx": np.array(beams, np.int64),
    }
    found = engine.run("text_decoder", inputs)
    logits = found.pop("logits")
    return logits, {name.replace("present", "past_key_values"): value for name, value in found.items()}


def empty_cache(engine: Engine, rows: int) -> Arrays:
    return {
        f"past_key_values.{layer}.{part}": np.zeros((rows, heads, 0, 32 // heads), np.float32)
        for layer, heads in enumerate((2, 4))
        for part in ("key", "value")
    }


def test_cached_decoding_equals_one_pass(engine: Engine) -> None:
    ids = np.random.default_rng(0).integers(0, 280, (2, 9)).astype(np.int64)
    fixed = decoder_inputs(engine, ids, 5)
    whole, whole_cache = step(engine, fixed, empty_cache(engine, 2), ids, np.ones((2, 9), np.bool_), [0, 1])
    cache, pieces, done = empty_cache(engine, 2), [], 0
    for count in (1, 1, 3, 1, 2, 1):
        new = ids[:, done : done + count]
        done += count
        logits, cache = step(engine, fixed, cache, new, np.ones((2, done), np.bool_), [0, 1])
        pieces.append(logits)
    np.testing.assert_allclose(np.concatenate(pieces, axis=1), whole, atol=TIGHT)
    for name, value in cache.items():
        np.testing.assert_allclose(value, whole_cache[name], atol=TIGHT)


def test_beams_take_their_cache_along(engine: Engine) -> None:
    ids = np.array([[5, 20, 30], [6, 40, 50]], np.int64)
    # The memory is the caller's to repeat: the same for all rows here.
    fixed = {name: value[[0, 0]] for name, value in decoder_inputs(engine, ids, 4).items()}
    _, cache = step(engine, fixed, empty_cache(engine, 2), ids, np.ones((2, 3), np.bool_), [0, 1])
    new, mask = np.array([[60], [70]], np.int64), np.ones((2, 4), np.bool_)
    gathered, after = step(engine, fixed, cache, new, mask, [1, 1])
    by_hand = {name: value[[1, 1]] for name, value in cache.items()}
    expected, expected_after = step(engine, fixed, by_hand, new, mask, [0, 1])
    unmoved, _ = step(engine, fixed, cache, new, mask, [0, 1])
    np.testing.assert_allclose(gathered, expected, atol=TIGHT)
    for name, value in after.items():
        np.testing.assert_allclose(value, expected_after[name], atol=TIGHT)
    assert np.abs(gathered[0] - unmoved[0]).max() > 1e-2, "the cache has no say, so this test says nothing"


def test_padding_on_the_left_changes_nothing(engine: Engine) -> None:
    ids = np.array([[5, 20, 30, 40], [5, 20, 30, 40]], np.int64)
    fixed = {name: value[[0, 0]] for name, value in decoder_inputs(engine, ids, 4).items()}
    plain, _ = step(engine, fixed, empty_cache(engine, 2), ids, np.ones((2, 4), np.bool_), [0, 1])
    padded = np.concatenate([np.full((2, 3), 99, np.int64), ids], axis=1)
    mask = np.concatenate([np.zeros((2, 3), np.bool_), np.ones((2, 4), np.bool_)], axis=1)
    found, _ = step(engine, fixed, empty_cache(engine, 2), padded, mask, [0, 1])
    np.testing.assert_allclose(found[:, 3:], plain, atol=TIGHT)


def test_a_batch_equals_its_rows(engine: Engine) -> None:
    random = np.random.default_rng(5)
    pixels = random.standard_normal((8, 3, 16, 32), np.float32)
    ids = random.integers(0, 280, (8, 7)).astype(np.int64)
    mask = np.arange(7)[None] < np.array([7, 3, 5, 1, 7, 2, 6, 4])[:, None]
    images = engine.run("image_encoder", {"pixel_values": pixels})
    inputs = {
        "input_ids": ids,
        "attention_mask": mask,
        "image_tokens": images["image_tokens"],
        "image_mask": images["image_mask"],
    }
    texts = engine.run("text_encoder", {"input_ids": ids, "attention_mask": mask})
    fused = engine.run("fusion_encoder", inputs)
    for row in range(8):
        one = slice(row, row + 1)
        length = int(mask[row].sum())  # alone, the row needs no padding either
        image = engine.run("image_encoder", {"pixel_values": pixels[one]})
        for name, value in image.items():
            np.testing.assert_allclose(value, images[name][one], atol=TIGHT, err_msg=name)
        alone = {"input_ids": ids[one, :length], "attention_mask": mask[one, :length]}
        text = engine.run("text_encoder", alone)
        np.testing.assert_allclose(text["text_embeds"], texts["text_embeds"][one], atol=TIGHT)
        seen = {"image_tokens": image["image_tokens"], "image_mask": image["image_mask"]}
        found = engine.run("fusion_encoder", {**alone, **seen})
        for name in ("match_logits", "answer_logits"):
            np.testing.assert_allclose(found[name], fused[name][one], atol=TIGHT, err_msg=name)
        np.testing.assert_allclose(found["token_logits"], fused["token_logits"][one, :length], atol=TIGHT)


def test_embeddings_are_unit_length(engine: Engine) -> None:
    pixels = np.random.default_rng(1).standard_normal((3, 3, 16, 32), np.float32)
    found = engine.run("image_encoder", {"pixel_values": pixels}, ["image_embeds"])
    np.testing.assert_allclose(np.linalg.norm(found["image_embeds"], axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("beams", [1, 3])
def test_captions_are_those_of_torch(
    beams: int, engine: Engine, stored_engine: TorchEngine, tiny_bundle: Bundle
) -> None:
    pixels = np.random.default_rng(2).standard_normal((6, 3, 16, 32), np.float32)
    options = GenerationOptions(max_tokens=12, beams=beams)
    written = []
    for one in (stored_engine, engine):
        images = one.run("image_encoder", {"pixel_values": pixels}, ["image_tokens", "image_mask"])
        decoder = TextDecoder(one, tiny_bundle.manifest.graphs["text_decoder"], eos_id=3, context_length=16)
        texts = generate(decoder, images["image_tokens"], images["image_mask"], [5], options)
        written.append([text[0].ids for text in texts])
    assert written[0] == written[1]
    assert len(set(written[0])) > 1, "all captions are the same, so this test says little"
