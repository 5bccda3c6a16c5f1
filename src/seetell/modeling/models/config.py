"""Frozen configurations of assembled models. Only builders read them; parts never do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from seetell.modeling.parts.stack import BlockWidths

# What only some models have, such as those whose blocks differ: the others' configurations stay what they
# were before there were such models, and so can be read by what was written then.
_RARE: dict[str, Any] = {
    "widths": None,
    "inner_channels": None,
    "merge_tokens": 0,
    "letterbox": False,
    "bag_dim": 0,
    "sentence": None,
    "quarter_dim": 0,
}


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_serializer(mode="wrap")
    def _without_rare(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        told: dict[str, Any] = handler(self)
        return {name: value for name, value in told.items() if name not in _RARE or value != _RARE[name]}


def _check_widths(widths: Sequence[BlockWidths] | None, depth: int, *, crosses: bool = False) -> None:
    """Raises ValueError for widths that are not of ``depth`` blocks, all with cross-attention or none."""
    if widths is None:
        return
    if len(widths) != depth:
        raise ValueError(f"widths are of {len(widths)} blocks and depth is {depth}")
    if any((one.cross_heads is not None) != crosses for one in widths):
        raise ValueError("widths: cross_heads goes with cross-attention, and with nothing else")


def _check_inner(
    inner: Sequence[Sequence[Sequence[int]]] | None, depths: Sequence[int], bottleneck: int
) -> None:
    """Raises ValueError for inner channels that are not those of a ResNet of this shape."""
    if inner is None:
        return
    between = 2 if bottleneck > 1 else 1
    if tuple(map(len, inner)) != tuple(depths) or any(len(one) != between for row in inner for one in row):
        raise ValueError(f"inner_channels: {between} for each block of {tuple(depths)} are needed")


# Of each block of each stage, the channels between its convolutions.
InnerChannels = tuple[tuple[tuple[Annotated[int, Field(gt=0)], ...], ...], ...]


class ViTConfig(_Frozen):
    """A plain vision transformer.

    widths: of each block, where they differ (``BlockWidths``); a head stays ``embed_dim / num_heads`` wide.
    merge_tokens: how many tokens merge in every block (``parts.merging``).
    """

    kind: Literal["vit"] = "vit"
    patch_size: int = 16
    embed_dim: int = 256
    depth: int = 6
    num_heads: int = 4
    mlp_ratio: float = 4.0
    class_token: bool = True
    drop_path: float = 0.0
    widths: tuple[BlockWidths, ...] | None = None
    merge_tokens: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _consistent(self) -> ViTConfig:
        _check_widths(self.widths, self.depth)
        return self


class ResNetConfig(_Frozen):
    """A plain ResNet. inner_channels: as in the part ``ResNet``."""

    kind: Literal["resnet"] = "resnet"
    depths: tuple[int, ...] = (2, 2, 2, 2)
    channels: tuple[int, ...] = (64, 128, 256, 512)
    bottleneck: int = 1
    stem: Literal["imagenet", "light"] = "light"
    stem_channels: int = 64
    inner_channels: InnerChannels | None = None

    @model_validator(mode="after")
    def _consistent(self) -> ResNetConfig:
        _check_inner(self.inner_channels, self.depths, self.bottleneck)
        return self


class HybridConfig(_Frozen):
    """A ResNet stem and a transformer above it. inner_channels, widths, merge_tokens: as in the two above."""

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
    inner_channels: InnerChannels | None = None
    widths: tuple[BlockWidths, ...] | None = None
    merge_tokens: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _consistent(self) -> HybridConfig:
        _check_inner(self.inner_channels, self.depths, self.bottleneck)
        _check_widths(self.widths, self.depth)
        return self


class EfficientNetConfig(_Frozen):
    """An EfficientNet-Lite (width, depth: as in the part) whose cells are the tokens, with transformer layers
    over them where ``layers`` is not 0."""

    kind: Literal["efficientnet"] = "efficientnet"
    width: float = Field(default=1.0, gt=0)
    depth: float = Field(default=1.0, gt=0)
    embed_dim: int = 256
    layers: int = Field(default=0, ge=0)
    num_heads: int = 4
    mlp_ratio: float = 4.0
    drop_path: float = 0.0


ImageConfig = Annotated[
    ViTConfig | ResNetConfig | HybridConfig | EfficientNetConfig, Field(discriminator="kind")
]


class SentenceConfig(_Frozen):
    """A text encoder for vectors alone, with word vectors of its own."""

    embed_dim: int = 192
    depth: int = 2
    num_heads: int = 3
    mlp_ratio: float = 4.0


class TextConfig(_Frozen):
    """The text trunk: embeddings and the blocks below the fusion. widths: as in ViTConfig.

    bag_dim: width of a table of words whose mean over a text is added to its vector, 0 for none: a bag of
        words finds more from few captions than a transformer does, which is then learned beside it.
    sentence: a small transformer of its own that a text's vector is made of, beside the bag and in place of
        the trunk: what it learned from texts alone stays, whatever captions and answers teach the trunk.
    """

    vocab_size: int
    context_length: int = 64
    embed_dim: int = 256
    depth: int = 3
    num_heads: int = 4
    mlp_ratio: float = 4.0
    dropout: float = 0.0
    bag_dim: int = Field(default=0, ge=0)
    sentence: SentenceConfig | None = None
    widths: tuple[BlockWidths, ...] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> TextConfig:
        _check_widths(self.widths, self.depth)
        return self


class FusionConfig(_Frozen):
    """How text and image meet. Only ``cross_attention`` also serves as the decoder's upper half, and only its
    blocks may differ (``widths``)."""

    kind: Literal["cross_attention", "co_attention", "gated", "projection"] = "cross_attention"
    depth: int = 3
    num_heads: int = 4
    mlp_ratio: float = 4.0
    dropout: float = 0.0
    widths: tuple[BlockWidths, ...] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> FusionConfig:
        if self.widths is not None and self.kind != "cross_attention":
            raise ValueError(f"widths: blocks of {self.kind} fusion are all alike")
        _check_widths(self.widths, self.depth, crosses=True)
        return self


class UnifiedConfig(_Frozen):
    """The unified model.

    image_size: (height, width) in pixels at export; training may vary it where the encoder can.
    num_answers, num_labels: sizes of the classification heads, 0 for none.
    letterbox: a photo keeps its shape, placed at the top left of ``image_size`` and masked, instead of being
        squashed to it; for an image encoder that takes a mask.
    quarter_dim: numbers that one matrix, the same for all, makes of each quarter of a photo for its vector
        (``PooledProjection``); 0 for one matrix over whole and quarters. For an EfficientNet.
    """

    image: ImageConfig = HybridConfig()
    text: TextConfig
    fusion: FusionConfig = FusionConfig()
    image_size: tuple[int, int] = (128, 128)
    shared_dim: int = 256
    num_answers: int = 0
    num_labels: int = 0
    letterbox: bool = False
    quarter_dim: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _consistent(self) -> UnifiedConfig:
        if self.quarter_dim and not isinstance(self.image, EfficientNetConfig):
            raise ValueError(f"quarter_dim: an image encoder of the kind {self.image.kind} has no quarters")
        if self.letterbox and not isinstance(self.image, EfficientNetConfig):
            raise ValueError(f"letterbox: an image encoder of the kind {self.image.kind} takes no mask")
        return self
