"""ViLBERT's co-attention: two streams that exchange keys and values (Lu et al. 2019, figure 2b).

A layer is the pair of figure 1: the exchange (Co-TRM), then a block of self-attention in each stream
(TRM). LayerNorms stand before each sub-layer, as in the other parts, where ViLBERT's follow it.
"""

from __future__ import annotations

from torch import Tensor, nn

from seetell.modeling.parts.attention import Attention
from seetell.modeling.parts.block import TransformerBlock
from seetell.modeling.parts.masks import padding_mask
from seetell.modeling.parts.mlp import Mlp


class ExchangeBlock(nn.Module):
    """One side of the exchange: queries of this stream, keys and values of the other, then an MLP."""

    def __init__(
        self, embed_dim: int, context_dim: int, num_heads: int, mlp_ratio: float, dropout: float
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(embed_dim)
        # The other stream comes as it stands between its blocks, which nothing has normalised yet.
        self.context_norm = nn.LayerNorm(context_dim)
        self.attention = Attention(embed_dim, num_heads, context_dim, dropout)
        self.mlp_norm = nn.LayerNorm(embed_dim)
        self.mlp = Mlp(embed_dim, round(embed_dim * mlp_ratio))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, other: Tensor, other_mask: Tensor) -> Tensor:
        """x: float[B, T, D], other: float[B, N, C], other_mask: bool[B, 1, 1, N] -> float[B, T, D]."""
        keys_values = self.attention.project(self.context_norm(other))
        x = x + self.dropout(self.attention(self.norm(x), keys_values, other_mask))
        exchanged: Tensor = x + self.dropout(self.mlp(self.mlp_norm(x)))
        return exchanged


class CoAttentionLayer(nn.Module):
    """One exchange: each stream attends to the other as it stood before the layer, then to itself.

    ``both`` = False leaves out the image stream's side, for a layer whose image tokens nobody reads.
    """

    def __init__(
        self,
        text_dim: int,
        image_dim: int,
        num_heads: int,
        mlp_ratio: float,
        dropout: float,
        *,
        both: bool = True,
    ) -> None:
        super().__init__()
        self.text_exchange = ExchangeBlock(text_dim, image_dim, num_heads, mlp_ratio, dropout)
        self.text = TransformerBlock(text_dim, num_heads, mlp_ratio, dropout=dropout)
        self.image_exchange: ExchangeBlock | None = None
        self.image: TransformerBlock | None = None
        if both:
            self.image_exchange = ExchangeBlock(image_dim, text_dim, num_heads, mlp_ratio, dropout)
            self.image = TransformerBlock(image_dim, num_heads, mlp_ratio, dropout=dropout)

    def forward(
        self, text: Tensor, text_mask: Tensor, image: Tensor, image_mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """text: float[B, T, D], image: float[B, N, C]; masks bool [B, 1, 1, T] and [B, 1, 1, N].

        Returns both streams, the image's unchanged where ``both`` is False.
        """
        new_text, _ = self.text(self.text_exchange(text, image, image_mask), text_mask)
        if self.image is None or self.image_exchange is None:
            return new_text, image
        new_image, _ = self.image(self.image_exchange(image, text, text_mask), image_mask)
        return new_text, new_image


class CoAttentionFusion(nn.Module):
    """``depth`` co-attention layers. The image stream ends one layer early: only the text is returned.

    Args: embed_dim of the text stream, context_dim of the image stream (default the same); num_heads
    divides both.
    """

    def __init__(
        self,
        embed_dim: int,
        depth: int,
        num_heads: int,
        mlp_ratio: float = 4.0,
        *,
        context_dim: int | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        image_dim = embed_dim if context_dim is None else context_dim
        self.layers = nn.ModuleList(
            CoAttentionLayer(embed_dim, image_dim, num_heads, mlp_ratio, dropout, both=index < depth - 1)
            for index in range(depth)
        )
        self.norm = nn.LayerNorm(embed_dim)

    def forward(
        self, text_tokens: Tensor, text_mask: Tensor, image_tokens: Tensor, image_mask: Tensor
    ) -> Tensor:
        """See the package: fused tokens float[B, T, D]."""
        text, image = text_tokens, image_tokens
        for layer in self.layers:
            text, image = layer(text, padding_mask(text_mask), image, padding_mask(image_mask))
        normed: Tensor = self.norm(text)
        return normed
