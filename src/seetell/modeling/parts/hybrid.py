"""A ResNet stem followed by a transformer.

Convolutions learn from few photos what a plain ViT needs millions for; the transformer above them
relates distant cells. Source: Dosovitskiy et al. 2021 (hybrid); Xiao et al. 2021, "Early convolutions
help transformers see better".
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from seetell.modeling.parts.image import ImageTokens
from seetell.modeling.parts.positions import sincos_grid
from seetell.modeling.parts.resnet import ResNet
from seetell.modeling.parts.stack import StackShape, build_blocks
from seetell.modeling.parts.vit import VisionBlocks


class ResNetTransformer(nn.Module):
    """float[B, 3, H, W] -> ImageTokens. Stages: the ResNet's, then the transformer's map.

    Positions are fixed sine-cosine on a normalised square, so any size that is a multiple of the
    ResNet's stride works unchanged.

    Args:
        resnet: gives the maps; its last stage becomes the tokens.
        shape: of the transformer's blocks. merge_tokens: as in VisionBlocks.
    """

    def __init__(self, resnet: ResNet, shape: StackShape, *, merge_tokens: int = 0) -> None:
        super().__init__()
        self.resnet = resnet
        self.embed_dim = shape.embed_dim
        self.project = nn.Linear(resnet.embed_dim, shape.embed_dim)
        self.transformer = VisionBlocks(build_blocks(shape), merge_tokens=merge_tokens)
        self.norm = nn.LayerNorm(shape.embed_dim)

    def forward(self, pixel_values: Tensor) -> ImageTokens:
        """pixel_values: float[B, 3, H, W], H and W multiples of the ResNet's stride."""
        maps = self.resnet.forward_stages(pixel_values)
        height, width = maps[-1].shape[2:]
        x = self.project(maps[-1].flatten(2).transpose(1, 2))  # [B, N, D]
        x = x + sincos_grid(height, width, self.embed_dim).to(x)
        x, kept, sizes = self.transformer.merging(x, keep=(len(self.transformer.blocks) - 1,))
        spread = kept[-1] if kept else x  # [B, H * W, D], merged tokens in all their places
        last = spread.transpose(1, 2).reshape(x.shape[0], self.embed_dim, height, width)
        mask = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
        return ImageTokens(self.norm(x), mask, (*maps, last), sizes)
