"""Gated fusion: learned, input-dependent weights between the two modalities.

Source: Arevalo et al. 2017, "Gated multimodal units", applied per token and per channel: the image
side of a token is what the token attends to among the image tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from seetell.modeling.parts.attention import Attention, projections
from seetell.modeling.parts.masks import padding_mask
from seetell.modeling.parts.mlp import Mlp
from seetell.modeling.parts.stack import StackShape


class GatedLayer(nn.Module):
    """h = g * tanh(W_t t) + (1 - g) * tanh(W_v v), g = sigmoid(W_g [t; v]), then residual and MLP."""

    def __init__(self, shape: StackShape) -> None:
        """shape: as in CrossAttentionFusion."""
        super().__init__()
        embed_dim = shape.embed_dim
        self.text_norm = nn.LayerNorm(embed_dim)
        self.attention = Attention(
            projections(embed_dim, shape.num_heads, context_dim=shape.context_dim), dropout=shape.dropout
        )
        self.text_map = nn.Linear(embed_dim, embed_dim)
        self.image_map = nn.Linear(embed_dim, embed_dim)
        self.gate = nn.Linear(2 * embed_dim, embed_dim)
        self.mlp_norm = nn.LayerNorm(embed_dim)
        self.mlp = Mlp(embed_dim, shape.mlp_dim)
        self.dropout = nn.Dropout(shape.dropout)

    def gates(self, text: Tensor, seen: Tensor) -> Tensor:
        """The weight of the text side, in 0..1: float[B, T, D].

        text, seen: float[B, T, D], a token and what it attends to in the image.
        """
        return torch.sigmoid(self.gate(torch.cat([text, seen], dim=-1)))

    def forward(self, text: Tensor, image: Tensor, image_mask: Tensor) -> Tensor:
        """text: float[B, T, D], image: float[B, N, C], image_mask: bool[B, 1, 1, N]."""
        normed = self.text_norm(text)
        seen = self.attention(normed, self.attention.project(image), image_mask)
        gate = self.gates(normed, seen)
        mixed = gate * self.text_map(normed).tanh() + (1 - gate) * self.image_map(seen).tanh()
        text = text + self.dropout(mixed)
        fused: Tensor = text + self.dropout(self.mlp(self.mlp_norm(text)))
        return fused


class GatedFusion(nn.Module):
    """``depth`` gated layers."""

    def __init__(self, shape: StackShape) -> None:
        """shape: as in CrossAttentionFusion."""
        super().__init__()
        self.layers = nn.ModuleList(GatedLayer(shape) for _ in range(shape.depth))
        self.norm = nn.LayerNorm(shape.embed_dim)

    def forward(
        self, text_tokens: Tensor, text_mask: Tensor, image_tokens: Tensor, image_mask: Tensor
    ) -> Tensor:
        """See the package: fused tokens float[B, T, D]. Text tokens do not see each other here."""
        text = text_tokens
        for layer in self.layers:
            text = layer(text, image_tokens, padding_mask(image_mask))
        normed: Tensor = self.norm(text)
        return normed
