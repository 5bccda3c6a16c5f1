"""Token merging: tokens that are much alike become one, and the blocks after have fewer to read.

Source: Bolya et al. 2023, "Token merging: your ViT but faster". Half of the tokens each propose the most
similar one of the other half, by the cosine of their keys; the best ``count`` proposals are accepted. A
merged token is the mean of all that went into it, and it is attended to as that many (proportional attention,
section 3), so that merging tokens that are equal changes nothing. How many merge is fixed, and only which
ones depends on the photo: shapes are static.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def most_merged(tokens: int, lead: int) -> int:
    """How many of so many tokens can merge at once, where the first ``lead`` never do."""
    return max(0, (tokens + 1) // 2 - lead) if tokens > 1 else 0


def assignment(keys: Tensor, count: int, lead: int = 0) -> Tensor:
    """Which tokens become which: float[B, N - count, N], a one in every column; rows are the new tokens.

    keys: float[B, N, C], by which tokens are alike. lead: 1 where the first token (a class token) never
    merges into another, 0 where it is like the others. Raises ValueError for more than can merge.
    """
    length = keys.shape[1]
    if not 0 <= count <= most_merged(length, lead):
        raise ValueError(f"{count} of {length} tokens cannot merge at once")
    keys = F.normalize(keys.detach(), dim=-1)
    proposing, receiving = keys[:, 0::2], keys[:, 1::2]
    alike = proposing @ receiving.transpose(1, 2)  # [B, ceil(N / 2), floor(N / 2)]
    if lead:
        never = torch.zeros(proposing.shape[1], 1, dtype=torch.bool, device=keys.device)
        never[:lead] = True
        alike = alike.masked_fill(never, -2.0)  # below every cosine
    best, partner = alike.max(dim=-1)
    # [B, ceil(N / 2)], the best proposal first.
    order = best.argsort(dim=-1, descending=True)
    accepted, kept = order[:, :count], order[:, count:].sort(dim=-1).values
    places = torch.arange(length, device=keys.device)
    stay = (2 * kept)[..., None] == places  # [B, ceil(N / 2) - count, N]
    numbers = torch.arange(receiving.shape[1], device=keys.device)
    own = (2 * numbers + 1)[:, None] == places  # [floor(N / 2), N]
    into = partner.gather(1, accepted)[:, None, :] == numbers[:, None]  # [B, floor(N / 2), count]
    moved = (2 * accepted)[..., None] == places  # [B, count, N]
    received = own.to(keys.dtype) + into.to(keys.dtype) @ moved.to(keys.dtype)
    return torch.cat([stay.to(keys.dtype), received], dim=1)


def merge(x: Tensor, sizes: Tensor, into: Tensor) -> tuple[Tensor, Tensor]:
    """Tokens by :func:`assignment`, and how many there are in each.

    x: float[B, N, D]. sizes: float[B, N], of how many each is the mean. into: float[B, M, N].
    Returns float[B, M, D] and float[B, M].
    """
    together = into @ sizes[..., None]  # [B, M, 1]
    merged: Tensor = into @ (x * sizes[..., None]) / together
    return merged, together[..., 0]
