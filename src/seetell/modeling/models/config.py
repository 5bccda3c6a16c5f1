"""Frozen configurations of assembled models. Only builders read them; parts never do."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ViTConfig(_Frozen):
    """A plain vision transformer."""

    kind: Literal["vit"] = "vit"
    patch_size: int = 16
    embed_dim: int = 256
    depth: int = 6
    num_heads: int = 4
    mlp_ratio: float = 4.0
    class_token: bool = True
    drop_path: float = 0.0


class ResNetConfig(_Frozen):
    """A plain ResNet."""

    kind: Literal["resnet"] = "resnet"
    depths: tuple[int, ...] = (2, 2, 2, 2)
    channels: tuple[int, ...] = (64, 128, 256, 512)
    bottleneck: int = 1
    stem: Literal["imagenet", "light"] = "light"
    stem_channels: int = 64


class HybridConfig(_Frozen):
    """A ResNet stem and a transformer above it."""

    kind: Literal["hybrid"] = "hybrid"
    depths: tuple[int, ...] = (1, 2, 2)
    channels: tuple[int, ...] = (64, 128, 256)
    bottleneck: int = 1
    stem: Literal["imagenet", "light"] = "light"
    stem_channels: int = 64
    embed_dim: int = 256
    depth: int = 4
    num_heads: int = 4
    mlp_ratio: float = 4.0
    drop_path: float = 0.0


ImageConfig = Annotated[ViTConfig | ResNetConfig | HybridConfig, Field(discriminator="kind")]


class TextConfig(_Frozen):
    """The text trunk: embeddings and the blocks below the fusion."""

    vocab_size: int
    context_length: int = 64
    embed_dim: int = 256
    depth: int = 3
    num_heads: int = 4
    mlp_ratio: float = 4.0
    dropout: float = 0.0


class FusionConfig(_Frozen):
    """How text and image meet. Only ``cross_attention`` also serves as the decoder's upper half."""

    kind: Literal["cross_attention", "co_attention", "gated", "projection"] = "cross_attention"
    depth: int = 3
    num_heads: int = 4
    mlp_ratio: float = 4.0
    dropout: float = 0.0


class UnifiedConfig(_Frozen):
    """The unified model.

    image_size: (height, width) in pixels at export; training may vary it where the encoder can.
    num_answers, num_labels: sizes of the classification heads, 0 for none.
    """

    image: ImageConfig = HybridConfig()
    text: TextConfig
    fusion: FusionConfig = FusionConfig()
    image_size: tuple[int, int] = (128, 128)
    shared_dim: int = 256
    num_answers: int = 0
    num_labels: int = 0
