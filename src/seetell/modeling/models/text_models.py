"""Text alone: an encoder that reads both ways (BERT) and a decoder that writes (GPT-2).

They look at no photo. They are here to start grounded models from, and as halves of those.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn
from torch.nn import functional as F

from seetell.modeling.models.assembled import AssembledModel, Depth, ModelLimits
from seetell.modeling.parts.attention import KeyValue
from seetell.modeling.parts.stack import StackShape, build_blocks
from seetell.modeling.parts.text import TextEmbedding, TextTransformer


class _TextConfig(BaseModel):
    """hidden_dim: of the MLPs. The rest as in parts/text.py."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    vocab_size: int
    context_length: int
    embed_dim: int
    depth: Depth
    num_heads: int
    hidden_dim: int
    activation: str
    norm_eps: float


class TextEncoderConfig(_TextConfig):
    """A BERT. num_types: segment types in the embedding, 0 for none. pooling: how a text's tokens become its
    vector, for an encoder of sentences."""

    num_types: int = 2
    pooling: Literal["mean", "first", "max"] | None = None


class TextDecoderConfig(_TextConfig):
    """A GPT-2. tied: the output matrix is the input embedding (Press and Wolf 2017)."""

    tied: bool = True


def _stack(config: _TextConfig) -> StackShape:
    return StackShape(
        config.embed_dim,
        config.depth,
        config.num_heads,
        config.hidden_dim,
        activation=config.activation,
        norm_eps=config.norm_eps,
    )


class TextEncoder(AssembledModel):
    """int64[B, T] -> float[B, T, D], read both ways. Source: Devlin et al. 2019.

    Positions are places in the row, padding counted, and every token is of segment type 0, as others run it.
    """

    family = "text_encoder"

    def __init__(self, config: TextEncoderConfig) -> None:
        super().__init__()
        self.config: TextEncoderConfig = config
        self.embedding = TextEmbedding(
            config.vocab_size,
            config.context_length,
            config.embed_dim,
            norm_eps=config.norm_eps,
            num_types=config.num_types,
            count_attended=False,
        )
        self.stack = TextTransformer(build_blocks(replace(_stack(config), norm_first=False)))

    @property
    def limits(self) -> ModelLimits:
        return ModelLimits(vocab_size=self.config.vocab_size, context_length=self.config.context_length)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """attention_mask: bool[B, T], True on what is not padding."""
        tokens: Tensor = self.stack(self.embedding(input_ids, attention_mask), attention_mask)[0]
        return tokens

    def embeds(self, tokens: Tensor, attention_mask: Tensor) -> Tensor:
        """Unit vectors float[B, D] of what :meth:`forward` gave. Source: Reimers and Gurevych 2019."""
        real = attention_mask[:, :, None]
        if self.config.pooling == "first":
            pooled = tokens[:, 0]
        elif self.config.pooling == "max":
            pooled = tokens.masked_fill(~real, torch.finfo(tokens.dtype).min).amax(dim=1)
        else:
            pooled = (tokens * real).sum(dim=1) / real.sum(dim=1).clamp(min=1)
        return F.normalize(pooled, dim=-1)


class WordWriter(nn.Module):
    """A pre-norm stack that writes left to right, with or without cross-attention.

    Source: Radford et al. 2019. Positions count attended tokens, so that padding on the left changes
    nothing.

    Args:
        config: of the stack.
        context_dim: width of what cross-attention reads, None for none.
    """

    def __init__(self, config: TextDecoderConfig, context_dim: int | None = None) -> None:
        super().__init__()
        self.embedding = TextEmbedding(config.vocab_size, config.context_length, config.embed_dim)
        self.stack = TextTransformer(build_blocks(replace(_stack(config), context_dim=context_dim)))
        self.norm = nn.LayerNorm(config.embed_dim, eps=config.norm_eps)
        self.head = None if config.tied else nn.Linear(config.embed_dim, config.vocab_size, bias=False)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        *,
        past: Sequence[KeyValue] | None = None,
        memory: Sequence[KeyValue] | None = None,
        memory_mask: Tensor | None = None,
    ) -> tuple[Tensor, list[KeyValue]]:
        """input_ids: int64[B, T]; attention_mask: bool[B, P + T]; memory_mask: bool[B, N].

        past, memory: per block, keys and values. Returns logits float[B, T, V], and the keys and values to
        continue from.
        """
        x, present = self.stack(
            self.embedding(input_ids, attention_mask),
            attention_mask,
            causal=True,
            past=past,
            memory=memory,
            memory_mask=memory_mask,
        )
        x = self.norm(x)
        return F.linear(x, self.embedding.tokens.weight) if self.head is None else self.head(x), present


class TextDecoder(AssembledModel):
    """int64[B, T] -> logits of the next word float[B, T, V], for text without a photo."""

    family = "text_decoder"

    def __init__(self, config: TextDecoderConfig) -> None:
        super().__init__()
        self.config: TextDecoderConfig = config
        self.writer = WordWriter(config)

    @property
    def limits(self) -> ModelLimits:
        return ModelLimits(vocab_size=self.config.vocab_size, context_length=self.config.context_length)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, past: Sequence[KeyValue] | None = None
    ) -> tuple[Tensor, list[KeyValue]]:
        """As in WordWriter."""
        found: tuple[Tensor, list[KeyValue]] = self.writer(input_ids, attention_mask, past=past)
        return found
