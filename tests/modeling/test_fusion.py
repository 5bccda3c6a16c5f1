"""The four fusions: what all must do, then what makes each what it is."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seetell.modeling.parts.fusion.co_attention import CoAttentionFusion, CoAttentionLayer, ExchangeBlock
from seetell.modeling.parts.fusion.cross_attention import CrossAttentionFusion
from seetell.modeling.parts.fusion.gated import GatedFusion, GatedLayer
from seetell.modeling.parts.fusion.projection import ProjectionFusion
from seetell.modeling.parts.masks import padding_mask
from seetell.modeling.parts.stack import StackShape

Shake = Callable[[nn.Module], nn.Module]
TEXT, IMAGE = 8, 6


def _shape(depth: int) -> StackShape:
    return StackShape(TEXT, depth, 2, 4 * TEXT, context_dim=IMAGE)


BUILDERS: dict[str, Callable[[], nn.Module]] = {
    "cross_attention": lambda: CrossAttentionFusion(_shape(2)),
    "co_attention": lambda: CoAttentionFusion(_shape(3)),
    "gated": lambda: GatedFusion(_shape(2)),
    "projection": lambda: ProjectionFusion(TEXT, context_dim=IMAGE, shared_dim=5),
}


@pytest.fixture(params=sorted(BUILDERS))
def fusion(request: pytest.FixtureRequest, shaken: Shake) -> nn.Module:
    return shaken(BUILDERS[request.param]())


def _case(text_length: int = 4, image_length: int = 5) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return (
        torch.randn(2, text_length, TEXT),
        torch.ones(2, text_length, dtype=torch.bool),
        torch.randn(2, image_length, IMAGE),
        torch.ones(2, image_length, dtype=torch.bool),
    )


def _padded(tokens: Tensor, mask: Tensor, side: str, length: int = 3) -> tuple[Tensor, Tensor]:
    junk = 20 * torch.randn(tokens.shape[0], length, tokens.shape[2])
    off = torch.zeros(tokens.shape[0], length, dtype=torch.bool)
    if side == "left":
        return torch.cat([junk, tokens], dim=1), torch.cat([off, mask], dim=1)
    return torch.cat([tokens, junk], dim=1), torch.cat([mask, off], dim=1)


def test_fused_tokens_have_the_shape_of_the_text(fusion: nn.Module) -> None:
    assert fusion(*_case()).shape == (2, 4, TEXT)
    assert fusion(*_case(1, 1)).shape == (2, 1, TEXT)


@pytest.mark.parametrize("side", ["left", "right"])
def test_image_padding_changes_nothing(fusion: nn.Module, side: str) -> None:
    text, text_mask, image, image_mask = _case()
    padded = fusion(text, text_mask, *_padded(image, image_mask, side))
    torch.testing.assert_close(padded, fusion(text, text_mask, image, image_mask), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("side", ["left", "right"])
def test_text_padding_changes_nothing(fusion: nn.Module, side: str) -> None:
    text, text_mask, image, image_mask = _case()
    padded = fusion(*_padded(text, text_mask, side), image, image_mask)
    kept = padded[:, 3:] if side == "left" else padded[:, :4]
    torch.testing.assert_close(kept, fusion(text, text_mask, image, image_mask), atol=1e-5, rtol=1e-5)


def test_the_image_reaches_every_text_token_of_its_own_row_only(fusion: nn.Module) -> None:
    text, text_mask, image, image_mask = _case()
    before = fusion(text, text_mask, image, image_mask)
    image[1] = torch.randn_like(image[1])
    moved = (fusion(text, text_mask, image, image_mask) - before).abs().sum(dim=-1)
    assert bool((moved[1] > 1e-5).all())
    assert bool((moved[0] == 0).all())


def test_the_order_of_image_tokens_does_not_matter(fusion: nn.Module) -> None:
    text, text_mask, image, image_mask = _case()
    shuffled = fusion(text, text_mask, image[:, [3, 0, 4, 1, 2]], image_mask)
    torch.testing.assert_close(shuffled, fusion(text, text_mask, image, image_mask), atol=1e-5, rtol=1e-5)


def test_a_gradient_reaches_every_parameter(
    fusion: nn.Module, untouched: Callable[[nn.Module, Tensor], list[str]]
) -> None:
    assert untouched(fusion, fusion(*_case())) == []


# Cross-attention ------------------------------------------------------------------------------


@pytest.fixture
def crossing(shaken: Shake) -> CrossAttentionFusion:
    made = shaken(BUILDERS["cross_attention"]())
    assert isinstance(made, CrossAttentionFusion)
    return made


def test_memory_projected_once_equals_forward(crossing: CrossAttentionFusion) -> None:
    text, text_mask, image, image_mask = _case()
    image_mask[0, 2:] = False
    memory = crossing.project_memory(image)
    assert torch.equal(
        crossing.fuse(text, text_mask, memory, image_mask), crossing(text, text_mask, image, image_mask)
    )


def test_cached_decoding_equals_one_pass_and_leaks_nothing(crossing: CrossAttentionFusion) -> None:
    text, mask, image, image_mask = _case()
    memory = crossing.project_memory(image)
    whole, _ = crossing.decode(text, mask, memory, image_mask)
    past = None
    for place in range(4):
        one, past = crossing.decode(
            text[:, place : place + 1], mask[:, : place + 1], memory, image_mask, past
        )
        torch.testing.assert_close(one[:, 0], whole[:, place], atol=1e-5, rtol=1e-5)
    changed = text.clone()
    changed[:, 2] = torch.randn(2, TEXT)
    after, _ = crossing.decode(changed, mask, memory, image_mask)
    assert torch.equal(after[:, :2], whole[:, :2])
    assert not torch.allclose(after[:, 2:], whole[:, 2:])


# Co-attention ---------------------------------------------------------------------------------


def _exchange_by_hand(block: ExchangeBlock, x: Tensor, other: Tensor) -> Tensor:
    """Lu et al. 2019, figure 2b, head by head."""
    attention = block.attention
    query = attention.query(block.norm(x))
    keys = attention.key(block.context_norm(other))
    values = attention.value(block.context_norm(other))
    size = attention.head_dim
    heads = []
    for head in range(attention.num_heads):
        part = slice(head * size, (head + 1) * size)
        weight = (query[..., part] @ keys[..., part].transpose(1, 2) / size**0.5).softmax(dim=-1)
        heads.append(weight @ values[..., part])
    x = x + attention.out(torch.cat(heads, dim=-1))
    out = x + block.mlp.down(F.gelu(block.mlp.up(block.mlp_norm(x))))
    assert isinstance(out, Tensor)
    return out


def test_co_attention_exchanges_keys_and_values(shaken: Shake) -> None:
    layer = CoAttentionLayer(
        StackShape(TEXT, 1, 2, 16, context_dim=IMAGE), StackShape(IMAGE, 1, 2, 12, context_dim=TEXT)
    )
    shaken(layer)
    text, text_mask, image, image_mask = _case()
    assert layer.image_exchange is not None
    assert layer.image is not None
    new_text, new_image = layer(text, padding_mask(text_mask), image, padding_mask(image_mask))
    # Both sides read the other as it stood before the layer; then each reads itself.
    expected_text, _ = layer.text(_exchange_by_hand(layer.text_exchange, text, image))
    expected_image, _ = layer.image(_exchange_by_hand(layer.image_exchange, image, text))
    torch.testing.assert_close(new_text, expected_text, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(new_image, expected_image, atol=1e-5, rtol=1e-5)


def test_the_image_stream_reads_the_text_before_the_text_reads_it_again(shaken: Shake) -> None:
    """One text token reaches another through the image stream even where text may not see itself."""
    fusion = CoAttentionFusion(_shape(2))
    shaken(fusion)
    for layer in fusion.layers:
        assert isinstance(layer, CoAttentionLayer)
        nn.init.zeros_(layer.text.attention.out.weight)  # the text stream's own self-attention is off
    text, text_mask, image, image_mask = _case()
    before = fusion(text, text_mask, image, image_mask)
    text[:, 0] = torch.randn(2, TEXT)
    after = fusion(text, text_mask, image, image_mask)
    assert bool(((after - before)[:, 1:].abs().sum(dim=-1) > 1e-5).all())


# Gated ----------------------------------------------------------------------------------------


@pytest.fixture
def gated(shaken: Shake) -> GatedLayer:
    made = shaken(GatedLayer(_shape(1)))
    assert isinstance(made, GatedLayer)
    return made


def test_gates_lie_between_0_and_1_and_follow_both_inputs(gated: GatedLayer) -> None:
    text, seen = torch.randn(2, 4, TEXT), torch.randn(2, 4, TEXT)
    gates = gated.gates(text, seen)
    assert gates.shape == (2, 4, TEXT)
    assert bool(((gates > 0) & (gates < 1)).all())
    assert not torch.allclose(gated.gates(torch.randn_like(text), seen), gates)
    assert not torch.allclose(gated.gates(text, torch.randn_like(seen)), gates)
    extreme = gated.gates(1e4 * text, 1e4 * seen)
    assert bool(((extreme >= 0) & (extreme <= 1)).all())


@pytest.mark.parametrize(("bias", "text_matters"), [(1e4, True), (-1e4, False)])
def test_a_gate_wide_open_lets_one_side_through_alone(
    bias: float, text_matters: bool, gated: GatedLayer
) -> None:
    with torch.no_grad():
        gated.gate.bias.fill_(bias)
    text, _, image, image_mask = _case()
    normed = gated.text_norm(text)
    seen = gated.attention(normed, gated.attention.project(image))
    side = gated.text_map(normed) if text_matters else gated.image_map(seen)
    mixed = text + side.tanh()
    expected = mixed + gated.mlp(gated.mlp_norm(mixed))
    torch.testing.assert_close(gated(text, image, padding_mask(image_mask)), expected)
    other_image = gated(text, torch.randn_like(image), padding_mask(image_mask))
    assert torch.allclose(other_image, expected) is text_matters


# Projection -----------------------------------------------------------------------------------


@pytest.fixture
def projecting() -> ProjectionFusion:
    return ProjectionFusion(TEXT, context_dim=IMAGE, shared_dim=5)


def test_similarity_is_a_cosine(projecting: ProjectionFusion) -> None:
    text, _, image, _ = _case()
    similarity = projecting.similarity(text, image)
    assert similarity.shape == (2, 4, 5)
    assert float(similarity.detach().abs().max()) <= 1 + 1e-6
    torch.testing.assert_close(projecting.similarity(7 * text, 0.1 * image), similarity)
    aligned_text, aligned_image = projecting.align(text, image)
    torch.testing.assert_close(aligned_text.norm(dim=-1), torch.ones(2, 4))
    torch.testing.assert_close(similarity[1, 2, 3], aligned_text[1, 2] @ aligned_image[1, 3])


def test_the_temperature_is_learned(projecting: ProjectionFusion) -> None:
    start = float(projecting.logit_scale.detach())
    assert 1 / torch.tensor(start).exp() == pytest.approx(0.07)
    target = torch.randn(2, 4, TEXT)
    optimizer = torch.optim.SGD(projecting.parameters(), lr=0.1)
    case = _case()
    for _ in range(3):
        optimizer.zero_grad()
        F.mse_loss(projecting(*case), target).backward()
        optimizer.step()
    assert float(projecting.logit_scale.detach()) != start


def test_a_low_temperature_reads_the_nearest_token_and_a_high_one_the_mean(
    projecting: ProjectionFusion,
) -> None:
    text, text_mask, image, image_mask = _case(4, 2)
    # Two tokens whose similarities lie far apart.
    _, aligned = projecting.align(text, image)
    nearest = projecting.similarity(text, image).argmax(dim=-1)

    def fused(seen: Tensor) -> Tensor:
        own, _ = projecting.align(text, image)
        result = projecting.norm(text + projecting.out(torch.cat([own, seen], dim=-1)))
        assert isinstance(result, Tensor)
        return result

    with torch.no_grad():
        projecting.logit_scale.fill_(-20.0)
    mean = aligned.mean(dim=1, keepdim=True).expand(-1, 4, -1)
    torch.testing.assert_close(projecting(text, text_mask, image, image_mask), fused(mean))
    with torch.no_grad():
        projecting.logit_scale.fill_(50.0)  # far beyond the limit of 100: clipped, not inf
    sharp = projecting(text, text_mask, image, image_mask)
    assert sharp.isfinite().all()
    picked = aligned.gather(1, nearest[:, :, None].expand(-1, -1, 5))
    gap = projecting.similarity(text, image).diff(dim=-1).abs()[..., 0]
    clear = gap > 0.2  # e^-20 is left of the other token
    assert clear.any()
    torch.testing.assert_close(sharp[clear], fused(picked)[clear], atol=1e-5, rtol=1e-5)
