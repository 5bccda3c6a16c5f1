"""The embeds alone, for which a last block is worked out at one token, are those of the whole towers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from seetell.modeling.models.dual_encoder import (
    DualEncoder,
    DualEncoderConfig,
    ImageTowerConfig,
    TextTowerConfig,
)

Shake = Callable[[nn.Module], nn.Module]
END = 9
TEXTS: dict[str, dict[str, Any]] = {
    "clip": {"pooling": "eos", "eos_id": END},
    "clip, end untold": {"pooling": "largest_id"},
    "bert": {"pooling": "first", "causal": False, "norm_first": False, "num_types": 2},
    "siglip": {"pooling": "last", "causal": False, "reads_padding": True},
}


def model_of(text: dict[str, Any], pooling: Any) -> DualEncoder:
    sizes: dict[str, Any] = {"embed_dim": 12, "depth": 3, "num_heads": 3}
    image = ImageTowerConfig(image_size=(16, 16), patch_size=8, pooling=pooling, **sizes)
    tower = TextTowerConfig(vocab_size=10, context_length=6, **sizes, **text)
    return DualEncoder(DualEncoderConfig(image=image, text=tower, shared_dim=8))


def gradients(model: DualEncoder, embeds: Tensor, weight: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    (embeds * weight).sum().backward()
    return {name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None}


def assert_same(model: DualEncoder, found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)
    weight = torch.randn_like(expected)
    ours, whole = gradients(model, found, weight), gradients(model, expected, weight)
    assert max(float(one.abs().max()) for one in whole.values()) > 1e-3
    for name, one in whole.items():
        torch.testing.assert_close(ours[name], one, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("text", TEXTS)
def test_texts(text: str, shaken: Shake) -> None:
    model = model_of(TEXTS[text], "class_token")
    shaken(model)
    ids = torch.randint(1, END, (4, 6))
    lengths = torch.tensor([6, 4, 2, 3])
    ids[torch.arange(4), lengths - 1] = END
    mask = torch.arange(6) < lengths[:, None]
    assert_same(model, model.text_embeds(ids, mask), model.encode_text(ids, mask)[1])


@pytest.mark.parametrize("pooling", ["class_token", "attention"])
@pytest.mark.parametrize("size", [16, 24])
def test_photos(pooling: str, size: int, shaken: Shake) -> None:
    model = model_of(TEXTS["clip"], pooling)
    shaken(model)
    pixels = torch.randn(3, 3, size, size)
    assert_same(model, model.image_embeds(pixels), model.encode_image(pixels)[2])
