"""A causal language model of the kind most are by now: Llama, Qwen2, Qwen3 and what is built like them.

Root-mean-square norms before each sub-layer, rotary positions, grouped queries, a gated MLP. What differs
between families stands in the configuration: biases, norms over queries and keys, an output matrix of its
own.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn
from torch.nn import functional as F

from seetell.modeling.models.assembled import AssembledModel, Depth, ModelLimits
from seetell.modeling.parts.attention import Attention, KeyValue, projections
from seetell.modeling.parts.block import BlockNorms, TransformerBlock
from seetell.modeling.parts.mlp import GatedMlp
from seetell.modeling.parts.positions import Rotary, rotary_frequencies
from seetell.modeling.parts.text import TextTransformer


class CausalConfig(BaseModel):
    """What rebuilds a :class:`CausalModel`.

    kv_heads: heads of keys and values, each for as many queries in a row. head_dim: all heads together may be
        wider than ``embed_dim``, or narrower.
    rope_base: of the rotary positions. rope_divisors: one for each pair of a head's numbers, by which its
        frequency is divided for texts longer than the model was first trained on; empty for none.
    qkv_bias, out_bias, mlp_bias: whether these layers add one. head_norms: whether each head of queries and
        keys is normed. tied: the output matrix is the input embedding (Press and Wolf 2017).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    vocab_size: int
    context_length: int
    embed_dim: int
    depth: Depth
    num_heads: int
    kv_heads: int
    head_dim: int
    hidden_dim: int
    activation: str = "silu"
    norm_eps: float
    rope_base: float
    rope_divisors: tuple[float, ...] = ()
    qkv_bias: bool = False
    out_bias: bool = False
    mlp_bias: bool = False
    head_norms: bool = False
    tied: bool = True


class CausalModel(AssembledModel):
    """int64[B, T] -> logits of the next token float[B, T, V].

    Positions count attended tokens, so that padding on the left, and tokens in a cache that are attended to
    no more, change nothing.
    """

    family = "causal"

    def __init__(self, config: CausalConfig) -> None:
        super().__init__()
        self.config: CausalConfig = config
        self.tokens = nn.Embedding(config.vocab_size, config.embed_dim)
        nn.init.normal_(self.tokens.weight, std=0.02)
        rotary = Rotary(_frequencies(config))
        self.stack = TextTransformer(_block(config, rotary) for _ in range(config.depth))
        self.norm = nn.RMSNorm(config.embed_dim, eps=config.norm_eps)
        self.head = None if config.tied else nn.Linear(config.embed_dim, config.vocab_size, bias=False)

    @property
    def limits(self) -> ModelLimits:
        return ModelLimits(vocab_size=self.config.vocab_size, context_length=self.config.context_length)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        past: Sequence[KeyValue] | None = None,
    ) -> tuple[Tensor, list[KeyValue]]:
        """input_ids: int64[B, T]; attention_mask: bool[B, P + T], the past's first.

        Returns logits float[B, T, V] and, per block, the keys and values to continue from.
        """
        x, present = self.read(self.tokens(input_ids), attention_mask, past)
        return self.logits(x), present

    def read(
        self, embeds: Tensor, attention_mask: Tensor, past: Sequence[KeyValue] | None = None
    ) -> tuple[Tensor, list[KeyValue]]:
        """From vectors float[B, T, D] in the place of tokens to what :meth:`logits` takes, float[B, T, D]."""
        found: tuple[Tensor, list[KeyValue]] = self.stack(embeds, attention_mask, causal=True, past=past)
        return found

    def logits(self, x: Tensor) -> Tensor:
        """float[..., D] -> float[..., V]."""
        x = self.norm(x)
        if self.head is None:
            return F.linear(x, self.tokens.weight)
        found: Tensor = self.head(x)
        return found


def _frequencies(config: CausalConfig) -> Tensor:
    # On the CPU whatever the default is: a model may be built where tensors have no storage.
    with torch.device("cpu"):
        plain = rotary_frequencies(config.head_dim, config.rope_base)
        if not config.rope_divisors:
            return plain
        if len(config.rope_divisors) != len(plain):
            raise ValueError(f"{len(config.rope_divisors)} rope_divisors for {len(plain)} frequencies")
        return plain / torch.tensor(config.rope_divisors)


def _block(config: CausalConfig, rotary: Rotary) -> TransformerBlock:
    width = config.embed_dim

    def norm(size: int) -> nn.RMSNorm:
        return nn.RMSNorm(size, eps=config.norm_eps)

    layers = projections(
        width,
        config.num_heads,
        head_dim=config.head_dim,
        kv_heads=config.kv_heads,
        bias=config.qkv_bias,
        out_bias=config.out_bias,
    )
    attention = Attention(
        layers,
        positions=rotary,
        query_norm=norm(config.head_dim) if config.head_norms else None,
        key_norm=norm(config.head_dim) if config.head_norms else None,
    )
    mlp = GatedMlp(width, config.hidden_dim, config.activation, bias=config.mlp_bias)
    return TransformerBlock(attention, mlp, BlockNorms(norm(width), norm(width)))
