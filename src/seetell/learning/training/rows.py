"""Rows of a batch: those of one language, a random share of them, and texts encoded by length.

What the training steps of all models do with a batch before any model or objective sees it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from seetell.modeling.parts.attention import KeyValue

_LENGTH_PARTS = 4


def rows_by_language(languages: Sequence[str], device: torch.device) -> dict[str, Tensor]:
    """Language -> the places of its rows, int64[n]; languages in order of their codes."""
    return {
        code: torch.tensor([row for row, one in enumerate(languages) if one == code], device=device)
        for code in sorted(set(languages))
    }


def some_rows(rows: Tensor, share: float) -> Tensor:
    """Which of ``rows`` to use: places of a random share of them, at least one, in increasing order."""
    count = rows.shape[0]
    if share >= 1:
        return torch.arange(count, device=rows.device)
    kept = max(1, round(count * share))
    return torch.randperm(count, device=rows.device)[:kept].sort().values


def take(memory: Sequence[KeyValue], rows: Tensor) -> list[KeyValue]:
    """Rows of each block's keys and values."""
    return [(keys[rows], values[rows]) for keys, values in memory]


def encode_by_length(
    encode: Callable[[Tensor, Tensor], Tensor], ids: Tensor, attention_mask: Tensor
) -> Tensor:
    """float[R, S] of all texts, encoded shortest first in a few parts, each trimmed to its own longest: the
    longest of hundreds is more than twice the mean, and padding costs what words do.

    encode: int64[r, t], bool[r, t] -> float[r, S]. ids: int64[R, T]; attention_mask: bool[R, T].
    """
    lengths = attention_mask.sum(dim=1)
    order = lengths.argsort(stable=True)
    parts: list[Tensor] = []
    for rows in order.chunk(_LENGTH_PARTS):
        longest = int(lengths[rows].max())
        parts.append(encode(ids[rows, :longest], attention_mask[rows, :longest]))
    return torch.cat(parts)[order.argsort()]
