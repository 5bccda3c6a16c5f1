"""A convolutional network's last map as tokens that know their place, and as features that know it too.

Photos keep their shape: a photo lies at the top left of its square, and places are told as shares of the
photo, not of the square. Pooling over quarters beside the whole is the first level of a spatial pyramid
(Lazebnik et al. 2006).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from seetell.modeling.parts.efficientnet import EfficientNetLite
from seetell.modeling.parts.image import ImageTokens
from seetell.modeling.parts.masks import padding_mask
from seetell.modeling.parts.stack import StackShape, build_blocks
from seetell.modeling.parts.vit import VisionBlocks

_QUARTERS = 4


class PlacedEfficientNet(nn.Module):
    """float[B, 3, H, W], bool[B, H, W] -> ImageTokens; ``pooled`` is float[B, 5 * 1280], the mean of the
    head's map over the photo and over its quarters, each feature brought to mean 0 and variance 1.

    Args:
        net: gives the maps.
        shape: of transformer layers over the tokens; of a depth of 0 for none.
    """

    def __init__(self, net: EfficientNetLite, shape: StackShape) -> None:
        super().__init__()
        embed_dim = shape.embed_dim
        self.net = net
        self.embed_dim = embed_dim
        self.pooled_dim = net.embed_dim * (1 + _QUARTERS)
        # Features of a network that learned to tell labels apart differ in scale by orders.
        self.pooled_norm = nn.BatchNorm1d(self.pooled_dim, affine=False)
        self.project = nn.Linear(net.embed_dim, embed_dim)
        # Where a token lies: its share of the photo's height and width, and their products.
        self.place = nn.Linear(_PLACES, embed_dim, bias=False)
        # About as large as what a token says of its cell: at a fifth of that, sides stayed at chance.
        nn.init.normal_(self.place.weight, std=0.6)
        self.transformer = VisionBlocks(build_blocks(shape)) if shape.depth else None
        self.norm = nn.LayerNorm(embed_dim)

    def cells(self, pixel_mask: Tensor) -> Tensor:
        """bool[B, H, W], True on the photo -> bool[B, h, w]: the cells that begin on the photo."""
        stride = self.net.stride
        return pixel_mask[:, ::stride, ::stride]

    def above(self, maps: tuple[Tensor, ...], mask: Tensor) -> ImageTokens:
        """What follows from the maps. The last one alone is read; mask: bool[B, h, w] over its cells."""
        head = self.net.head(maps[-1]).flatten(2).transpose(1, 2)  # [B, N, 1280]
        places = cell_places(mask)
        pooled = (_weights(places, mask) @ head).flatten(1)
        known = mask.flatten(1)
        x = self.project(head) + self.place(_waves(places))
        if self.transformer is not None:
            x, _ = self.transformer(x, padding_mask(known))
        return ImageTokens(self.norm(x), known, maps, pooled=self.pooled_norm(pooled))

    def forward(self, pixel_values: Tensor, pixel_mask: Tensor | None = None) -> ImageTokens:
        """pixel_mask: None where the photo fills the square."""
        maps = self.net.forward_stages(pixel_values)
        if pixel_mask is None:
            shape = (pixel_values.shape[0], *maps[-1].shape[2:])
            return self.above(maps, torch.ones(shape, dtype=torch.bool, device=pixel_values.device))
        return self.above(maps, self.cells(pixel_mask))


class PooledProjection(nn.Module):
    """float[B, 5 * D] -> float[B, S]: what :class:`PlacedEfficientNet` pools, for search.

    Quarters are told apart by place and read by one matrix, so that what is learned of one holds of all: few
    photos say what is seen at the top left. With D 1280, S 256 and ``quarter_dim`` 128 it has 0.6 million
    parameters where one matrix over all five has 1.6.
    """

    def __init__(self, pooled_dim: int, shared_dim: int, quarter_dim: int) -> None:
        super().__init__()
        each = pooled_dim // (1 + _QUARTERS)
        self.whole = nn.Linear(each, shared_dim, bias=False)
        self.quarter = nn.Linear(each, quarter_dim, bias=False)
        self.quarters = nn.Linear(_QUARTERS * quarter_dim, shared_dim, bias=False)

    def forward(self, pooled: Tensor) -> Tensor:
        whole, *quarters = pooled.chunk(1 + _QUARTERS, dim=1)
        read = torch.cat([self.quarter(one) for one in quarters], dim=1)
        projected: Tensor = self.whole(whole) + self.quarters(read)
        return projected


def cell_places(mask: Tensor) -> Tensor:
    """Where the middle of each cell lies in its photo, in 0..1 down and across: float[B, h, w, 2]. mask:
    bool[B, h, w], True on the photo, which begins at the first cell."""
    on = mask.float()
    tall = on[:, :, 0].sum(dim=1)[:, None, None].clamp(min=1)
    wide = on[:, 0, :].sum(dim=1)[:, None, None].clamp(min=1)
    down = (on.cumsum(dim=1) - 0.5) / tall
    across = (on.cumsum(dim=2) - 0.5) / wide
    return torch.stack([down, across], dim=-1)


# Sines and cosines of one, two and four half turns along each side, and their products of the first.
_TURNS = (1, 2, 4)
_PLACES = 4 * len(_TURNS) + 4


def _waves(places: Tensor) -> Tensor:
    """float[B, h, w, 2] -> float[B, h * w, _PLACES]."""
    flat = places.flatten(1, 2)
    angles = torch.cat([flat * (torch.pi * turns) for turns in _TURNS], dim=-1)
    sines, cosines = angles.sin(), angles.cos()
    first = torch.stack([sines[..., 0], cosines[..., 0]], dim=-1)[..., :, None]
    second = torch.stack([sines[..., 1], cosines[..., 1]], dim=-1)[..., None, :]
    return torch.cat([sines, cosines, (first * second).flatten(-2)], dim=-1)


def _weights(places: Tensor, mask: Tensor) -> Tensor:
    """Of each cell in the mean over the whole and over the quarters: float[B, 5, h * w], rows of sum 1.

    A cell that the middle of the photo runs through counts half on either side.
    """
    on = mask.float().flatten(1)
    tall = mask[:, :, 0].float().sum(dim=1)[:, None]
    wide = mask[:, 0, :].float().sum(dim=1)[:, None]
    down, across = places.flatten(1, 2).unbind(dim=-1)
    upper = ((0.5 - down) * tall + 0.5).clamp(0, 1)
    left = ((0.5 - across) * wide + 0.5).clamp(0, 1)
    each = torch.stack(
        [
            torch.ones_like(upper),
            upper * left,
            upper * (1 - left),
            (1 - upper) * left,
            (1 - upper) * (1 - left),
        ],
        dim=1,
    )
    each = each * on[:, None, :]
    return each / each.sum(dim=-1, keepdim=True).clamp(min=1e-6)
