"""Stochastic depth per sample (Huang et al. 2016)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class DropPath(nn.Module):
    """In training, zero a whole sample's update with ``probability`` and scale up the others."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        if not 0 <= probability < 1:
            raise ValueError(f"drop path probability {probability} is outside 0..1")
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        """float[B, ...] -> the same shape; the expectation is ``x``."""
        if not self.training or self.probability == 0:
            return x
        kept = 1 - self.probability
        shape = (x.shape[0],) + (1,) * (x.ndim - 1)
        return x * torch.empty(shape, dtype=x.dtype, device=x.device).bernoulli_(kept).div_(kept)
