"""The one attention: against torch's own, under masks, over other widths, in training and in bf16."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seetell.modeling.parts.attention import Attention, attend, projections


def _heads(*lengths: int) -> list[Tensor]:
    return [torch.randn(2, 3, length, 8, requires_grad=True) for length in lengths]


@pytest.mark.parametrize("masked", [False, True])
def test_the_plain_products_equal_the_fused_kernel_and_so_do_their_gradients(masked: bool) -> None:
    query, keys, values = _heads(5, 7, 7)
    mask = torch.rand(2, 1, 5, 7) > 0.4 if masked else None
    if mask is not None:
        mask[..., 0] = True
    upstream = torch.randn(2, 3, 5, 8)
    plain = attend(query, keys, values, mask)
    fused = F.scaled_dot_product_attention(query, keys, values, attn_mask=mask)
    torch.testing.assert_close(plain, fused, atol=1e-6, rtol=1e-5)
    for ours, theirs in zip(
        torch.autograd.grad(plain, [query, keys, values], upstream, retain_graph=True),
        torch.autograd.grad(fused, [query, keys, values], upstream),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)


def test_equals_torch_multihead_attention() -> None:
    ours = Attention(projections(12, 3))
    theirs = nn.MultiheadAttention(12, 3, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([ours.query.weight, ours.key.weight, ours.value.weight]))
        theirs.in_proj_bias.copy_(torch.cat([ours.query.bias, ours.key.bias, ours.value.bias]))
        theirs.out_proj.weight.copy_(ours.out.weight)
        theirs.out_proj.bias.copy_(ours.out.bias)
    x, context = torch.randn(2, 4, 12), torch.randn(2, 6, 12)
    real = torch.tensor([[True] * 6, [True] * 2 + [False] * 4])
    expected, _ = theirs(x, context, context, key_padding_mask=~real)
    torch.testing.assert_close(ours(x, ours.project(context), real[:, None, None]), expected)


def test_a_masked_key_changes_nothing_however_large() -> None:
    attention = Attention(projections(8, 2))
    x, context = torch.randn(1, 3, 8), torch.randn(1, 4, 8)
    mask = torch.tensor([True, True, False, True])[None, None, None]
    before = attention(x, attention.project(context), mask)
    context[:, 2] = 1e4
    assert torch.equal(attention(x, attention.project(context), mask), before)


def test_an_all_true_mask_is_no_mask() -> None:
    attention = Attention(projections(8, 2))
    x = torch.randn(2, 3, 8)
    everywhere = torch.ones(2, 1, 1, 3, dtype=torch.bool)
    assert torch.equal(attention(x, attention.project(x), everywhere), attention(x, attention.project(x)))


def test_reads_a_context_of_another_width_and_length() -> None:
    attention = Attention(projections(8, 2, context_dim=5))
    keys, values = attention.project(torch.randn(3, 9, 5))
    assert keys.shape == values.shape == (3, 2, 9, 4)
    assert attention(torch.randn(3, 1, 8), (keys, values)).shape == (3, 1, 8)


def test_dropout_acts_in_training_only_and_keeps_the_mean() -> None:
    attention = Attention(projections(8, 2), dropout=0.5)
    x = torch.randn(1, 6, 8)
    attention.eval()
    still = attention(x, attention.project(x))
    assert torch.equal(attention(x, attention.project(x)), still)
    attention.train()
    with torch.no_grad():
        many = attention(x.expand(4000, -1, -1), attention.project(x.expand(4000, -1, -1)))
    assert many.std(dim=0).max() > 0
    torch.testing.assert_close(many.mean(dim=0), still[0].detach(), atol=0.05, rtol=0)


def test_bf16_autocast_stays_close() -> None:
    attention = Attention(projections(16, 4))
    x = torch.randn(2, 5, 16)
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])[:, None, None]
    exact = attention(x, attention.project(x), mask)
    with torch.autocast("cpu", torch.bfloat16):
        near = attention(x, attention.project(x), mask)
    torch.testing.assert_close(near.float(), exact, atol=0.02, rtol=0.02)


def test_refuses_heads_that_do_not_divide_the_width() -> None:
    with pytest.raises(ValueError, match="10 is not a multiple of num_heads 4"):
        projections(10, 4)
