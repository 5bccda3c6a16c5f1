"""BERT's head over words (Devlin et al. 2019), for masked words and for the next one."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seetell.modeling.parts.mlp import activation_module


class TokenHead(nn.Module):
    """float[..., D] -> logits float[..., V] through a dense layer, an activation and a LayerNorm.

    Args:
        words: the input embedding of V words.
        tied: the output matrix is that of ``words`` (Press and Wolf 2017); else it is one of its own.
        activation, norm_eps: as in TransformerBlock.
    """

    def __init__(self, words: nn.Embedding, *, tied: bool, activation: str, norm_eps: float) -> None:
        super().__init__()
        vocab_size, embed_dim = words.weight.shape
        self.tied = tied
        self.dense = nn.Linear(embed_dim, embed_dim)
        self.activation = activation_module(activation)
        self.norm = nn.LayerNorm(embed_dim, eps=norm_eps)
        # Where tied, a second name of the embedding: public checkpoints hold one or the other.
        self.matrix = words.weight if tied else nn.Parameter(torch.zeros_like(words.weight))
        self.bias = nn.Parameter(torch.zeros(vocab_size))

    def forward(self, hidden: Tensor, words: nn.Embedding) -> Tensor:
        """words: the embedding given before, which is read where it lies, so that whatever becomes of the
        second name (a copy, a checkpoint read into it) the two cannot drift apart."""
        matrix = words.weight if self.tied else self.matrix
        return F.linear(self.norm(self.activation(self.dense(hidden))), matrix, self.bias)
