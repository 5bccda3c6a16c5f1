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


def build_image_encoder(config: ImageConfig, image_size: tuple[int, int]) -> tuple[nn.Module, int]:
    """The encoder (float[B, 3, H, W] -> ImageTokens) and the width of its tokens."""
    if isinstance(config, ViTConfig):
        vit = ViT(
            image_size,
            config.patch_size,
            config.embed_dim,
            config.depth,
            config.num_heads,
            config.mlp_ratio,
            widths=config.widths,
            merge_tokens=config.merge_tokens,
            class_token=config.class_token,
            drop_path=config.drop_path,
        )
        return vit, config.embed_dim
    if isinstance(config, ResNetConfig):
        resnet = _resnet(config)
        return resnet, resnet.embed_dim
    if isinstance(config, EfficientNetConfig):
        placed = PlacedEfficientNet(
            EfficientNetLite(config.width, config.depth),
            config.embed_dim,
            config.layers,
            config.num_heads,
            config.mlp_ratio,
            drop_path=config.drop_path,
        )
        return placed, config.embed_dim
    hybrid = ResNetTransformer(
        _resnet(config),
        config.embed_dim,
        config.depth,
        config.num_heads,
        config.mlp_ratio,
        widths=config.widths,
        merge_tokens=config.merge_tokens,
        drop_path=config.drop_path,
    )
    return hybrid, config.embed_dim
