"""One transformer block for vision and text, encoders and decoders, with or without cross-attention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from seetell.modeling.parts.attention import Attention, KeyValue, head_width
from seetell.modeling.parts.drop_path import DropPath
from seetell.modeling.parts.merging import assignment, merge
from seetell.modeling.parts.mlp import Mlp


@dataclass(frozen=True, slots=True)
class BlockWidths:
    """How wide one block of a stack is, where its blocks differ, as those of a pruned model do.

    num_heads: of self-attention. mlp_dim: hidden units of the MLP. cross_heads: of cross-attention, None for
    a block without. The width of a head stays that of the whole stack.
    """

    num_heads: int
    mlp_dim: int
    cross_heads: int | None = None

    def __post_init__(self) -> None:
        given = {"num_heads": self.num_heads, "mlp_dim": self.mlp_dim, "cross_heads": self.cross_heads}
        for name, count in given.items():
            if count is not None and count < 1:
                raise ValueError(f"{name} is {count}; a block has one at least")


def block_widths(widths: Sequence[BlockWidths] | None, depth: int) -> Sequence[BlockWidths | None]:
    """One for each of ``depth`` blocks, None where they are all alike. Raises ValueError otherwise."""
    if widths is None:
        return [None] * depth
    if len(widths) != depth:
        raise ValueError(f"{len(widths)} widths for {depth} blocks")
    return widths


class TransformerBlock(nn.Module):
    """Self-attention, cross-attention where ``context_dim`` is given, then an MLP, each residual.

    ``norm_first`` puts the LayerNorm before each sub-layer (GPT-2, ViT, CLIP; Xiong et al. 2020) or
    after the residual sum (BERT, BLIP's text model; Vaswani et al. 2017).

    Args:
        embed_dim, num_heads: as in Attention.
        mlp_ratio: hidden width of the MLP over ``embed_dim``, rounded to whole units.
        widths: this block's own, in the place of what ``num_heads`` and ``mlp_ratio`` say; a head is then
            still ``embed_dim / num_heads`` wide.
        context_dim: width of the other modality, None for no cross-attention.
        dropout: on attention weights and after each sub-layer.
        drop_path: probability that a sample skips a sub-layer (Huang et al. 2016).
        activation: of the MLP, a name from ``activation_module``.
        norm_eps: of every LayerNorm (1e-12 in BERT and ViT, 1e-5 in CLIP and GPT-2).
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        mlp_ratio: float = 4.0,
        *,
        widths: BlockWidths | None = None,
        context_dim: int | None = None,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        activation: str = "gelu",
        norm_first: bool = True,
        norm_eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.norm_first = norm_first
        if widths is None:
            widths = BlockWidths(num_heads, round(embed_dim * mlp_ratio), num_heads)
        head_dim = head_width(embed_dim, num_heads)
        self.attention_norm = nn.LayerNorm(embed_dim, eps=norm_eps)
        self.attention = Attention(embed_dim, widths.num_heads, dropout=dropout, head_dim=head_dim)
        self.cross_norm: nn.LayerNorm | None = None
        self.cross_attention: Attention | None = None
        if context_dim is not None:
            self.cross_norm = nn.LayerNorm(embed_dim, eps=norm_eps)
            if widths.cross_heads is None:
                raise ValueError("a block with cross-attention needs to know its cross_heads")
            self.cross_attention = Attention(
                embed_dim, widths.cross_heads, context_dim, dropout, head_dim=head_dim
            )
        self.mlp_norm = nn.LayerNorm(embed_dim, eps=norm_eps)
        self.mlp = Mlp(embed_dim, widths.mlp_dim, activation)
        self.dropout = nn.Dropout(dropout)
        self.drop_path = DropPath(drop_path)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        *,
        past: KeyValue | None = None,
        memory: KeyValue | None = None,
        memory_mask: Tensor | None = None,
    ) -> tuple[Tensor, KeyValue]:
        """x: float[B, T, D]. mask: bool, broadcastable to [B, num_heads, T, P + T].

        past: this block's cached keys and values, two float[B, num_heads, P, head_dim].
        memory: the other modality's keys and values from ``cross_attention.project``, or None to skip
        cross-attention. memory_mask: bool, broadcastable to [B, num_heads, T, N].
        Returns float[B, T, D] and the keys and values including the past.
        """
        normed = self.attention_norm(x) if self.norm_first else x
        keys, values = self.attention.project(normed)
        if past is not None:
            keys = torch.cat([past[0], keys], dim=2)
            values = torch.cat([past[1], values], dim=2)
        x = self._add(x, self.attention(normed, (keys, values), mask), self.attention_norm)
        if memory is not None:
            if self.cross_attention is None or self.cross_norm is None:
                raise ValueError("this block was built without cross-attention (context_dim is None)")
            normed = self.cross_norm(x) if self.norm_first else x
            x = self._add(x, self.cross_attention(normed, memory, memory_mask), self.cross_norm)
        normed = self.mlp_norm(x) if self.norm_first else x
        x = self._add(x, self.mlp(normed), self.mlp_norm)
        return x, (keys, values)

    def at(self, x: Tensor, here: Tensor, mask: Tensor | None = None) -> Tensor:
        """What :meth:`forward` gives at some places alone, for a last block of which one token is read: their
        queries and their MLP are most of its arithmetic.

        x: float[B, T, D]. here: float[B, Q, D], the rows of ``x`` at these places. mask: bool, broadcastable
        to [B, num_heads, Q, T]. Returns float[B, Q, D].
        """
        normed, query = (self.attention_norm(x), self.attention_norm(here)) if self.norm_first else (x, here)
        attended = self.attention(query, self.attention.project(normed), mask)
        here = self._add(here, attended, self.attention_norm)
        normed = self.mlp_norm(here) if self.norm_first else here
        return self._add(here, self.mlp(normed), self.mlp_norm)

    def merging(self, x: Tensor, sizes: Tensor, count: int, lead: int = 0) -> tuple[Tensor, Tensor, Tensor]:
        """Self-attention, then ``count`` tokens merged into others (Bolya et al. 2023), then the MLP.

        x: float[B, N, D]. sizes: float[B, N], of how many each token is the mean. count, lead: as in
        ``assignment``. Returns float[B, N - count, D], their sizes, and the assignment.
        """
        normed = self.attention_norm(x) if self.norm_first else x
        keys_values = self.attention.project(normed)
        bias = sizes.log()[:, None, None]
        x = self._add(x, self.attention(normed, keys_values, bias=bias), self.attention_norm)
        into = assignment(keys_values[0].mean(dim=1), count, lead)
        x, sizes = merge(x, sizes, into)
        normed = self.mlp_norm(x) if self.norm_first else x
        return self._add(x, self.mlp(normed), self.mlp_norm), sizes, into

    def _add(self, x: Tensor, update: Tensor, norm: nn.LayerNorm) -> Tensor:
        x = x + self.drop_path(self.dropout(update))
        return x if self.norm_first else norm(x)
