"""EfficientNet-Lite (Tan and Le 2019; the "lite" variants of tensorflow/tpu, 2020), giving its stages.

Inverted residuals without squeeze-and-excitation, and ReLU6 for swish, so that every operation is fast in
eight bits. Stem and head are not scaled with the width, nor the first and last group of blocks with the
depth.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import takewhile

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seetell.modeling.parts.image import ImageTokens

STEM_CHANNELS, HEAD_CHANNELS = 32, 1280
# Of the maps at strides 4, 8, 16 and 32, the coarsest.
LAST_STAGE = 3
# TensorFlow's batch norm, as the reference was trained with it.
_NORM_EPS, _NORM_MOMENTUM = 1e-3, 0.01
_DIVISOR = 8


@dataclass(frozen=True, slots=True)
class _Group:
    """Blocks of one kind. stride is the first block's; the others keep the size."""

    repeats: int
    kernel_size: int
    stride: int
    expansion: int
    channels: int


# EfficientNet-B0's (Tan and Le 2019, table 1).
_GROUPS = (
    _Group(1, 3, 1, 1, 16),
    _Group(2, 3, 2, 6, 24),
    _Group(2, 5, 2, 6, 40),
    _Group(3, 3, 2, 6, 80),
    _Group(3, 5, 1, 6, 112),
    _Group(4, 5, 2, 6, 192),
    _Group(1, 3, 1, 6, 320),
)


def scaled_channels(channels: int, width: float) -> int:
    """Rounded to a multiple of 8, and never by more than a tenth below."""
    scaled = channels * width
    rounded = max(_DIVISOR, int(scaled + _DIVISOR / 2) // _DIVISOR * _DIVISOR)
    return rounded + _DIVISOR if rounded < 0.9 * scaled else rounded


class SamePadConv(nn.Conv2d):
    """A convolution without bias whose output has ceil(size / stride) cells, padded as TensorFlow pads: where
    an odd number of cells is missing, the extra one lies at the bottom and the right."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, groups=groups, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        """float[B, in_channels, H, W] -> float[B, out_channels, ceil(H / stride), ceil(W / stride)]."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        missing = [
            max(0, (math.ceil(size / stride) - 1) * stride + kernel - size) for size in input.shape[2:]
        ]
        rows, columns = missing
        if rows % 2 == 0 and columns % 2 == 0:
            padding = (rows // 2, columns // 2)
            return F.conv2d(input, self.weight, None, self.stride, padding, self.dilation, self.groups)
        sides = (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)
        return super().forward(F.pad(input, sides))


class ConvNormReLU6(nn.Sequential):
    """Convolution and batch norm, with ReLU6 unless ``activate`` is false."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        groups: int = 1,
        *,
        activate: bool = True,
    ) -> None:
        layers: list[nn.Module] = [
            SamePadConv(in_channels, out_channels, kernel_size, stride, groups),
            nn.BatchNorm2d(out_channels, eps=_NORM_EPS, momentum=_NORM_MOMENTUM),
        ]
        if activate:
            layers.append(nn.ReLU6(inplace=True))
        super().__init__(*layers)


class InvertedResidual(nn.Module):
    """Widen, convolve each channel by itself, narrow (Sandler et al. 2018); added to its input where the
    shape stays."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, stride: int, expansion: int
    ) -> None:
        super().__init__()
        hidden = in_channels * expansion
        self.expand = ConvNormReLU6(in_channels, hidden, 1) if expansion != 1 else None
        self.depthwise = ConvNormReLU6(hidden, hidden, kernel_size, stride, groups=hidden)
        self.project = ConvNormReLU6(hidden, out_channels, 1, activate=False)
        self.adds = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """float[B, in_channels, H, W] -> float[B, out_channels, ceil(H / stride), ceil(W / stride)]."""
        out: Tensor = self.project(self.depthwise(x if self.expand is None else self.expand(x)))
        return out + x if self.adds else out


def _stages(depth: float) -> list[list[_Group]]:
    """The groups of blocks between the maps at strides 4, 8, 16 and 32, deepened."""
    ends = (_GROUPS[0], _GROUPS[-1])
    deep = [
        group if group in ends else replace(group, repeats=math.ceil(group.repeats * depth))
        for group in _GROUPS
    ]
    stages = [deep[:1]]
    for place, group in enumerate(deep[1:]):
        # The stem halves too, and the first map that is given is a quarter.
        if group.stride == 2 and place > 0:
            stages.append([])
        stages[-1].append(group)
    return stages


def stage_depths(depth: float) -> tuple[int, ...]:
    """How many blocks lie below each of the four maps that are given, and above the one before."""
    return tuple(sum(group.repeats for group in groups) for groups in _stages(depth))


def frozen_stage(net: EfficientNetLite) -> int | None:
    """The last of the four maps below which nothing learns; None where something learns below the first."""
    frozen = takewhile(
        lambda layer: not any(parameter.requires_grad for parameter in layer.parameters()),
        (net.stem, *net.stages),
    )
    count = sum(1 for _ in frozen)
    return count - 2 if count > 1 else None


class EfficientNetLite(nn.Module):
    """float[B, 3, H, W] -> ImageTokens: the cells of the head's map, and the maps at strides 4, 8, 16 and 32.

    Args:
        width, depth: how much wider and deeper than lite0: lite1 is (1.0, 1.1), lite2 (1.1, 1.2), lite3
            (1.2, 1.4), lite4 (1.4, 1.8).
    """

    # Pixels a cell is wide, of each of the maps that are given; and of the last.
    strides = (4, 8, 16, 32)
    stride = strides[-1]

    def __init__(self, width: float = 1.0, depth: float = 1.0) -> None:
        super().__init__()
        self.embed_dim = HEAD_CHANNELS
        self.stem = ConvNormReLU6(3, STEM_CHANNELS, 3, 2)
        stages: list[nn.Module] = []
        channels = STEM_CHANNELS
        widths: list[int] = []
        for groups in _stages(depth):
            blocks: list[nn.Module] = []
            for group in groups:
                wide = scaled_channels(group.channels, width)
                for repeat in range(group.repeats):
                    stride = 1 if repeat else group.stride
                    blocks.append(
                        InvertedResidual(channels, wide, group.kernel_size, stride, group.expansion)
                    )
                    channels = wide
            stages.append(nn.Sequential(*blocks))
            widths.append(channels)
        # Of the maps that are given.
        self.channels = tuple(widths)
        self.stages = nn.ModuleList(stages)
        self.head = ConvNormReLU6(channels, HEAD_CHANNELS, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward_stages(self, pixel_values: Tensor) -> tuple[Tensor, ...]:
        """The maps at strides 4, 8, 16 and 32 alone: float[B, C_i, H_i, W_i] each, coarse last."""
        return self.forward_above(self.stem(pixel_values), -1)

    def forward_above(self, below: Tensor, stage: int) -> tuple[Tensor, ...]:
        """The maps above that of ``stage`` 0 to 3, worked out from it; above the stem where it is -1."""
        maps: list[Tensor] = []
        for blocks in self.stages[stage + 1 :]:
            below = blocks(below)
            maps.append(below)
        return tuple(maps)

    def forward(self, pixel_values: Tensor) -> ImageTokens:
        """Tokens float[B, ceil(H / 32) * ceil(W / 32), 1280]."""
        maps = self.forward_stages(pixel_values)
        tokens = self.head(maps[-1]).flatten(2).transpose(1, 2)
        mask = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        return ImageTokens(tokens, mask, maps)
