"""The text transformer: one stack that reads both ways (BERT-style) or left to right (GPT-style)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

from torch import Tensor, nn

from seetell.modeling.parts.attention import KeyValue
from seetell.modeling.parts.block import TransformerBlock
from seetell.modeling.parts.masks import causal_mask, padding_mask, positions_from_mask, positions_in_row
from seetell.modeling.parts.positions import LearnedPositions


class TextEmbedding(nn.Module):
    """Token and position embeddings: int64[B, T] -> float[B, T, D].

    Args:
        vocab_size, context_length, embed_dim: sizes of the two tables.
        dropout: after the sum.
        norm_eps: of a LayerNorm after the sum, None for none (GPT-2, CLIP).
        num_types: size of a table of segment types of which every token is type 0 (BERT), 0 for none.
        count_attended: positions count attended tokens only, so that padding on the left changes nothing;
            else they are places in the row, as BERT, CLIP and SigLIP were trained and are run by others.
    """

    def __init__(
        self,
        vocab_size: int,
        context_length: int,
        embed_dim: int,
        dropout: float = 0.0,
        *,
        norm_eps: float | None = None,
        num_types: int = 0,
        count_attended: bool = True,
    ) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocab_size, embed_dim)
        nn.init.normal_(self.tokens.weight, std=0.02)
        self.positions = LearnedPositions(context_length, embed_dim)
        self.types = nn.Embedding(num_types, embed_dim) if num_types else None
        self.norm = nn.LayerNorm(embed_dim, eps=norm_eps) if norm_eps is not None else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.count_attended = count_attended

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """attention_mask: bool[B, P + T], from which the positions of the T new tokens follow."""
        place = positions_from_mask if self.count_attended else positions_in_row
        x = self.tokens(input_ids) + self.positions(place(attention_mask, input_ids.shape[1]))
        if self.types is not None:
            x = x + self.types.weight[0]
        embedded: Tensor = self.dropout(self.norm(x))
        return embedded


class TextTransformer(nn.Module):
    """A stack of blocks over token vectors.

    The same weights read bidirectionally or causally: which one is an argument of the call, so that an
    encoder, a fusion encoder and a decoder can share them.

    Args:
        blocks: of ``parts.stack.build_blocks``, or put together one by one; with cross-attention all or none.
    """

    def __init__(self, blocks: Iterable[TransformerBlock]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self._turns = any(block.attention.positions is not None for block in self._blocks())

    def project_memory(self, memory: Tensor) -> list[KeyValue]:
        """Per block, the keys and values of ``memory`` float[B, N, context_dim]."""
        projected: list[KeyValue] = []
        for block in self._blocks():
            if block.cross_attention is None:
                raise ValueError("this stack was built without cross-attention")
            projected.append(block.cross_attention.project(memory))
        return projected

    def _blocks(self) -> list[TransformerBlock]:
        # ModuleList forgets the type of what it holds.
        return cast("list[TransformerBlock]", list(self.blocks))

    def forward(
        self,
        x: Tensor,
        attention_mask: Tensor | None,
        *,
        causal: bool = False,
        past: Sequence[KeyValue] | None = None,
        memory: Sequence[KeyValue] | None = None,
        memory_mask: Tensor | None = None,
    ) -> tuple[Tensor, list[KeyValue]]:
        """x: float[B, T, D]. attention_mask: bool[B, P + T]; None for all, not where causal.
        memory_mask: bool[B, N].

        Returns float[B, T, D] and, per block, the keys and values to continue from.
        """
        mask = _self_mask(attention_mask, x.shape[1], causal)
        cross_mask = None if memory_mask is None else padding_mask(memory_mask)
        places = self._places(attention_mask, x.shape[1])
        present: list[KeyValue] = []
        for index, block in enumerate(self._blocks()):
            x, keys_values = block(
                x,
                mask,
                past=None if past is None else past[index],
                memory=None if memory is None else memory[index],
                memory_mask=cross_mask,
                places=places,
            )
            present.append(keys_values)
        return x, present

    def _places(self, attention_mask: Tensor | None, length: int) -> Tensor | None:
        """Where the last ``length`` tokens stand, int64[B, T]; None where no block asks."""
        if not self._turns:
            return None
        if attention_mask is None:
            raise ValueError("blocks that know places need an attention_mask, by which they are counted")
        return positions_from_mask(attention_mask, length)

    def at(self, x: Tensor, attention_mask: Tensor | None, place: Tensor, *, causal: bool = False) -> Tensor:
        """What :meth:`forward` gives at ``place`` int64[B] of each row, without working out the last block's
        other tokens: float[B, D]. ``x`` and ``attention_mask`` as there; not for blocks that know places."""
        mask = _self_mask(attention_mask, x.shape[1], causal)
        *below, last = self._blocks()
        for block in below:
            x, _ = block(x, mask)
        here = x.gather(1, place[:, None, None].expand(-1, 1, x.shape[2]))
        if causal and mask is not None:
            mask = mask.gather(2, place[:, None, None, None].expand(-1, 1, 1, mask.shape[3]))
        return last.at(x, here, mask)[:, 0]


def _self_mask(attention_mask: Tensor | None, length: int, causal: bool) -> Tensor | None:
    """bool[B, 1, T or 1, P + T] for the last ``length`` tokens; None where all may attend everywhere."""
    if attention_mask is not None:
        return causal_mask(attention_mask, length) if causal else padding_mask(attention_mask)
    if causal:
        raise ValueError("reading left to right needs an attention_mask")
    return None


class SentenceEncoder(nn.Module):
    """Word vectors of its own and blocks that read both ways: int64[B, T], bool[B, T] -> float[B, T, D]."""

    def __init__(self, embedding: TextEmbedding, stack: TextTransformer) -> None:
        super().__init__()
        self.embedding = embedding
        self.stack = stack

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        read: Tensor
        read, _ = self.stack(self.embedding(input_ids, attention_mask), attention_mask)
        return read
