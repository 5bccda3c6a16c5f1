"""One vector from many tokens."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seetell.modeling.parts.attention import Attention, projections
from seetell.modeling.parts.mlp import Mlp
from seetell.modeling.parts.pooling import AttentionPooling, at_first
from seetell.modeling.parts.stack import StackShape, build_blocks
from seetell.modeling.parts.text import TextTransformer
from seetell.modeling.parts.vit import ViT


def _pooling(hidden_dim: int, activation: str = "gelu") -> AttentionPooling:
    return AttentionPooling(
        12, Attention(projections(12, 3)), Mlp(12, hidden_dim, activation), nn.LayerNorm(12)
    )


def test_the_first_chosen_place_is_taken() -> None:
    tokens = torch.arange(4 * 3 * 2.0).reshape(4, 3, 2)
    chosen = torch.tensor([[False, True, True], [True] * 3, [False, False, True], [False] * 3])
    # Where none is chosen, the first place, as argmax has it in the reference.
    expected = torch.stack([tokens[0, 1], tokens[1, 0], tokens[2, 2], tokens[3, 0]])
    assert torch.equal(at_first(tokens, chosen), expected)


def test_attention_pooling_is_torchs_attention(shaken: Callable[[nn.Module], nn.Module]) -> None:
    pooling = shaken(_pooling(18, "gelu_tanh"))
    assert isinstance(pooling, AttentionPooling)
    attention, tokens = pooling.attention, torch.randn(2, 7, 12)
    parts = (attention.query, attention.key, attention.value)
    reference = nn.MultiheadAttention(12, 3, batch_first=True)
    with torch.no_grad():
        reference.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
        reference.in_proj_bias.copy_(torch.cat([part.bias for part in parts]))
        reference.out_proj.weight.copy_(attention.out.weight)
        reference.out_proj.bias.copy_(attention.out.bias)
        x, _ = reference(pooling.query.expand(2, 1, 12), tokens, tokens)
        hidden = F.gelu(pooling.mlp.up(pooling.norm(x)), approximate="tanh")
        expected = (x + pooling.mlp.down(hidden))[:, 0]
        torch.testing.assert_close(pooling(tokens), expected, atol=1e-5, rtol=1e-5)


def test_a_gradient_reaches_every_parameter(
    shaken: Callable[[nn.Module], nn.Module], untouched: Callable[[nn.Module, Tensor], list[str]]
) -> None:
    pooling = shaken(_pooling(48))
    assert untouched(pooling, pooling(torch.randn(2, 7, 12))) == []


def test_pixels_beyond_the_last_whole_patch_are_not_looked_at() -> None:
    with pytest.raises(ValueError, match="not a multiple"):
        ViT((10, 13), 4, StackShape(8, 1, 2, 32))
    vit = ViT((10, 13), 4, StackShape(8, 1, 2, 32), whole_patches=False).eval()
    assert vit.grid == (2, 3)
    photo = torch.randn(1, 3, 10, 13)
    other = photo.clone()
    other[:, :, 8:], other[:, :, :, 12:] = 9.0, 9.0
    with torch.no_grad():
        assert vit(photo).tokens.shape == (1, 7, 8)
        assert torch.equal(vit(photo).tokens, vit(other).tokens)


def test_no_mask_is_a_mask_that_is_on_everywhere(shaken: Callable[[nn.Module], nn.Module]) -> None:
    stack = shaken(TextTransformer(build_blocks(StackShape(12, 2, 3, 48))))
    x = torch.randn(2, 5, 12)
    with torch.no_grad():
        torch.testing.assert_close(stack(x, None)[0], stack(x, torch.ones(2, 5, dtype=torch.bool))[0])
    with pytest.raises(ValueError, match="left to right"):
        stack(x, None, causal=True)
