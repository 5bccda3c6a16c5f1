"""Where a token stands: sine-cosine grids for images, learned tables for both modalities, rotations."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def sincos_grid(height: int, width: int, embed_dim: int) -> Tensor:
    """Two-dimensional sine-cosine positions, float32[height * width, embed_dim], row by row.

    Coordinates run over a fixed square whatever the grid, so that a model trained at one resolution
    reads another without interpolating anything. Source: Chen, Xie, He 2021 (MoCo v3), appendix;
    normalised coordinates as in Dosovitskiy's big_vision ``posemb_sincos_2d`` but scaled to 0..16.
    """
    if embed_dim % 4:
        raise ValueError(f"embed_dim {embed_dim} is not a multiple of 4")
    quarter = embed_dim // 4
    omega = 1.0 / 10_000 ** (torch.arange(quarter, dtype=torch.float64) / max(quarter - 1, 1))
    rows = (torch.arange(height, dtype=torch.float64) + 0.5) / height * 16
    columns = (torch.arange(width, dtype=torch.float64) + 0.5) / width * 16
    y = rows[:, None, None].expand(height, width, 1) * omega
    x = columns[None, :, None].expand(height, width, 1) * omega
    grid = torch.cat([x.sin(), x.cos(), y.sin(), y.cos()], dim=-1)
    return grid.reshape(height * width, embed_dim).float()


def resize_grid(table: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    """Interpolate a learned position table float[h * w, D] to another grid, bicubic.

    Source: Dosovitskiy et al. 2021, section 3.2. Returns float[H * W, D].
    """
    if table.shape[0] != math.prod(old):
        raise ValueError(f"a table of {table.shape[0]} rows is no {old[0]}x{old[1]} grid")
    if old == new:
        return table
    grid = table.reshape(1, old[0], old[1], -1).permute(0, 3, 1, 2)
    grid = F.interpolate(grid, size=new, mode="bicubic", align_corners=False)
    return grid.permute(0, 2, 3, 1).reshape(new[0] * new[1], -1)


class LearnedPositions(nn.Module):
    """A table of ``length`` vectors looked up by position: int64[B, T] -> float[B, T, D]."""

    def __init__(self, length: int, embed_dim: int) -> None:
        super().__init__()
        self.table = nn.Embedding(length, embed_dim)
        nn.init.normal_(self.table.weight, std=0.02)

    def forward(self, positions: Tensor) -> Tensor:
        vectors: Tensor = self.table(positions)
        return vectors


def rotary_frequencies(head_dim: int, base: float = 10_000.0) -> Tensor:
    """``base ** (-2 i / head_dim)``, float32[head_dim / 2] (Su et al. 2021, equation 15). Raises ValueError
    for an odd ``head_dim``."""
    if head_dim % 2:
        raise ValueError(f"head_dim {head_dim} is odd; pairs of numbers are turned")
    return base ** (-torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim)


class Rotary(nn.Module):
    """Queries and keys turned by where they stand, so that their product depends on how far apart they are.

    Source: Su et al. 2021, "RoFormer", section 3.2.2; number i is paired with number i + head_dim / 2, as in
    Llama and Qwen. No weights: one module serves all blocks of a stack.

    Args:
        frequencies: float32[head_dim / 2], how far a pair turns from one place to the next, in radians:
            :func:`rotary_frequencies`, or those scaled for longer texts.
    """

    frequencies: Tensor

    def __init__(self, frequencies: Tensor) -> None:
        super().__init__()
        self.register_buffer("frequencies", frequencies.float(), persistent=False)

    def forward(self, heads: Tensor, places: Tensor) -> Tensor:
        """heads: float[B, num_heads, T, head_dim]; places: int64[B or 1, T]. The same shape and type."""
        # In float32 whatever the model computes in: at place 4,000 half precision is whole turns wrong.
        angles = places[:, None, :, None].float() * self.frequencies  # [B or 1, 1, T, head_dim / 2]
        cosines, sines = angles.cos().to(heads.dtype), angles.sin().to(heads.dtype)
        first, second = heads.chunk(2, dim=-1)
        return torch.cat([first * cosines - second * sines, second * cosines + first * sines], dim=-1)


def grid_for_each(
    table: Tensor, old: tuple[int, int], rows: Tensor, columns: Tensor, new: tuple[int, int]
) -> Tensor:
    """Interpolate a learned position table to a grid of its own for each photo of a padded batch.

    Bilinear with aligned corners (Kim et al. 2021, ViLT, section 3.1, as its code does it). The weights are
    written out as hat functions: the sizes of the result do not depend on data, so that it can be exported.

    Args:
        table: float[h * w, D], of the grid ``old``.
        rows, columns: int64[B], how many of the patches are the photo's, from the top left.
        new: (H, W) of the batch in patches.

    Returns float[B, H * W, D]; beyond a photo's own patches stand positions of its edges.
    """
    if table.shape[0] != math.prod(old):
        raise ValueError(f"a table of {table.shape[0]} rows is no {old[0]}x{old[1]} grid")
    down = _hat_weights(rows, new[0], old[0])  # [B, H, h]
    across = _hat_weights(columns, new[1], old[1])  # [B, W, w]
    batch, width = down.shape[0], table.shape[1]
    placed = (down @ table.reshape(old[0], old[1] * width)).reshape(batch, new[0], old[1], width)
    return (across[:, None] @ placed).reshape(batch, new[0] * new[1], width)


def _hat_weights(count: Tensor, new: int, old: int) -> Tensor:
    """float[B, new, old]: what each of ``old`` places adds to each of ``new``, of which the first
    ``count`` int64[B] span all of them."""
    scale = (old - 1) / (count - 1).clamp(min=1).float()
    place = torch.arange(new, device=count.device)[None, :] * scale[:, None]
    source = torch.arange(old, device=count.device)
    return (1 - (place.clamp(max=old - 1)[:, :, None] - source).abs()).clamp(min=0)
