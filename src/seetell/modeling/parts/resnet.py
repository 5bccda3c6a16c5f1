"""ResNet (He et al. 2015), basic and bottleneck blocks, giving its stages."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from seetell.modeling.parts.image import ImageTokens
from seetell.modeling.parts.mlp import activation_module


class ConvNorm(nn.Sequential):
    """Convolution and batch norm, with an activation unless ``activate`` is false."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        *,
        activate: bool = True,
        activation: str = "relu",
    ) -> None:
        layers: list[nn.Module] = [
            nn.Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2, bias=False),
            nn.BatchNorm2d(out_channels),
        ]
        if activate:
            layers.append(nn.ReLU(inplace=True) if activation == "relu" else activation_module(activation))
        super().__init__(*layers)


class ResidualBlock(nn.Module):
    """Basic (two 3x3) or, where ``bottleneck`` > 1, bottleneck (1x1, 3x3, 1x1) residual block.

    The stride of a bottleneck sits in the 3x3 convolution (the "v1.5" of torchvision and of most public
    checkpoints), or in the first 1x1 with ``stride_first`` (He et al. 2015).
    ``activation`` follows the sum; between the convolutions it is always ReLU, which is what transformers
    runs whatever a configuration says.
    ``inner``: channels between the convolutions, one number of a basic block and two of a bottleneck, where
    they are not as many as the block's own or those over ``bottleneck``, as in a pruned model.
    The last batch norm starts at zero, so that each block starts as the identity (Goyal et al. 2017).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        bottleneck: int = 1,
        *,
        inner: Sequence[int] | None = None,
        activation: str = "relu",
        stride_first: bool = False,
    ) -> None:
        super().__init__()
        if inner is None:
            inner = (out_channels // bottleneck,) * (2 if bottleneck > 1 else 1)
        if bottleneck > 1:
            narrow, wide = inner
            last = ConvNorm(wide, out_channels, 1, activate=False)
            strides = (stride, 1) if stride_first else (1, stride)
            self.convs = nn.Sequential(
                ConvNorm(in_channels, narrow, 1, strides[0]), ConvNorm(narrow, wide, 3, strides[1]), last
            )
        else:
            (between,) = inner
            last = ConvNorm(between, out_channels, 3, activate=False)
            self.convs = nn.Sequential(ConvNorm(in_channels, between, 3, stride), last)
        self.activation = activation_module(activation)
        changes = stride != 1 or in_channels != out_channels
        self.shortcut = ConvNorm(in_channels, out_channels, 1, stride, activate=False) if changes else None
        last_norm = last[1]
        assert isinstance(last_norm, nn.BatchNorm2d)
        nn.init.zeros_(last_norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        """float[B, in_channels, H, W] -> float[B, out_channels, H / stride, W / stride]."""
        kept = x if self.shortcut is None else self.shortcut(x)
        out: Tensor = self.activation(self.convs(x) + kept)
        return out


class ResNet(nn.Module):
    """float[B, 3, H, W] -> ImageTokens whose stages are the outputs of the residual stages.

    Args:
        depths: residual blocks per stage.
        channels: output channels per stage.
        bottleneck: reduction inside a block; 1 = basic blocks (ResNet-18/34), 4 = ResNet-50 and up.
        stem: ``imagenet`` (7x7 stride 2, max pool; stride 4) or ``light`` (two 3x3 stride 2; stride 4),
            which keeps more of a small photo.
        stem_channels: channels after the stem.
        activation: after the ``imagenet`` stem and each sum, a name from ``activation_module``.
        first_stride: of the first residual stage, so that ``stride`` is that many times larger.
        stride_first: as in ResidualBlock.
        inner_channels: ``inner`` of each ResidualBlock, stage by stage, where they are not as usual.
    """

    def __init__(
        self,
        depths: Sequence[int] = (3, 4, 6, 3),
        channels: Sequence[int] = (256, 512, 1024, 2048),
        bottleneck: int = 4,
        *,
        stem: str = "imagenet",
        stem_channels: int = 64,
        activation: str = "relu",
        first_stride: int = 1,
        stride_first: bool = False,
        inner_channels: Sequence[Sequence[Sequence[int]]] | None = None,
    ) -> None:
        super().__init__()
        if len(depths) != len(channels):
            raise ValueError(f"{len(depths)} depths for {len(channels)} stages of channels")
        if stem == "imagenet":
            self.stem = nn.Sequential(
                ConvNorm(3, stem_channels, 7, 2, activation=activation), nn.MaxPool2d(3, 2, 1)
            )
        elif stem == "light":
            self.stem = nn.Sequential(
                ConvNorm(3, stem_channels // 2, 3, 2), ConvNorm(stem_channels // 2, stem_channels, 3, 2)
            )
        else:
            raise ValueError(f"unknown stem {stem!r}; imagenet or light")
        self.embed_dim = channels[-1]
        self.stride = 4 * first_stride * 2 ** (len(depths) - 1)
        stages: list[nn.Module] = []
        previous = stem_channels
        for index, (depth, width) in enumerate(zip(depths, channels, strict=True)):
            inner = [None] * depth if inner_channels is None else inner_channels[index]
            blocks = [
                ResidualBlock(
                    width if place else previous,
                    width,
                    1 if place else (first_stride if index == 0 else 2),
                    bottleneck,
                    inner=inner[place],
                    activation=activation,
                    stride_first=stride_first and place == 0,
                )
                for place in range(depth)
            ]
            stages.append(nn.Sequential(*blocks))
            previous = width
        self.stages = nn.ModuleList(stages)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward_stages(self, pixel_values: Tensor) -> tuple[Tensor, ...]:
        """The stage maps alone: float[B, C_i, H_i, W_i] each, coarse last."""
        x = self.stem(pixel_values)
        maps: list[Tensor] = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return tuple(maps)

    def forward(self, pixel_values: Tensor) -> ImageTokens:
        """Tokens are the cells of the last stage: float[B, H/32 * W/32, channels[-1]] for four stages.

        A side that is no multiple of ``stride`` is rounded up, as the padded convolutions do.
        """
        maps = self.forward_stages(pixel_values)
        tokens = maps[-1].flatten(2).transpose(1, 2)
        mask = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        return ImageTokens(tokens, mask, maps)
