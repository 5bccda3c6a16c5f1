"""The torch model behind the same protocol as the engines that ship."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from seetell.core.errors import EngineError
from seetell.modeling.export.torch_engine import TorchEngine
from seetell.modeling.models.unified import UnifiedModel
from seetell.runtime.engine import Engine

IDS = np.array([[1, 20, 30, 3], [1, 40, 3, 0]], np.int64)
MASK = np.array([[1, 1, 1, 1], [1, 1, 1, 0]], np.bool_)


def test_is_an_engine(tiny_model: UnifiedModel) -> None:
    engine: Engine = TorchEngine(tiny_model)
    assert (engine.name, engine.precision, engine.device) == ("torch", "fp32", "cpu")
    assert engine.inputs("text_encoder") == {"input_ids", "attention_mask"}
    assert "match_logits" in engine.outputs("fusion_encoder")
    assert engine.inputs("embed_tokens") == engine.outputs("embed_tokens") == frozenset()


def test_gives_what_the_model_gives(tiny_model: UnifiedModel) -> None:
    found = TorchEngine(tiny_model).run("text_encoder", {"input_ids": IDS, "attention_mask": MASK})
    with torch.no_grad():
        expected = tiny_model.encode_text(torch.from_numpy(IDS), torch.from_numpy(MASK))
    np.testing.assert_array_equal(found["text_embeds"], expected.embeds.numpy())
    np.testing.assert_array_equal(found["text_tokens"], expected.tokens.numpy())


def test_only_what_is_asked_for_comes_back(tiny_model: UnifiedModel) -> None:
    inputs = {"input_ids": IDS, "attention_mask": MASK}
    assert set(TorchEngine(tiny_model).run("text_encoder", inputs, ["text_embeds"])) == {"text_embeds"}


@pytest.mark.parametrize(
    ("role", "inputs", "outputs", "words"),
    [
        ("text_encoder", {"input_ids": IDS}, None, "attention_mask"),
        ("text_encoder", {"input_ids": IDS, "attention_mask": MASK, "more": IDS}, None, "more"),
        ("text_encoder", {"input_ids": IDS, "attention_mask": MASK}, ["logits"], "logits"),
        ("text_encoder", {"input_ids": IDS, "attention_mask": MASK[:, :2]}, None, "failed in torch"),
        ("text_encoder", {"input_ids": IDS + 10_000, "attention_mask": MASK}, None, "failed in torch"),
        ("embed_tokens", {}, None, "no embed_tokens; it has: decoder_memory, fusion_encoder"),
    ],
)
def test_wrong_calls(
    role: str, inputs: dict, outputs: list[str] | None, words: str, tiny_model: UnifiedModel
) -> None:
    with pytest.raises(EngineError, match=words) as caught:
        TorchEngine(tiny_model).run(role, inputs, outputs)
    assert "\n" not in str(caught.value)


def test_odd_arrays_are_welcome(tiny_model: UnifiedModel) -> None:
    engine = TorchEngine(tiny_model)
    expected = engine.run("text_encoder", {"input_ids": IDS, "attention_mask": MASK})
    frozen = np.asfortranarray(IDS.astype(np.int32))
    frozen.setflags(write=False)
    found = engine.run("text_encoder", {"input_ids": frozen, "attention_mask": MASK.astype(np.uint8)})
    np.testing.assert_array_equal(found["text_embeds"], expected["text_embeds"])


def test_validation_in_the_middle_of_training(make_model: Callable[..., UnifiedModel]) -> None:
    """Batch statistics must neither be used nor moved, whatever mode the loop left the model in."""
    model = make_model()
    engine = TorchEngine(model)
    pixels = np.random.default_rng(0).standard_normal((4, 3, 16, 32), np.float32)
    before = engine.run("image_encoder", {"pixel_values": pixels})
    model.train()
    after = engine.run("image_encoder", {"pixel_values": pixels})
    np.testing.assert_array_equal(before["image_embeds"], after["image_embeds"])
    model.train()
    model.encode_image(torch.from_numpy(pixels)).embeds.sum().backward()
    assert model.image_projection.weight.grad is not None
    with torch.no_grad():
        model.image_projection.weight.mul_(-1)
    flipped = engine.run("image_encoder", {"pixel_values": pixels})
    assert not np.allclose(flipped["image_embeds"], before["image_embeds"]), "weights must be read anew"


def test_bf16_is_near_and_comes_back_as_float32(tiny_model: UnifiedModel) -> None:
    inputs = {"input_ids": IDS, "attention_mask": MASK}
    exact = TorchEngine(tiny_model).run("text_encoder", inputs)
    half = TorchEngine(tiny_model, precision="bf16")
    found = half.run("text_encoder", inputs)
    assert half.precision == "bf16"
    for name, value in found.items():
        assert value.dtype == np.float32
        difference = np.abs(value - exact[name]).max()
        assert 0 < difference < 0.1 * np.abs(exact[name]).max()


def test_closed(tiny_model: UnifiedModel) -> None:
    engine = TorchEngine(tiny_model)
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.run("text_encoder", {"input_ids": IDS, "attention_mask": MASK})


def test_what_is_left_out_is_not_computed(tiny_model: UnifiedModel) -> None:
    engine = TorchEngine(tiny_model, without=("match_logits", "text_decoder", "decoder_memory"))
    assert "match_logits" not in engine.outputs("fusion_encoder")
    assert engine.outputs("text_decoder") == frozenset()
    assert set(engine.graphs) == {"image_encoder", "text_encoder", "fusion_encoder"}
    assert engine.graphs["text_encoder"].files == {}
