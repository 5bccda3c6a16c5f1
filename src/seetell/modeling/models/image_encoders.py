"""Image encoders from their configurations."""

from __future__ import annotations

from torch import nn

from seetell.modeling.models.config import (
    EfficientNetConfig,
    HybridConfig,
    ImageConfig,
    ResNetConfig,
    ViTConfig,
)
from seetell.modeling.parts.efficientnet import EfficientNetLite
from seetell.modeling.parts.hybrid import ResNetTransformer
from seetell.modeling.parts.placed import PlacedEfficientNet
from seetell.modeling.parts.resnet import ResNet
from seetell.modeling.parts.stack import StackShape, mlp_width
from seetell.modeling.parts.vit import ViT


def _resnet(config: ResNetConfig | HybridConfig) -> ResNet:
    return ResNet(
        config.depths,
        config.channels,
        config.bottleneck,
        stem=config.stem,
        stem_channels=config.stem_channels,
        inner_channels=config.inner_channels,
    )


def _stack(config: ViTConfig | HybridConfig, norm_eps: float) -> StackShape:
    return StackShape(
        config.embed_dim,
        config.depth,
        config.num_heads,
        mlp_width(config.embed_dim, config.mlp_ratio),
        widths=config.widths,
        drop_path=config.drop_path,
        norm_eps=norm_eps,
    )


def build_image_encoder(config: ImageConfig, image_size: tuple[int, int]) -> tuple[nn.Module, int]:
    """The encoder (float[B, 3, H, W] -> ImageTokens) and the width of its tokens."""
    if isinstance(config, ViTConfig):
        vit = ViT(
            image_size,
            config.patch_size,
            _stack(config, norm_eps=1e-6),
            merge_tokens=config.merge_tokens,
            class_token=config.class_token,
        )
        return vit, config.embed_dim
    if isinstance(config, ResNetConfig):
        resnet = _resnet(config)
        return resnet, resnet.embed_dim
    if isinstance(config, EfficientNetConfig):
        width = config.embed_dim
        shape = StackShape(
            width,
            config.layers,
            config.num_heads,
            mlp_width(width, config.mlp_ratio),
            drop_path=config.drop_path,
        )
        return PlacedEfficientNet(EfficientNetLite(config.width, config.depth), shape), width
    hybrid = ResNetTransformer(
        _resnet(config), _stack(config, norm_eps=1e-5), merge_tokens=config.merge_tokens
    )
    return hybrid, config.embed_dim
