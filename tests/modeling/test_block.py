"""One block, four families: against the layers of transformers with the same weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import BertConfig, CLIPTextConfig, GPT2Config
from transformers.models.bert.modeling_bert import BertLayer
from transformers.models.blip.configuration_blip import BlipTextConfig
from transformers.models.blip.modeling_blip_text import BlipTextLayer
from transformers.models.clip.modeling_clip import CLIPEncoderLayer
from transformers.models.gpt2.modeling_gpt2 import GPT2Block

from seetell.modeling.parts.block import TransformerBlock
from seetell.modeling.parts.masks import causal_mask, padding_mask
from seetell.modeling.parts.stack import StackShape, build_blocks, mlp_width

Shake = Callable[[nn.Module], nn.Module]
PADDED = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])


def _block(embed_dim: int, num_heads: int, mlp_ratio: float = 4.0, **shape: Any) -> TransformerBlock:
    (block,) = build_blocks(StackShape(embed_dim, 1, num_heads, mlp_width(embed_dim, mlp_ratio), **shape))
    return block


def _additive(mask: Tensor) -> Tensor:
    """True = attend, as transformers wants it: 0 to attend, very negative not to."""
    return torch.zeros(mask.shape).masked_fill(~mask, torch.finfo(torch.float32).min)


def _fill(block: nn.Module, theirs: nn.Module, names: Mapping[str, str]) -> None:
    """Copy weight and bias of every module; ``names``: ours -> theirs, none left over on either side."""
    source = dict(theirs.named_parameters())
    target = {
        f"{ours}.{part}": source.pop(f"{other}.{part}")
        for ours, other in names.items()
        for part in ("weight", "bias")
    }
    assert not source, f"not copied: {sorted(source)}"
    block.load_state_dict(target, strict=True)


def _assert_equal(ours: Tensor, theirs: Tensor | tuple[Tensor, ...]) -> None:
    """Layers of transformers return the tensor or a tuple that starts with it, by version."""
    expected = theirs[0] if isinstance(theirs, tuple) else theirs
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)


_BERT = {
    "attention.query": "attention.self.query",
    "attention.key": "attention.self.key",
    "attention.value": "attention.self.value",
    "attention.out": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "mlp.up": "intermediate.dense",
    "mlp.down": "output.dense",
    "mlp_norm": "output.LayerNorm",
}


def test_post_norm_equals_bert(shaken: Shake) -> None:
    config = BertConfig(hidden_size=16, num_attention_heads=4, intermediate_size=40)
    config._attn_implementation = "eager"
    theirs = shaken(BertLayer(config))
    block = _block(16, 4, 2.5, norm_first=False, norm_eps=config.layer_norm_eps).eval()
    _fill(block, theirs, _BERT)
    x = torch.randn(2, 5, 16)
    mask = padding_mask(PADDED)
    ours, _ = block(x, mask)
    _assert_equal(ours, theirs(x, _additive(mask)))


def test_post_norm_with_cross_attention_equals_blip_text(shaken: Shake) -> None:
    config = BlipTextConfig(
        hidden_size=16, num_attention_heads=4, intermediate_size=32, encoder_hidden_size=12, is_decoder=True
    )
    config._attn_implementation = "eager"
    theirs = shaken(BlipTextLayer(config, layer_num=0))
    block = _block(16, 4, 2.0, context_dim=12, norm_first=False, norm_eps=config.layer_norm_eps).eval()
    cross = {ours.replace("attention", "cross_attention", 1): other for ours, other in _BERT.items()}
    cross = {
        ours: other.replace("attention.", "crossattention.", 1)
        for ours, other in cross.items()
        if other.startswith("attention")
    }
    cross["cross_norm"] = cross.pop("cross_attention_norm")
    _fill(block, theirs, _BERT | cross)
    x, image = torch.randn(2, 5, 16), torch.randn(2, 7, 12)
    mask = causal_mask(PADDED, 5)
    assert block.cross_attention is not None
    # No mask over the image: this layer of transformers 5 takes one and does not use it.
    ours, _ = block(x, mask, memory=block.cross_attention.project(image))
    expected = theirs(x, attention_mask=_additive(mask), encoder_hidden_states=image)
    _assert_equal(ours, expected)


def test_pre_norm_causal_equals_gpt2(shaken: Shake) -> None:
    config = GPT2Config(n_embd=16, n_head=4)
    config._attn_implementation = "eager"
    theirs = shaken(GPT2Block(config, layer_idx=0))
    block = _block(16, 4, activation="gelu_tanh", norm_eps=config.layer_norm_epsilon).eval()
    source = dict(theirs.named_parameters())
    state = {
        "attention_norm": "ln_1",
        "attention.out": "attn.c_proj",
        "mlp_norm": "ln_2",
        "mlp.up": "mlp.c_fc",
        "mlp.down": "mlp.c_proj",
    }
    filled: dict[str, Tensor] = {}
    for ours, other in state.items():
        stored: Tensor = source[f"{other}.weight"]
        filled[f"{ours}.weight"] = stored if stored.ndim == 1 else stored.T  # Conv1D stores [in, out]
        filled[f"{ours}.bias"] = source[f"{other}.bias"]
    weights, biases = source["attn.c_attn.weight"].T.chunk(3), source["attn.c_attn.bias"].chunk(3)
    for part, weight, bias in zip(("query", "key", "value"), weights, biases, strict=True):
        filled |= {f"attention.{part}.weight": weight, f"attention.{part}.bias": bias}
    block.load_state_dict(filled, strict=True)
    x = torch.randn(2, 5, 16)
    mask = causal_mask(torch.ones(2, 5, dtype=torch.bool), 5)
    ours, _ = block(x, mask)
    expected = theirs(x, attention_mask=_additive(mask))
    _assert_equal(ours, expected)


def test_pre_norm_quick_gelu_equals_clip(shaken: Shake) -> None:
    config = CLIPTextConfig(
        hidden_size=16, num_attention_heads=4, intermediate_size=64, hidden_act="quick_gelu"
    )
    config._attn_implementation = "eager"
    theirs = shaken(CLIPEncoderLayer(config))
    block = _block(16, 4, activation="quick_gelu", norm_eps=1e-5).eval()
    _fill(
        block,
        theirs,
        {
            "attention.query": "self_attn.q_proj",
            "attention.key": "self_attn.k_proj",
            "attention.value": "self_attn.v_proj",
            "attention.out": "self_attn.out_proj",
            "attention_norm": "layer_norm1",
            "mlp.up": "mlp.fc1",
            "mlp.down": "mlp.fc2",
            "mlp_norm": "layer_norm2",
        },
    )
    x = torch.randn(2, 5, 16)
    mask = causal_mask(PADDED, 5)
    ours, _ = block(x, mask)
    expected = theirs(x, _additive(mask))
    _assert_equal(ours, expected)


@pytest.mark.parametrize("norm_first", [True, False])
def test_a_gradient_reaches_every_parameter(
    norm_first: bool, shaken: Shake, untouched: Callable[[nn.Module, Tensor], list[str]]
) -> None:
    block = _block(8, 2, context_dim=6, norm_first=norm_first)
    shaken(block)
    assert block.cross_attention is not None
    out, _ = block(torch.randn(2, 3, 8), memory=block.cross_attention.project(torch.randn(2, 4, 6)))
    assert untouched(block, out) == []


@pytest.mark.parametrize("norm_first", [True, False])
def test_cached_steps_equal_one_pass(norm_first: bool, shaken: Shake) -> None:
    block = _block(8, 2, norm_first=norm_first)
    shaken(block)
    x = torch.randn(2, 5, 8)
    real = torch.ones(2, 5, dtype=torch.bool)
    whole, (keys, _) = block(x, causal_mask(real, 5))
    first, past = block(x[:, :2], causal_mask(real[:, :2], 2))
    second, past = block(x[:, 2:], causal_mask(real, 3), past=past)
    torch.testing.assert_close(torch.cat([first, second], dim=1), whole, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(past[0], keys)


def test_without_memory_a_cross_attending_block_is_a_plain_one(shaken: Shake) -> None:
    block = _block(8, 2, context_dim=6)
    shaken(block)
    plain = _block(8, 2).eval()
    plain.load_state_dict({k: v for k, v in block.state_dict().items() if not k.startswith("cross")})
    x = torch.randn(2, 3, 8)
    assert torch.equal(block(x)[0], plain(x)[0])


def test_memory_without_cross_attention_is_refused() -> None:
    block = _block(8, 2)
    memory = (torch.zeros(1, 2, 3, 4), torch.zeros(1, 2, 3, 4))
    with pytest.raises(ValueError, match="without cross-attention"):
        block(torch.zeros(1, 2, 8), memory=memory)


def test_a_mlp_ratio_that_is_no_short_decimal_gives_the_width_it_stands_for() -> None:
    # 4304 / 1152 * 1152 is a hair under 4304 in floating point for some such pairs (SigLIP so400m's).
    for embed_dim, hidden in ((1152, 4304), (49, 103), (12, 29)):
        assert mlp_width(embed_dim, hidden / embed_dim) == hidden
