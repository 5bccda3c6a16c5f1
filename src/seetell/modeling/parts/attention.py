"""Multi-head attention, once, for self-attention, cross-attention, caches and causal decoding.

Source: Vaswani et al. 2017, section 3.2.2.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

KeyValue = tuple[Tensor, Tensor]


def attend(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    mask: Tensor | None,
    dropout: float = 0.0,
    bias: Tensor | None = None,
) -> Tensor:
    """softmax(Q K^T / sqrt(head_dim) + bias) V. float[B, num_heads, T, head_dim] over N -> the same shape.

    keys, values: float[B, kv_heads, N, head_dim]; where there are fewer heads of them, each serves as many
    queries in a row (Ainslie et al. 2023, grouped queries).
    bias: float, broadcastable to [B, num_heads, T, N]. It goes without a mask.
    On a CPU the plain products are 3 to 6 times faster, forward and backward in bf16, than the fused
    kernel at the lengths of captions and small photos (16 to 64); on a GPU the fused kernel wins.
    """
    if query.device.type != "cpu":
        added = mask if bias is None else bias.to(query.dtype)
        grouped = query.shape[1] != keys.shape[1]
        return F.scaled_dot_product_attention(
            query, keys, values, attn_mask=added, dropout_p=dropout, enable_gqa=grouped
        )
    scores = _grouped(query * query.shape[-1] ** -0.5, keys.transpose(-1, -2))
    if bias is not None:
        scores = scores + bias
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    return _grouped(F.dropout(scores.softmax(dim=-1), dropout, training=dropout > 0), values)


def _grouped(rows: Tensor, matrices: Tensor) -> Tensor:
    """float[B, num_heads, T, a] @ float[B, kv_heads, a, b], each matrix for so many heads in a row."""
    heads, groups = rows.shape[1], matrices.shape[1]
    if heads == groups:
        return rows @ matrices
    batch, _, length, width = rows.shape
    # The heads of a group side by side as rows of one product: no copy of keys or values is made.
    together = rows.reshape(batch, groups, heads // groups * length, width) @ matrices
    return together.reshape(batch, heads, length, matrices.shape[-1])


def head_width(embed_dim: int, num_heads: int) -> int:
    """head_dim where all heads together are as wide as the tokens. Raises ValueError where it is no whole
    number."""
    if embed_dim % num_heads:
        raise ValueError(f"embed_dim {embed_dim} is not a multiple of num_heads {num_heads}")
    return embed_dim // num_heads


class Projections(NamedTuple):
    """The four linear layers of an attention, from which it knows how many heads it has of what:
    ``query`` to num_heads * head_dim, ``key`` and ``value`` to kv_heads * head_dim, ``out`` back."""

    query: nn.Linear
    key: nn.Linear
    value: nn.Linear
    out: nn.Linear
    head_dim: int


def projections(
    embed_dim: int,
    num_heads: int,
    *,
    context_dim: int | None = None,
    head_dim: int | None = None,
    kv_heads: int | None = None,
    bias: bool = True,
    out_bias: bool | None = None,
) -> Projections:
    """New ones.

    Args:
        embed_dim: width of the queries and of the output.
        num_heads: divides ``embed_dim``, unless ``head_dim`` is given.
        context_dim: width of what keys and values come from (default ``embed_dim``).
        head_dim: width of a head (default ``embed_dim / num_heads``); all heads together may be narrower
            than ``embed_dim``, as they are once some were pruned, or wider.
        kv_heads: of keys and values (default ``num_heads``); divides ``num_heads``.
        bias: of queries, keys and values. out_bias: of the output (default the same).

    Raises ValueError where heads do not divide.
    """
    head_dim = head_width(embed_dim, num_heads) if head_dim is None else head_dim
    kv_heads = num_heads if kv_heads is None else kv_heads
    if num_heads % kv_heads:
        raise ValueError(f"num_heads {num_heads} is not a multiple of kv_heads {kv_heads}")
    context_dim = embed_dim if context_dim is None else context_dim
    return Projections(
        nn.Linear(embed_dim, num_heads * head_dim, bias=bias),
        nn.Linear(context_dim, kv_heads * head_dim, bias=bias),
        nn.Linear(context_dim, kv_heads * head_dim, bias=bias),
        nn.Linear(num_heads * head_dim, embed_dim, bias=bias if out_bias is None else out_bias),
        head_dim,
    )


class Attention(nn.Module):
    """softmax(Q K^T / sqrt(head_dim)) V over ``num_heads`` heads.

    Keys and values are made by :meth:`project` and handed to :meth:`forward`, so that what they come
    from (the same tokens, another modality, a cache) is the caller's choice and one code path serves
    all. That is also what lets a decoder project the image tokens once per photo.

    Args:
        layers: of :func:`projections`; fewer heads of keys and values are grouped queries.
        dropout: probability on the attention weights, in training only.
        positions: what turns queries and keys by their places (``parts.positions.Rotary``), None for
            attention that does not know places.
        query_norm, key_norm: over each head's width, before that (Qwen3).
    """

    def __init__(
        self,
        layers: Projections,
        *,
        dropout: float = 0.0,
        positions: nn.Module | None = None,
        query_norm: nn.Module | None = None,
        key_norm: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.head_dim = layers.head_dim
        self.num_heads = layers.query.out_features // layers.head_dim
        self.kv_heads = layers.key.out_features // layers.head_dim
        self.dropout = dropout
        self.query, self.key, self.value, self.out = layers[:4]
        self.positions = positions
        self.query_norm = query_norm
        self.key_norm = key_norm

    def _heads(self, x: Tensor, norm: nn.Module | None = None) -> Tensor:
        batch, length, _ = x.shape
        # [B, T, heads * head_dim] -> [B, T, heads, head_dim]
        heads = x.view(batch, length, -1, self.head_dim)
        if norm is not None:
            heads = norm(heads)
        return heads.transpose(1, 2)  # [B, heads, T, head_dim]

    def _placed(self, heads: Tensor, places: Tensor | None) -> Tensor:
        if self.positions is None:
            return heads
        if places is None:
            raise ValueError("this attention turns queries and keys by their places, and was given none")
        turned: Tensor = self.positions(heads, places)
        return turned

    def project(self, context: Tensor, places: Tensor | None = None) -> KeyValue:
        """Keys and values of ``context`` float[B, N, context_dim]: two float[B, kv_heads, N, head_dim].

        places: int64[B or 1, N], where the tokens stand, for an attention with ``positions``.
        """
        keys = self._placed(self._heads(self.key(context), self.key_norm), places)
        return keys, self._heads(self.value(context))

    def forward(
        self,
        x: Tensor,
        keys_values: KeyValue,
        mask: Tensor | None = None,
        bias: Tensor | None = None,
        places: Tensor | None = None,
    ) -> Tensor:
        """Attend from ``x`` float[B, T, D] to keys and values of length N.

        mask: bool, broadcastable to [B, num_heads, T, N], True = attend; None = everywhere. A query
        that may attend nowhere is the caller's mistake and gives NaN. bias: as in :func:`attend`.
        places: int64[B or 1, T], of ``x``, as in :meth:`project`. Returns float[B, T, D].
        """
        query = self._placed(self._heads(self.query(x), self.query_norm), places)
        keys, values = keys_values
        attended = attend(query, keys, values, mask, self.dropout if self.training else 0.0, bias)
        batch, _, length, _ = attended.shape
        merged = attended.transpose(1, 2).reshape(batch, length, self.num_heads * self.head_dim)
        out: Tensor = self.out(merged)
        return out
