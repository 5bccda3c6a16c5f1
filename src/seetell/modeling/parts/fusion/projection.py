"""Projection alignment: both modalities in one space, compared with a learned temperature.

The dual encoder's way (Radford et al. 2021, section 2.3), made a fusion: each text token reads the
image tokens by plain similarity in the shared space, sharpened by the learned temperature (as in
SCAN, Lee et al. 2018, equation 8), with no attention heads and no layers.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# As sharp as CLIP lets its own temperature get (Radford et al. 2021, section 2.5).
_MAX_SCALE = 100.0


class ProjectionFusion(nn.Module):
    """Arguments: widths of the text and image tokens, and of the shared space (default embed_dim).

    ``logit_scale`` is the log of 1 / temperature.
    """

    def __init__(
        self, embed_dim: int, *, context_dim: int | None = None, shared_dim: int | None = None
    ) -> None:
        super().__init__()
        shared_dim = embed_dim if shared_dim is None else shared_dim
        self.text_projection = nn.Linear(embed_dim, shared_dim, bias=False)
        self.image_projection = nn.Linear(
            embed_dim if context_dim is None else context_dim, shared_dim, bias=False
        )
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self.out = nn.Linear(2 * shared_dim, embed_dim)
        self.norm = nn.LayerNorm(embed_dim)

    def align(self, text_tokens: Tensor, image_tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Both in the shared space, unit length: float[B, T, S] and float[B, N, S]."""
        text = F.normalize(self.text_projection(text_tokens), dim=-1)
        image = F.normalize(self.image_projection(image_tokens), dim=-1)
        return text, image

    def similarity(self, text_tokens: Tensor, image_tokens: Tensor) -> Tensor:
        """Cosine of each text token with each image token: float[B, T, N]."""
        text, image = self.align(text_tokens, image_tokens)
        return text @ image.transpose(1, 2)

    def forward(
        self, text_tokens: Tensor, text_mask: Tensor, image_tokens: Tensor, image_mask: Tensor
    ) -> Tensor:
        """See the package: fused tokens float[B, T, D]. Text tokens do not see each other here."""
        text, image = self.align(text_tokens, image_tokens)
        scores = text @ image.transpose(1, 2) * self.logit_scale.exp().clamp(max=_MAX_SCALE)
        seen = scores.masked_fill(~image_mask[:, None, :], float("-inf")).softmax(dim=-1) @ image
        fused: Tensor = self.norm(text_tokens + self.out(torch.cat([text, seen], dim=-1)))
        return fused
