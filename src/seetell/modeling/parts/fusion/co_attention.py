"""ViLBERT's co-attention: two streams that exchange keys and values (Lu et al. 2019, figure 2b).

A layer is the pair of figure 1: the exchange (Co-TRM), then a block of self-attention in each stream
(TRM). LayerNorms stand before each sub-layer, as in the other parts, where ViLBERT's follow it.
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, nn

from seetell.modeling.parts.attention import Attention, projections
from seetell.modeling.parts.block import TransformerBlock
from seetell.modeling.parts.masks import padding_mask
from seetell.modeling.parts.mlp import Mlp
from seetell.modeling.parts.stack import StackShape, build_blocks, context_width, mlp_width


class ExchangeBlock(nn.Module):
    """One side of the exchange: queries of this stream, keys and values of the other, then an MLP."""

    def __init__(self, shape: StackShape) -> None:
        """shape: of this stream's blocks; its ``context_dim`` is the width of the other stream."""
        super().__init__()
        width = shape.embed_dim
        self.norm = nn.LayerNorm(width)
        # The other stream comes as it stands between its blocks, which nothing has normalised yet.
        self.context_norm = nn.LayerNorm(context_width(shape))
        self.attention = Attention(
            projections(width, shape.num_heads, context_dim=shape.context_dim), dropout=shape.dropout
        )
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = Mlp(width, shape.mlp_dim)
        self.dropout = nn.Dropout(shape.dropout)

    def forward(self, x: Tensor, other: Tensor, other_mask: Tensor) -> Tensor:
        """x: float[B, T, D], other: float[B, N, C], other_mask: bool[B, 1, 1, N] -> float[B, T, D]."""
        keys_values = self.attention.project(self.context_norm(other))
        x = x + self.dropout(self.attention(self.norm(x), keys_values, other_mask))
        exchanged: Tensor = x + self.dropout(self.mlp(self.mlp_norm(x)))
        return exchanged


def _reading_itself(shape: StackShape) -> TransformerBlock:
    (block,) = build_blocks(replace(shape, depth=1, context_dim=None))
    return block


class CoAttentionLayer(nn.Module):
    """One exchange: each stream attends to the other as it stood before the layer, then to itself.

    Args: shapes of the streams' blocks, each with the other's width as its ``context_dim``; ``image`` None
    leaves out the image stream's side, for a layer whose image tokens nobody reads.
    """

    def __init__(self, text: StackShape, image: StackShape | None) -> None:
        super().__init__()
        self.text_exchange = ExchangeBlock(text)
        self.text = _reading_itself(text)
        self.image_exchange: ExchangeBlock | None = None
        self.image: TransformerBlock | None = None
        if image is not None:
            self.image_exchange = ExchangeBlock(image)
            self.image = _reading_itself(image)

    def forward(
        self, text: Tensor, text_mask: Tensor, image: Tensor, image_mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """text: float[B, T, D], image: float[B, N, C]; masks bool [B, 1, 1, T] and [B, 1, 1, N].

        Returns both streams, the image's unchanged where its side is left out.
        """
        new_text, _ = self.text(self.text_exchange(text, image, image_mask), text_mask)
        if self.image is None or self.image_exchange is None:
            return new_text, image
        new_image, _ = self.image(self.image_exchange(image, text, text_mask), image_mask)
        return new_text, new_image


class CoAttentionFusion(nn.Module):
    """``depth`` co-attention layers. The image stream ends one layer early: only the text is returned.

    Args:
        shape: of the text stream's blocks; its ``context_dim`` is the width of the image stream, whose blocks
            have as many heads and MLPs as much wider than their tokens.
    """

    def __init__(self, shape: StackShape) -> None:
        super().__init__()
        width = context_width(shape)
        image = replace(
            shape,
            embed_dim=width,
            context_dim=shape.embed_dim,
            mlp_dim=mlp_width(width, shape.mlp_dim / shape.embed_dim),
        )
        self.layers = nn.ModuleList(
            CoAttentionLayer(shape, image if index < shape.depth - 1 else None)
            for index in range(shape.depth)
        )
        self.norm = nn.LayerNorm(shape.embed_dim)

    def forward(
        self, text_tokens: Tensor, text_mask: Tensor, image_tokens: Tensor, image_mask: Tensor
    ) -> Tensor:
        """See the package: fused tokens float[B, T, D]."""
        text, image = text_tokens, image_tokens
        for layer in self.layers:
            text, image = layer(text, padding_mask(text_mask), image, padding_mask(image_mask))
        normed: Tensor = self.norm(text)
        return normed
