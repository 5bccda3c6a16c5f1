"""Attention masks. True = attend, everywhere in seetell."""

from __future__ import annotations

import torch
from torch import Tensor


def padding_mask(attention_mask: Tensor) -> Tensor:
    """bool[B, N] -> bool[B, 1, 1, N], to broadcast over heads and queries."""
    return attention_mask[:, None, None, :]


def causal_mask(attention_mask: Tensor, query_length: int) -> Tensor:
    """Each of the last ``query_length`` positions sees itself and what stands before it.

    attention_mask: bool[B, P + T], past and new. Returns bool[B, 1, T, P + T].

    A padded query sees itself too: a row that may attend nowhere would turn into NaN and spread
    through the batch's gradients.
    """
    total = attention_mask.shape[1]
    position = torch.arange(total, device=attention_mask.device)
    query = position[total - query_length :, None]
    visible = (position[None, :] <= query)[None, None] & attention_mask[:, None, None, :]
    itself = (position[None, :] == query)[None, None]
    return visible | itself


def positions_from_mask(attention_mask: Tensor, query_length: int) -> Tensor:
    """Positions of the last ``query_length`` tokens, counting attended tokens only.

    attention_mask: bool[B, P + T]. Returns int64[B, T]; padding on the left thus changes nothing.
    """
    counted = attention_mask.long().cumsum(dim=1) - 1
    return counted[:, attention_mask.shape[1] - query_length :].clamp(min=0)


def positions_in_row(attention_mask: Tensor, query_length: int) -> Tensor:
    """Places of the last ``query_length`` tokens in their row, padding counted like the rest.

    attention_mask: bool[B, P + T]. Returns int64[1, T].
    """
    total = attention_mask.shape[1]
    return torch.arange(total - query_length, total, device=attention_mask.device)[None, :]
