"""What every image encoder gives, whatever it is made of."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class ImageTokens:
    """tokens: float[B, N, D]. mask: bool[B, N], True = a real patch.
    stages: hierarchical maps float[B, C_i, H_i, W_i], coarse last.
    sizes: float[B, N], of how many patches each token is the mean; None where of one.
    pooled: float[B, P], the whole photo in one row, where the encoder says more than its tokens' mean."""

    tokens: Tensor
    mask: Tensor
    stages: tuple[Tensor, ...]
    sizes: Tensor | None = None
    pooled: Tensor | None = None
