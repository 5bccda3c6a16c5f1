"""ResNet against transformers with the same weights; the hybrid above it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from transformers import ResNetConfig, ResNetModel

from seetell.modeling.parts.hybrid import ResNetTransformer
from seetell.modeling.parts.resnet import ResidualBlock, ResNet
from seetell.modeling.parts.stack import StackShape

Shake = Callable[[nn.Module], nn.Module]


@pytest.mark.parametrize(
    ("kind", "bottleneck", "channels"), [("basic", 1, (8, 16, 24)), ("bottleneck", 4, (16, 32, 48))]
)
def test_equals_transformers_resnet(
    kind: str, bottleneck: int, channels: tuple[int, ...], shaken: Shake
) -> None:
    depths = (2, 1, 2)
    config = ResNetConfig(embedding_size=8, hidden_sizes=list(channels), depths=list(depths), layer_type=kind)
    theirs = shaken(ResNetModel(config))
    ours = ResNet(depths, channels, bottleneck, stem_channels=8).eval()
    source = dict(theirs.state_dict())
    state = {}
    for name in ours.state_dict():
        # stem.0.<0|1>.x, stages.S.L.convs.C.<0|1>.x or stages.S.L.shortcut.<0|1>.x
        pieces = name.split(".")
        if pieces[0] == "stem":
            where = "embedder.embedder"
        elif pieces[3] == "shortcut":
            where = f"encoder.stages.{pieces[1]}.layers.{pieces[2]}.shortcut"
        else:
            where = f"encoder.stages.{pieces[1]}.layers.{pieces[2]}.layer.{pieces[4]}"
        part = "convolution" if pieces[-2] == "0" else "normalization"
        state[name] = source.pop(f"{where}.{part}.{pieces[-1]}")
    assert not source, f"not copied: {sorted(source)}"
    ours.load_state_dict(state, strict=True)
    pixels = torch.randn(2, 3, 64, 48)
    expected = theirs(pixels, output_hidden_states=True)
    found = ours(pixels)
    for stage, hidden in zip(found.stages, expected.hidden_states[1:], strict=True):
        torch.testing.assert_close(stage, hidden, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.tokens, expected.last_hidden_state.flatten(2).transpose(1, 2))


@pytest.mark.parametrize("stem", ["imagenet", "light"])
def test_shapes_and_gradient(
    stem: str, shaken: Shake, untouched: Callable[[nn.Module, Tensor], list[str]]
) -> None:
    resnet = ResNet((1, 2), (8, 12), 1, stem=stem, stem_channels=8)
    shaken(resnet)
    found = resnet(torch.randn(2, 3, 32, 48))
    assert [stage.shape for stage in found.stages] == [(2, 8, 8, 12), (2, 12, 4, 6)]
    assert found.tokens.shape == (2, 24, 12)
    assert found.mask.shape == (2, 24)
    assert found.mask.all()
    assert resnet.stride == 8
    assert untouched(resnet, found.tokens) == []


@pytest.mark.parametrize("bottleneck", [1, 4])
def test_a_block_starts_as_the_identity(bottleneck: int) -> None:
    x = torch.rand(2, 8, 5, 5)
    assert torch.equal(ResidualBlock(8, 8, 1, bottleneck)(x), x)


def test_refuses_stages_that_do_not_match_and_unknown_stems() -> None:
    with pytest.raises(ValueError, match="2 depths for 3 stages"):
        ResNet((1, 1), (8, 8, 8))
    with pytest.raises(ValueError, match="unknown stem 'deep'; imagenet or light"):
        ResNet((1,), (8,), stem="deep")


def _hybrid() -> ResNetTransformer:
    return ResNetTransformer(
        ResNet((1, 1), (8, 12), 1, stem="light", stem_channels=8), StackShape(16, 2, 2, 64)
    )


def test_hybrid_shapes_and_gradient(
    shaken: Shake, untouched: Callable[[nn.Module, Tensor], list[str]]
) -> None:
    hybrid = _hybrid()
    shaken(hybrid)
    found = hybrid(torch.randn(2, 3, 32, 32))
    assert found.tokens.shape == (2, 16, 16)
    assert [stage.shape[1:] for stage in found.stages] == [(8, 8, 8), (12, 4, 4), (16, 4, 4)]
    assert untouched(hybrid, found.tokens) == []


def test_hybrid_reads_any_size_and_knows_where_things_are(shaken: Shake) -> None:
    hybrid = _hybrid()
    shaken(hybrid)
    assert hybrid(torch.randn(1, 3, 48, 24)).tokens.shape == (1, 18, 16)
    # The same content everywhere: only positions can tell the tokens apart.
    flat = hybrid(torch.full((1, 3, 64, 64), 0.3)).tokens[0].reshape(8, 8, 16)[3:5, 3:5].reshape(4, 16)
    assert torch.pdist(flat).min() > 1e-3


def test_one_photo_is_read_the_same_alone_and_in_a_batch(shaken: Shake) -> None:
    hybrid = _hybrid()
    shaken(hybrid)
    pixels = torch.randn(3, 3, 32, 32)
    torch.testing.assert_close(hybrid(pixels).tokens[1:2], hybrid(pixels[1:2]).tokens, atol=1e-5, rtol=1e-5)
