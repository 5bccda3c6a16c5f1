"""Rows of a batch: those of one language, a random share of them, and texts encoded by length.

What the training steps of all models do with a batch before any model or objective sees it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from seetell.modeling.parts.attention import KeyValue

_LENGTH_PARTS = 4
# In a part: fewer cost more to begin with than their padding does.
_LEAST_ROWS = 16


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


def without_words(ids: Tensor, attention_mask: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """The texts without a random share of their words; leads stay, and what is kept moves together.

    ids: int64[R, T]; attention_mask: bool[R, T], padded on the right. Returns the same shapes.
    """
    if not share:
        return ids, attention_mask
    kept = attention_mask & (torch.rand(ids.shape, device=ids.device) >= share)
    kept[:, 0] = attention_mask[:, 0]
    order = (~kept).long().argsort(dim=1, stable=True)
    return ids.gather(1, order), kept.gather(1, order)


def encode_by_length(
    encode: Callable[[Tensor, Tensor], Tensor], ids: Tensor, attention_mask: Tensor
) -> Tensor:
    """float[R, S] of all texts, encoded shortest first in a few parts, each trimmed to its own longest: the
    longest of hundreds is more than twice the mean, and padding costs what words do.

    encode: int64[r, t], bool[r, t] -> float[r, S]. ids: int64[R, T]; attention_mask: bool[R, T].
    """
    parts = by_length(attention_mask)
    found = [encode(ids[rows, :longest], attention_mask[rows, :longest]) for rows, longest in parts]
    return torch.cat(found)[torch.cat([rows for rows, _ in parts]).argsort()]


def by_length(attention_mask: Tensor) -> list[tuple[Tensor, int]]:
    """The rows of bool[R, T], padded on the right, in a few parts, shortest first: places int64[r] and how
    long the longest of them is. Few rows stay together."""
    lengths = attention_mask.sum(dim=1)
    order = lengths.argsort(stable=True)
    parts = min(_LENGTH_PARTS, -(-len(order) // _LEAST_ROWS))
    return [(rows, int(lengths[rows].max())) for rows in order.chunk(max(parts, 1))]
