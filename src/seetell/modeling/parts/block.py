"""One transformer block for vision and text, encoders and decoders, with or without cross-attention.

A block is put together from built parts, so that what a family does otherwise is another part and no flag:

    TransformerBlock(
        Attention(projections(1024, 16, kv_heads=8, bias=False), positions=rotary),  # parts.attention
        GatedMlp(1024, 2816),                                                        # parts.mlp
        BlockNorms(nn.RMSNorm(1024), nn.RMSNorm(1024)),
    )

and a stack from a row of blocks (``parts.text.TextTransformer``). The blocks that most families have, with
LayerNorms and a plain MLP, ``parts.stack.build_blocks`` makes from one frozen shape.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from seetell.modeling.parts.attention import Attention, KeyValue
from seetell.modeling.parts.drop_path import DropPath
from seetell.modeling.parts.merging import assignment, merge


class BlockNorms(NamedTuple):
    """The norms of a block, each float[..., D] -> the same shape; ``cross`` goes with cross-attention."""

    attention: nn.Module
    mlp: nn.Module
    cross: nn.Module | None = None


class TransformerBlock(nn.Module):
    """Self-attention, cross-attention where there is one, then an MLP, each residual.

    Args:
        attention: over the tokens themselves.
        mlp: float[..., D] -> float[..., D].
        norms: of each.
        cross: attention over another modality, or None.
        norm_first: norms stand before each sub-layer (GPT-2, ViT, CLIP; Xiong et al. 2020) or after the
            residual sum (BERT, BLIP's text model; Vaswani et al. 2017).
        dropout: after each sub-layer.
        drop_path: probability that a sample skips a sub-layer (Huang et al. 2016).

    Raises ValueError for a cross-attention without its norm, and the other way round.
    """

    def __init__(
        self,
        attention: Attention,
        mlp: nn.Module,
        norms: BlockNorms,
        cross: Attention | None = None,
        *,
        norm_first: bool = True,
        dropout: float = 0.0,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        if (cross is None) != (norms.cross is None):
            raise ValueError("a cross-attention and its norm go together")
        self.norm_first = norm_first
        # In this order: it is that of optimisers' states and of a run's fingerprint.
        self.attention_norm = norms.attention
        self.attention = attention
        self.cross_norm = norms.cross
        self.cross_attention = cross
        self.mlp_norm = norms.mlp
        self.mlp = mlp
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
        places: Tensor | None = None,
    ) -> tuple[Tensor, KeyValue]:
        """x: float[B, T, D]. mask: bool, broadcastable to [B, num_heads, T, P + T].

        past: this block's cached keys and values, two float[B, kv_heads, P, head_dim].
        places: int64[B or 1, T], for an attention with ``positions``.
        memory: the other modality's keys and values from ``cross_attention.project``, or None to skip
        cross-attention. memory_mask: bool, broadcastable to [B, num_heads, T, N].
        Returns float[B, T, D] and the keys and values including the past.
        """
        normed = self.attention_norm(x) if self.norm_first else x
        keys, values = self.attention.project(normed, places)
        if past is not None:
            keys = torch.cat([past[0], keys], dim=2)
            values = torch.cat([past[1], values], dim=2)
        x = self._add(x, self.attention(normed, (keys, values), mask, places=places), self.attention_norm)
        if memory is not None:
            if self.cross_attention is None or self.cross_norm is None:
                raise ValueError("this block was built without cross-attention")
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

    def _add(self, x: Tensor, update: Tensor, norm: nn.Module) -> Tensor:
        x = x + self.drop_path(self.dropout(update))
        if self.norm_first:
            return x
        normed: Tensor = norm(x)
        return normed
