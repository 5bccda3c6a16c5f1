"""The text transformer: what may see what, padding on either side, and cached reading = one pass."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from seetell.modeling.parts.stack import StackShape, build_blocks
from seetell.modeling.parts.text import TextEmbedding, TextTransformer

Shake = Callable[[nn.Module], nn.Module]
PAD = 0


class _Reader(nn.Module):
    """Embedding and stack together, over a fixed memory."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = TextEmbedding(20, 12, 8)
        self.stack = TextTransformer(build_blocks(StackShape(8, 3, 2, 32, context_dim=6)))

    def forward(self, ids: Tensor, mask: Tensor, *, causal: bool, memory: Tensor | None = None) -> Tensor:
        x, _ = self.stack(
            self.embedding(ids, mask),
            mask,
            causal=causal,
            memory=None if memory is None else self.stack.project_memory(memory),
        )
        assert isinstance(x, Tensor)
        return x


@pytest.fixture
def reader(shaken: Shake) -> _Reader:
    made = shaken(_Reader())
    assert isinstance(made, _Reader)
    return made


def _real(ids: Tensor) -> Tensor:
    return torch.ones_like(ids, dtype=torch.bool)


IDS = torch.tensor([[3, 7, 7, 4, 9]])


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_changes_nothing(causal: bool, side: str, reader: _Reader) -> None:
    memory = torch.randn(1, 4, 6)
    alone = reader(IDS, _real(IDS), causal=causal, memory=memory)
    for filler in (PAD, 13):  # what stands under the padding must not matter either
        pad = torch.full((1, 3), filler)
        off = torch.zeros(1, 3, dtype=torch.bool)
        ids = torch.cat([pad, IDS] if side == "left" else [IDS, pad], dim=1)
        mask = torch.cat([off, _real(IDS)] if side == "left" else [_real(IDS), off], dim=1)
        padded = reader(ids, mask, causal=causal, memory=memory)
        assert padded.isfinite().all()
        kept = padded[:, 3:] if side == "left" else padded[:, :5]
        torch.testing.assert_close(kept, alone, atol=1e-5, rtol=1e-5)


def test_causal_leaks_nothing_from_later_tokens(reader: _Reader) -> None:
    before = reader(IDS, _real(IDS), causal=True)
    for place in range(1, 5):
        changed = IDS.clone()
        changed[0, place] = 15
        after = reader(changed, _real(IDS), causal=True)
        assert torch.equal(after[:, :place], before[:, :place])
        assert not torch.allclose(after[:, place:], before[:, place:])


def test_causal_leaks_no_gradient_to_later_tokens(reader: _Reader) -> None:
    x = torch.randn(1, 5, 8, requires_grad=True)
    out, _ = reader.stack(x, _real(IDS), causal=True)
    (grad,) = torch.autograd.grad(out[0, 2].sum(), x)
    assert bool((grad[0, 3:] == 0).all())
    assert bool((grad[0, :3].abs().sum(dim=-1) > 0).all())


def test_bidirectional_sees_later_tokens(reader: _Reader) -> None:
    changed = IDS.clone()
    changed[0, 4] = 15
    before, after = (reader(ids, _real(ids), causal=False) for ids in (IDS, changed))
    assert not torch.allclose(after[:, 0], before[:, 0])


@pytest.mark.parametrize("chunks", [(1, 1, 1, 1, 1), (2, 3), (4, 1)])
@pytest.mark.parametrize("left_padding", [0, 2])
def test_cached_reading_equals_one_pass(chunks: tuple[int, ...], left_padding: int, reader: _Reader) -> None:
    memory = reader.stack.project_memory(torch.randn(2, 4, 6))
    memory_mask = torch.tensor([[True] * 4, [True, False, True, False]])
    ids = torch.randint(1, 20, (2, 5))
    mask = _real(ids)
    if left_padding:
        mask[1, :left_padding] = False
    whole, caches = reader.stack(
        reader.embedding(ids, mask), mask, causal=True, memory=memory, memory_mask=memory_mask
    )
    past = None
    pieces: list[Tensor] = []
    done = 0
    for size in chunks:
        seen = mask[:, : done + size]
        x = reader.embedding(ids[:, done : done + size], seen)
        out, past = reader.stack(x, seen, causal=True, past=past, memory=memory, memory_mask=memory_mask)
        pieces.append(out)
        done += size
    real = mask[:, :, None]
    torch.testing.assert_close(torch.cat(pieces, dim=1) * real, whole * real, atol=1e-5, rtol=1e-5)
    assert past is not None
    for (keys, values), (all_keys, all_values) in zip(past, caches, strict=True):
        torch.testing.assert_close(keys[:, :, left_padding:], all_keys[:, :, left_padding:])
        torch.testing.assert_close(values[:, :, left_padding:], all_values[:, :, left_padding:])


def test_an_empty_cache_is_no_cache(reader: _Reader) -> None:
    x = reader.embedding(IDS, _real(IDS))
    empty = [(torch.zeros(1, 2, 0, 4), torch.zeros(1, 2, 0, 4))] * 3
    assert torch.equal(
        reader.stack(x, _real(IDS), causal=True, past=empty)[0], reader.stack(x, _real(IDS), causal=True)[0]
    )


def test_masked_memory_changes_nothing(reader: _Reader) -> None:
    x = reader.embedding(IDS, _real(IDS))
    memory = torch.randn(1, 5, 6)
    real = torch.tensor([[True, True, False, True, False]])

    def read(tokens: Tensor, mask: Tensor) -> Tensor:
        projected = reader.stack.project_memory(tokens)
        out, _ = reader.stack(x, _real(IDS), memory=projected, memory_mask=mask)
        assert isinstance(out, Tensor)
        return out

    shorter = read(memory[:, [0, 1, 3]], torch.ones(1, 3, dtype=torch.bool))
    torch.testing.assert_close(read(memory, real), shorter, atol=1e-5, rtol=1e-5)


def test_a_gradient_reaches_every_parameter_but_unused_positions(
    reader: _Reader, untouched: Callable[[nn.Module, Tensor], list[str]]
) -> None:
    out = reader(IDS, _real(IDS), causal=True, memory=torch.randn(1, 4, 6))
    assert untouched(reader, out) == []
    used = reader.embedding.positions.table.weight.grad
    assert used is not None
    assert used.abs().sum(dim=1).bool().tolist() == [True] * 5 + [False] * 7


def test_embedding_tells_places_apart_and_refuses_texts_beyond_its_table(reader: _Reader) -> None:
    embedded = reader.embedding(IDS, _real(IDS))
    assert not torch.allclose(embedded[0, 1], embedded[0, 2])  # the same word twice
    long = torch.ones(1, 13, dtype=torch.long)
    with pytest.raises(IndexError):
        reader.embedding(long, _real(long))


def test_memory_of_a_stack_without_cross_attention_is_refused() -> None:
    with pytest.raises(ValueError, match="without cross-attention"):
        TextTransformer(build_blocks(StackShape(8, 1, 2, 32))).project_memory(torch.zeros(1, 2, 8))


def test_post_norm_ends_normalised() -> None:
    stack = TextTransformer(build_blocks(StackShape(8, 2, 2, 32, norm_first=False, norm_eps=1e-12)))
    out, _ = stack(torch.randn(1, 4, 8), torch.ones(1, 4, dtype=torch.bool))
    torch.testing.assert_close(out.mean(dim=-1), torch.zeros(1, 4), atol=1e-5, rtol=0)
    torch.testing.assert_close(out.var(dim=-1, unbiased=False), torch.ones(1, 4), atol=1e-4, rtol=0)
