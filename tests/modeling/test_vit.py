"""ViT against transformers with the same weights, its stages, sizes and masks."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from transformers import ViTConfig, ViTModel

from seetell.modeling.parts.block import TransformerBlock
from seetell.modeling.parts.masks import padding_mask
from seetell.modeling.parts.stack import StackShape, build_blocks
from seetell.modeling.parts.vit import VisionBlocks, ViT

Shake = Callable[[nn.Module], nn.Module]

_LAYER = {
    "attention.query": "attention.q_proj",
    "attention.key": "attention.k_proj",
    "attention.value": "attention.v_proj",
    "attention.out": "attention.o_proj",
    "attention_norm": "layernorm_before",
    "mlp_norm": "layernorm_after",
    "mlp.up": "mlp.fc1",
    "mlp.down": "mlp.fc2",
}


def _reference(shaken: Shake) -> tuple[ViT, nn.Module]:
    config = ViTConfig(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=24,
        patch_size=8,
    )
    theirs = shaken(ViTModel(config, add_pooling_layer=False))
    source = dict(theirs.named_parameters())
    state = {
        "class_token": source.pop("embeddings.cls_token")[0, 0],
        "positions": source.pop("embeddings.position_embeddings")[0],
    }
    names = {"patch_embed": "embeddings.patch_embeddings.projection", "norm": "layernorm"}
    for layer in range(4):
        names |= {f"transformer.blocks.{layer}.{a}": f"layers.{layer}.{b}" for a, b in _LAYER.items()}
    for ours, other in names.items():
        for part in ("weight", "bias"):
            state[f"{ours}.{part}"] = source.pop(f"{other}.{part}")
    assert not source, f"not copied: {sorted(source)}"
    vit = ViT((24, 24), 8, StackShape(16, 4, 2, 32, norm_eps=config.layer_norm_eps)).eval()
    vit.load_state_dict(state, strict=True)
    return vit, theirs


def test_equals_transformers_vit_and_its_hidden_states(shaken: Shake) -> None:
    vit, theirs = _reference(shaken)
    pixels = torch.randn(2, 3, 24, 24)
    expected = theirs(pixels, output_hidden_states=True)
    found = vit(pixels)
    torch.testing.assert_close(found.tokens, expected.last_hidden_state, atol=1e-5, rtol=1e-5)
    for stage, hidden in zip(found.stages, expected.hidden_states[1:], strict=True):
        torch.testing.assert_close(
            stage, hidden[:, 1:].transpose(1, 2).reshape(2, 16, 3, 3), atol=1e-5, rtol=1e-5
        )


def test_equals_transformers_vit_at_a_size_it_was_not_made_for(shaken: Shake) -> None:
    vit, theirs = _reference(shaken)
    pixels = torch.randn(1, 3, 40, 16)
    expected = theirs(pixels, interpolate_pos_encoding=True).last_hidden_state
    torch.testing.assert_close(vit(pixels).tokens, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("class_token", "lead"), [(True, 1), (False, 0)])
def test_shapes_and_gradient(
    class_token: bool, lead: int, shaken: Shake, untouched: Callable[[nn.Module, Tensor], list[str]]
) -> None:
    vit = ViT((16, 24), 8, StackShape(16, 6, 2, 64), class_token=class_token)
    shaken(vit)
    found = vit(torch.randn(2, 3, 16, 24))
    assert found.tokens.shape == (2, lead + 6, 16)
    assert found.mask.shape == (2, lead + 6)
    assert found.mask.all()
    assert [stage.shape for stage in found.stages] == [(2, 16, 2, 3)] * 4
    assert untouched(vit, found.tokens) == []


def test_patches_stand_row_by_row() -> None:
    vit = ViT((16, 24), 8, StackShape(16, 0, 2, 64), class_token=False, final_norm=False).eval()
    nn.init.zeros_(vit.positions)
    blank = torch.zeros(1, 3, 16, 24)
    lit = blank.clone()
    lit[..., 8:16, 16:24] = 1.0  # second row, third column
    moved = (vit(lit).tokens - vit(blank).tokens).abs().sum(dim=-1)[0]
    assert moved.nonzero()[:, 0].tolist() == [5]


def test_a_model_shallower_than_four_blocks_has_as_many_stages() -> None:
    assert len(ViT((8, 8), 8, StackShape(8, 3, 2, 32))(torch.zeros(1, 3, 8, 8)).stages) == 3
    assert ViT((8, 8), 8, StackShape(8, 12, 2, 32)).stage_ends == (2, 5, 8, 11)


def test_refuses_an_image_that_is_no_whole_number_of_patches() -> None:
    with pytest.raises(ValueError, match=r"\(20, 16\) is not a multiple of patch size 8"):
        ViT((20, 16), 8, StackShape(8, 1, 2, 32))


def test_masked_tokens_change_nothing_on_either_side(shaken: Shake) -> None:
    blocks = VisionBlocks(build_blocks(StackShape(8, 3, 2, 32)))
    shaken(blocks)
    x = torch.randn(1, 4, 8)
    alone, _ = blocks(x)
    junk = 50 * torch.randn(1, 3, 8)
    real = torch.tensor([[True] * 4 + [False] * 3])
    right, _ = blocks(torch.cat([x, junk], dim=1), padding_mask(real))
    left, _ = blocks(torch.cat([junk, x], dim=1), padding_mask(real.flip(1)))
    torch.testing.assert_close(right[:, :4], alone, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(left[:, 3:], alone, atol=1e-5, rtol=1e-5)


def test_drop_path_grows_with_depth() -> None:
    rates = [
        block.drop_path.probability
        for block in VisionBlocks(build_blocks(StackShape(8, 3, 2, 32, drop_path=0.4))).blocks
        if isinstance(block, TransformerBlock)
    ]
    assert rates == [0.0, 0.2, 0.4]
