"""Token merging: what merges with what, and that merging equal tokens changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from seetell.modeling.models.config import UnifiedConfig
from seetell.modeling.models.unified import UnifiedModel
from seetell.modeling.parts.merging import assignment, merge, most_merged
from seetell.modeling.parts.stack import StackShape, build_blocks
from seetell.modeling.parts.vit import VisionBlocks, ViT

Shake = Callable[[nn.Module], nn.Module]
IMAGES: dict[str, dict[str, Any]] = {
    "vit": {"kind": "vit", "patch_size": 8, "embed_dim": 16, "num_heads": 2},
    "hybrid": {
        "kind": "hybrid",
        "depths": [1],
        "channels": [8],
        "stem_channels": 8,
        "embed_dim": 16,
        "num_heads": 2,
    },
}


def _config(image: str, **changes: Any) -> UnifiedConfig:
    text = {"vocab_size": 30, "context_length": 12, "embed_dim": 16, "depth": 1, "num_heads": 2}
    return UnifiedConfig.model_validate(
        {
            "image": {**IMAGES[image], **changes},
            "text": text,
            "fusion": {"depth": 1, "num_heads": 2},
            "image_size": (32, 32),
            "shared_dim": 10,
        }
    )


@given(
    length=st.integers(2, 17),
    lead=st.integers(0, 1),
    batch=st.integers(1, 3),
    seed=st.integers(0, 999),
    data=st.data(),
)
@settings(max_examples=40, deadline=None)
def test_every_token_goes_into_exactly_one(
    length: int, lead: int, batch: int, seed: int, data: st.DataObject
) -> None:
    count = data.draw(st.integers(0, most_merged(length, lead)))
    keys = torch.randn(batch, length, 5, generator=torch.Generator().manual_seed(seed))
    into = assignment(keys, count, lead)
    assert into.shape == (batch, length - count, length)
    assert torch.equal(into.sum(dim=1), torch.ones(batch, length))
    assert bool((into.sum(dim=2) >= 1).all())
    if lead:
        # The first is still the first, and alone.
        assert torch.equal(into[:, 0], torch.eye(length)[:1].expand(batch, length))
    x = torch.randn(batch, length, 3)
    merged, sizes = merge(x, torch.ones(batch, length), into)
    assert torch.equal(sizes.sum(dim=1), torch.full((batch,), float(length)))
    torch.testing.assert_close((merged * sizes[..., None]).sum(dim=1), x.sum(dim=1), atol=1e-4, rtol=1e-4)


def test_the_most_alike_merge() -> None:
    keys = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [0.1, 1.0], [-1.0, -1.0]]])
    # Tokens 0 and 2 propose to 1 and 3; 2 is nearly 1.
    assert assignment(keys, 1)[0].tolist() == [[1, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 1]]
    # Both at once: 0 is nearest to 1 as well.
    assert assignment(keys, 2)[0].tolist() == [[1, 1, 1, 0], [0, 0, 0, 1]]


def test_a_token_of_many_weighs_as_many() -> None:
    x = torch.tensor([[[0.0], [3.0]]])
    merged, sizes = merge(x, torch.tensor([[2.0, 1.0]]), torch.ones(1, 1, 2))
    assert merged.item() == 1.0 and sizes.item() == 3.0


def test_more_than_can_merge() -> None:
    with pytest.raises(ValueError, match="3 of 5 tokens cannot merge at once"):
        assignment(torch.randn(1, 5, 2), 3, lead=1)
    assert most_merged(1, 0) == 0 and most_merged(5, 1) == 2


def test_merging_equal_tokens_changes_nothing(shaken: Shake) -> None:
    """Every token twice, side by side: half of them go, and what is left is what all of them were.

    The block's attention is proportional, or it would lean towards what did not merge.
    """
    blocks = shaken(VisionBlocks(build_blocks(StackShape(12, 3, 2, 48))))
    assert isinstance(blocks, VisionBlocks)
    x = torch.randn(2, 5, 12)
    twice = x.repeat_interleave(2, dim=1)
    twice[:, 2:4] += torch.randn(2, 2, 12)  # two that are not equal, and so stay
    expected, kept = blocks(twice, keep=(0, 1, 2))
    # In the first block four pairs merge; in the next nothing is left that is equal.
    first, *rest = blocks.blocks
    merged, sizes, into = first.merging(twice, torch.ones(2, 10), 4)
    assert sizes.tolist()[0].count(2.0) == 4 and merged.shape == (2, 6, 12)
    torch.testing.assert_close(into.transpose(1, 2) @ merged, kept[0], atol=1e-5, rtol=1e-5)
    for block, whole in zip(rest, kept[1:], strict=True):
        merged, sizes, moved = block.merging(merged, sizes, 0)
        into = moved @ into
        torch.testing.assert_close(into.transpose(1, 2) @ merged, whole, atol=1e-5, rtol=1e-5)
    assert expected.shape == (2, 10, 12)


@pytest.mark.parametrize("image", ["vit", "hybrid"])
def test_a_model_with_merging(shaken: Shake, image: str) -> None:
    config = _config(image, depth=3, merge_tokens=3)
    model = shaken(UnifiedModel(config))
    assert isinstance(model, UnifiedModel)
    plain = UnifiedModel(_config(image, depth=3)).eval()
    # No weights of its own.
    plain.load_state_dict(model.state_dict())
    photos = torch.randn(2, 3, 32, 32)
    found, whole = model.encode_image(photos), plain.encode_image(photos)
    before = whole.tokens.shape[1]
    # 16 patches and in the ViT a class token; of the cells of the ResNet half at most merge at once.
    left = before
    for _ in range(3):
        left -= min(3, most_merged(left, int(image == "vit")))
    assert found.tokens.shape == (2, left, 16) and left < before
    assert found.mask.shape == (2, left) and bool(found.mask.all())
    assert [one.shape for one in found.stages] == [one.shape for one in whole.stages]
    assert bool(((found.embeds * whole.embeds).sum(-1) > 0.9).all())
    assert config.model_dump(mode="json")["image"]["merge_tokens"] == 3
    assert "merge_tokens" not in plain.config.model_dump(mode="json")["image"]


def test_the_first_token_alone_is_that_of_all(shaken: Shake) -> None:
    vit = shaken(ViT((32, 32), 8, StackShape(12, 3, 2, 48), merge_tokens=2))
    assert isinstance(vit, ViT)
    photos = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(vit.first_token(photos), vit(photos).tokens[:, 0])
