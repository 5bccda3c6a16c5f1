"""One vector from the tokens of a photo or a text."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from seetell.modeling.parts.attention import Attention


class AttentionPooling(nn.Module):
    """A learned query attends to all tokens, then an MLP, residual: float[B, N, D] -> float[B, D].

    Source: Zhai et al. 2022, "Scaling vision transformers", section 3.3 (MAP head); SigLIP's image pooling.

    Args:
        attention: from the query to the tokens. mlp: after it. norm: before the MLP.
    """

    def __init__(self, embed_dim: int, attention: Attention, mlp: nn.Module, norm: nn.Module) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.empty(embed_dim))
        nn.init.normal_(self.query, std=0.02)
        self.attention = attention
        self.norm = norm
        self.mlp = mlp

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens: float[B, N, D]."""
        query = self.query.expand(tokens.shape[0], 1, -1)
        x = self.attention(query, self.attention.project(tokens))
        pooled: Tensor = (x + self.mlp(self.norm(x)))[:, 0]
        return pooled


def at_first(tokens: Tensor, chosen: Tensor) -> Tensor:
    """The vector of each row's first chosen place, of its first place where none is: float[B, D].

    tokens: float[B, T, D]. chosen: bool[B, T].
    """
    place = first_place(chosen)
    return tokens.gather(1, place[:, None, None].expand(-1, 1, tokens.shape[2]))[:, 0]


def first_place(chosen: Tensor) -> Tensor:
    """The first place of each row of ``chosen`` bool[B, T], 0 where there is none: int64[B]."""
    # Counted, not by argmax: engines do not agree on which of several equal places that is.
    so_far = chosen.long().cumsum(dim=1)
    return (so_far == 0).long().sum(dim=1).masked_fill(so_far[:, -1] == 0, 0)
