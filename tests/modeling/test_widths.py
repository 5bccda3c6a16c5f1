"""Models whose blocks differ in width, and that those whose blocks do not are written down as before."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from seetell.bundle.store import builtin_folder, open_bundle
from seetell.modeling.models.config import UnifiedConfig
from seetell.modeling.models.unified import UnifiedModel
from seetell.modeling.parts.attention import Attention, projections
from seetell.modeling.parts.resnet import ResidualBlock
from seetell.modeling.parts.stack import BlockWidths, StackShape, build_blocks

Shake = Callable[[nn.Module], nn.Module]


def uneven(**changes: Any) -> dict[str, Any]:
    """A configuration in which no two blocks are alike."""
    return {
        "image": {
            "kind": "hybrid",
            "depths": [1, 2],
            "channels": [8, 12],
            "stem_channels": 8,
            "embed_dim": 16,
            "depth": 2,
            "num_heads": 4,
            "inner_channels": [[[3]], [[5], [12]]],
            "widths": [{"num_heads": 1, "mlp_dim": 7}, {"num_heads": 3, "mlp_dim": 20}],
        },
        "text": {
            "vocab_size": 30,
            "context_length": 12,
            "embed_dim": 16,
            "depth": 2,
            "num_heads": 2,
            "widths": [{"num_heads": 2, "mlp_dim": 9}, {"num_heads": 1, "mlp_dim": 5}],
        },
        "fusion": {
            "depth": 1,
            "num_heads": 4,
            "widths": [{"num_heads": 3, "mlp_dim": 6, "cross_heads": 1}],
        },
        "image_size": [32, 32],
        "shared_dim": 10,
        **changes,
    }


def test_heads_together_may_be_narrower_than_the_tokens() -> None:
    """Two heads of four, against the four with nothing but zeros going out of the others."""
    whole, narrow = Attention(projections(12, 4)), Attention(projections(12, 2, head_dim=3))
    with torch.no_grad():
        whole.out.weight[:, 6:] = 0
        for name in ("query", "key", "value"):
            getattr(narrow, name).weight.copy_(getattr(whole, name).weight[:6])
            getattr(narrow, name).bias.copy_(getattr(whole, name).bias[:6])
        narrow.out.weight.copy_(whole.out.weight[:, :6])
        narrow.out.bias.copy_(whole.out.bias)
    x = torch.randn(2, 5, 12)
    torch.testing.assert_close(narrow(x, narrow.project(x)), whole(x, whole.project(x)))


def test_a_block_has_its_own_widths() -> None:
    (block,) = build_blocks(StackShape(16, 1, 4, 64, context_dim=24, widths=(BlockWidths(3, 10, 2),)))
    shapes = {name: tuple(tensor.shape) for name, tensor in block.state_dict().items()}
    assert shapes["attention.query.weight"] == (12, 16) and shapes["attention.out.weight"] == (16, 12)
    assert shapes["cross_attention.key.weight"] == (8, 24)
    assert shapes["mlp.up.weight"] == (10, 16)
    x = torch.randn(2, 3, 16)
    assert block.cross_attention is not None
    out, (keys, _) = block(x, memory=block.cross_attention.project(torch.randn(2, 6, 24)))
    assert out.shape == x.shape and keys.shape == (2, 3, 3, 4)


def test_widths_that_make_no_block() -> None:
    with pytest.raises(ValueError, match="mlp_dim is 0; a block has one at least"):
        BlockWidths(1, 0)
    with pytest.raises(ValueError, match="1 widths for 2 blocks"):
        build_blocks(StackShape(8, 2, 2, 32, widths=[BlockWidths(1, 4)]))
    with pytest.raises(ValueError, match="needs to know its cross_heads"):
        build_blocks(StackShape(8, 1, 2, 32, context_dim=8, widths=[BlockWidths(1, 4)]))
    with pytest.raises(ValueError, match="8 is not a multiple of num_heads 3"):
        build_blocks(StackShape(8, 1, 3, 32, widths=[BlockWidths(1, 4)]))


@pytest.mark.parametrize(("bottleneck", "inner"), [(1, (5,)), (4, (3, 2))])
def test_a_residual_block_is_narrow_inside_alone(bottleneck: int, inner: tuple[int, ...]) -> None:
    block = ResidualBlock(8, 16, 2, bottleneck, inner=inner)
    assert block(torch.randn(1, 8, 6, 6)).shape == (1, 16, 3, 3)
    kernels = [module for module in block.convs.modules() if isinstance(module, nn.Conv2d)]
    assert tuple(kernel.out_channels for kernel in kernels[:-1]) == inner


def test_an_uneven_model_is_rebuilt_by_what_is_written_down_of_it(shaken: Shake) -> None:
    config = UnifiedConfig.model_validate(uneven())
    model = shaken(UnifiedModel(config))
    told = json.loads(json.dumps(model.config.model_dump(mode="json")))  # type: ignore[operator, union-attr]
    again = UnifiedModel(UnifiedConfig.model_validate(told)).eval()
    again.load_state_dict(model.state_dict())
    assert again.config == config
    photo = torch.randn(1, 3, 32, 32)
    assert torch.equal(again.encode_image(photo).tokens, model.encode_image(photo).tokens)  # type: ignore[operator]


def test_uneven_blocks_decode_step_by_step_as_all_at_once(shaken: Shake) -> None:
    model = shaken(UnifiedModel(UnifiedConfig.model_validate(uneven())))
    assert isinstance(model, UnifiedModel)
    ids, mask = torch.tensor([[1, 11, 12, 3]]), torch.ones(1, 4, dtype=torch.bool)
    image = model.encode_image(torch.randn(1, 3, 32, 32))
    memory = model.memory(image.tokens)
    whole, _ = model.decode(ids, mask, memory, image.mask)
    past, steps = None, []
    for place in range(4):
        hidden, past = model.decode(ids[:, place : place + 1], mask[:, : place + 1], memory, image.mask, past)
        steps.append(hidden)
    torch.testing.assert_close(torch.cat(steps, dim=1), whole, atol=1e-5, rtol=1e-5)
    assert past is not None and [keys.shape[1] for keys, _ in past] == [2, 1, 3]


def test_what_was_written_before_is_written_the_same() -> None:
    """The built-in model's configuration, as its manifest has had it from before blocks could differ."""
    written = open_bundle(builtin_folder()).manifest.config
    config = UnifiedConfig.model_validate(written)
    assert config.model_dump(mode="json") == written
    assert "widths" not in json.dumps(written)


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("text", {"widths": [{"num_heads": 1, "mlp_dim": 4}]}, "widths are of 1 blocks and depth is 2"),
        ("text", {"widths": [{"num_heads": 0, "mlp_dim": 4}] * 2}, "num_heads is 0"),
        ("text", {"widths": [{"num_heads": 1, "mlp_dim": 4, "cross_heads": 1}] * 2}, "cross_heads goes with"),
        ("fusion", {"widths": [{"num_heads": 1, "mlp_dim": 4}]}, "cross_heads goes with"),
        ("fusion", {"kind": "gated"}, "blocks of gated fusion are all alike"),
        ("image", {"inner_channels": [[[3]], [[5]]]}, r"inner_channels: 1 for each block of \(1, 2\)"),
        ("image", {"bottleneck": 2}, "inner_channels: 2 for each block"),
        ("image", {"inner_channels": [[[3]], [[5], [0]]]}, "greater than 0"),
        ("image", {"widths": [{"num_heads": 1, "mlp_dim": 4, "depth": 3}] * 2}, "[Uu]nexpected"),
    ],
)
def test_a_configuration_that_contradicts_itself(part: str, change: dict[str, Any], message: str) -> None:
    settings = uneven()
    settings[part] = {**settings[part], **change}
    with pytest.raises(ValidationError, match=message):
        UnifiedConfig.model_validate(settings)
