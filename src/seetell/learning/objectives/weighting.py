"""One loss from several: fixed weights, or weights learned from each task's uncertainty."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class FixedWeights(nn.Module):
    """sum of weight * loss."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        super().__init__()
        self.weights = dict(weights)

    def forward(self, losses: Mapping[str, Tensor]) -> Tensor:
        """losses: name -> scalar. A loss missing from this batch is left out."""
        return torch.stack([self.weights[name] * loss for name, loss in losses.items()]).sum()


class LearnedWeights(nn.Module):
    """sum of weight * (exp(-s) * loss + s / 2), s = log variance, one learned per task.

    Source: Kendall, Gal, Cipolla 2018, equation 10, in the classification form (factor 1 on the loss).
    ``weights`` scale the whole term of a task and stay fixed.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        super().__init__()
        self.weights = dict(weights)
        self.log_variance = nn.ParameterDict({name: nn.Parameter(torch.zeros(())) for name in weights})

    def forward(self, losses: Mapping[str, Tensor]) -> Tensor:
        """losses: name -> scalar. A loss missing from this batch is left out."""
        terms = [
            self.weights[name] * ((-self.log_variance[name]).exp() * loss + self.log_variance[name] / 2)
            for name, loss in losses.items()
        ]
        return torch.stack(terms).sum()
