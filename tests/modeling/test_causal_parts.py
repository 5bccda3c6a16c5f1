"""Rotary positions, RMSNorm, gated MLPs and grouped queries as parts: against transformers' layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import LlamaConfig, Qwen2Config, Qwen3Config
from transformers.models.llama.modeling_llama import LlamaDecoderLayer, LlamaRotaryEmbedding
from transformers.models.qwen2.modeling_qwen2 import Qwen2DecoderLayer
from transformers.models.qwen3.modeling_qwen3 import Qwen3DecoderLayer

from seetell.modeling.parts.attention import Attention, attend, projections
from seetell.modeling.parts.block import BlockNorms, TransformerBlock
from seetell.modeling.parts.masks import causal_mask, positions_from_mask
from seetell.modeling.parts.mlp import GatedMlp
from seetell.modeling.parts.positions import Rotary, rotary_frequencies
from seetell.modeling.parts.text import TextTransformer

Shake = Callable[[nn.Module], nn.Module]
WIDTH, HEADS, GROUPS, HEAD_DIM, HIDDEN, EPS = 24, 6, 2, 8, 40, 1e-6
_SIZES = {
    "hidden_size": WIDTH,
    "num_attention_heads": HEADS,
    "num_key_value_heads": GROUPS,
    "intermediate_size": HIDDEN,
    "head_dim": HEAD_DIM,
    "rms_norm_eps": EPS,
    "attn_implementation": "eager",
}
_NAMES = {
    "attention_norm": "input_layernorm",
    "attention.query": "self_attn.q_proj",
    "attention.key": "self_attn.k_proj",
    "attention.value": "self_attn.v_proj",
    "attention.out": "self_attn.o_proj",
    "attention.query_norm": "self_attn.q_norm",
    "attention.key_norm": "self_attn.k_norm",
    "mlp_norm": "post_attention_layernorm",
    "mlp.gate": "mlp.gate_proj",
    "mlp.up": "mlp.up_proj",
    "mlp.down": "mlp.down_proj",
}


def _block(*, bias: bool = False, head_dim: int = HEAD_DIM, head_norms: bool = False) -> TransformerBlock:
    layers = projections(WIDTH, HEADS, kv_heads=GROUPS, head_dim=head_dim, bias=bias, out_bias=False)
    norms = [nn.RMSNorm(head_dim, eps=EPS) for _ in range(2)] if head_norms else [None, None]
    attention = Attention(
        layers, positions=Rotary(rotary_frequencies(head_dim)), query_norm=norms[0], key_norm=norms[1]
    )
    return TransformerBlock(
        attention,
        GatedMlp(WIDTH, HIDDEN),
        BlockNorms(nn.RMSNorm(WIDTH, eps=EPS), nn.RMSNorm(WIDTH, eps=EPS)),
    )


def _taken_over(block: nn.Module, theirs: nn.Module) -> None:
    ours: Mapping[str, str] = {other: name for name, other in _NAMES.items()}
    state = {}
    for name, tensor in theirs.state_dict().items():
        layer, _, last = name.rpartition(".")
        state[f"{ours[layer]}.{last}"] = tensor
    block.load_state_dict(state, strict=True)


def _llama(shaken: Shake) -> tuple[TransformerBlock, nn.Module]:
    return _block(), shaken(LlamaDecoderLayer(LlamaConfig(**_SIZES), 0))


def _qwen2(shaken: Shake) -> tuple[TransformerBlock, nn.Module]:
    # Its heads are as wide as they are in number, whatever its configuration says besides.
    sizes = {name: value for name, value in _SIZES.items() if name != "head_dim"}
    theirs = Qwen2DecoderLayer(Qwen2Config(**sizes), 0)
    return _block(bias=True, head_dim=WIDTH // HEADS), shaken(theirs)


def _qwen3(shaken: Shake) -> tuple[TransformerBlock, nn.Module]:
    return _block(head_norms=True), shaken(Qwen3DecoderLayer(Qwen3Config(**_SIZES), 0))


@pytest.mark.parametrize("family", [_llama, _qwen2, _qwen3])
def test_a_block_of_these_parts_equals_transformers_layer(
    family: Callable[[Shake], tuple[TransformerBlock, nn.Module]], shaken: Shake
) -> None:
    block, theirs = family(shaken)
    _taken_over(block, theirs)
    block.eval()
    x = torch.randn(2, 5, WIDTH)
    real = torch.tensor([[True] * 5, [False, False, True, True, True]])
    mask, places = causal_mask(real, 5), positions_from_mask(real, 5)
    ours, (keys, _) = block(x, mask, places=places)
    assert keys.shape[1] == GROUPS
    width = block.attention.head_dim
    turns = LlamaRotaryEmbedding(LlamaConfig(**{**_SIZES, "head_dim": width}))(x, places)
    added = torch.zeros(mask.shape).masked_fill(~mask, torch.finfo(torch.float32).min)
    expected = theirs(x, attention_mask=added, position_embeddings=turns, position_ids=places)
    expected = expected[0] if isinstance(expected, tuple) else expected
    torch.testing.assert_close(ours[real], expected[real], atol=1e-5, rtol=1e-5)


def test_a_stack_counts_places_and_goes_on_from_its_cache(shaken: Shake) -> None:
    """Padding on the left changes nothing, and steps over a cache equal one pass."""
    stack = shaken(TextTransformer(_block() for _ in range(2)))
    x, real = torch.randn(2, 5, WIDTH), torch.ones(2, 5, dtype=torch.bool)
    whole, _ = stack(x, real, causal=True)
    first, past = stack(x[:, :3], real[:, :3], causal=True)
    second, _ = stack(x[:, 3:], real, causal=True, past=past)
    torch.testing.assert_close(torch.cat([first, second], dim=1), whole, atol=1e-5, rtol=1e-5)
    padded = torch.cat([torch.randn(2, 2, WIDTH), x], dim=1)
    mask = torch.cat([torch.zeros(2, 2, dtype=torch.bool), real], dim=1)
    torch.testing.assert_close(stack(padded, mask, causal=True)[0][:, 2:], whole, atol=1e-5, rtol=1e-5)


def test_only_distances_count(shaken: Shake) -> None:
    attention = shaken(_block().attention)
    assert isinstance(attention, Attention)
    x, places = torch.randn(1, 4, WIDTH), torch.arange(4)[None]
    here = attention(x, attention.project(x, places), places=places)
    there = attention(x, attention.project(x, places + 70), places=places + 70)
    torch.testing.assert_close(there, here, atol=1e-4, rtol=1e-4)
    swapped = places.flip(1)
    assert not torch.allclose(attention(x, attention.project(x, swapped), places=swapped), here, atol=1e-3)


def test_the_grouped_products_equal_the_fused_kernel_and_so_do_their_gradients() -> None:
    query = torch.randn(2, 6, 3, 8, requires_grad=True)
    keys, values = (torch.randn(2, 2, 5, 8, requires_grad=True) for _ in range(2))
    mask = torch.rand(2, 1, 3, 5) > 0.4
    mask[..., 0] = True
    plain = attend(query, keys, values, mask)
    fused: Tensor = F.scaled_dot_product_attention(query, keys, values, attn_mask=mask, enable_gqa=True)
    torch.testing.assert_close(plain, fused, atol=1e-6, rtol=1e-5)
    upstream = torch.randn_like(plain)
    for ours, theirs in zip(
        torch.autograd.grad(plain, [query, keys, values], upstream, retain_graph=True),
        torch.autograd.grad(fused, [query, keys, values], upstream),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)


def test_what_does_not_fit_together_is_refused() -> None:
    with pytest.raises(ValueError, match="num_heads 6 is not a multiple of kv_heads 4"):
        projections(24, 6, kv_heads=4)
    with pytest.raises(ValueError, match="head_dim 5 is odd"):
        rotary_frequencies(5)
    with pytest.raises(ValueError, match="was given none"):
        _block()(torch.zeros(1, 2, WIDTH))
    with pytest.raises(ValueError, match="need an attention_mask"):
        TextTransformer([_block()])(torch.zeros(1, 2, WIDTH), None)
    with pytest.raises(ValueError, match="go together"):
        TransformerBlock(
            Attention(projections(8, 2)),
            GatedMlp(8, 8),
            BlockNorms(nn.RMSNorm(8), nn.RMSNorm(8)),
            Attention(projections(8, 2)),
        )
