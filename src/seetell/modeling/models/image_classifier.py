"""An image encoder, with or without a head over its own labels: ViT, ResNet, EfficientNet-Lite."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from seetell.modeling.models.assembled import AssembledModel, Depth, ModelLimits
from seetell.modeling.parts.efficientnet import EfficientNetLite
from seetell.modeling.parts.image import ImageTokens
from seetell.modeling.parts.resnet import ResNet
from seetell.modeling.parts.stack import StackShape
from seetell.modeling.parts.vit import ViT


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TransformerEncoderConfig(_Frozen):
    """A vision transformer with a class token. Fields as in parts/vit.py."""

    kind: Literal["vit"] = "vit"
    patch_size: int = Field(default=16, gt=0)
    embed_dim: int = 768
    depth: Depth = 12
    num_heads: int = 12
    hidden_dim: int = 3072
    activation: str = "gelu"
    norm_eps: float = 1e-12


class ConvolutionalEncoderConfig(_Frozen):
    """A ResNet with the 7x7 stem. Fields as in parts/resnet.py."""

    kind: Literal["resnet"] = "resnet"
    depths: tuple[Depth, ...] = (3, 4, 6, 3)
    channels: tuple[Annotated[int, Field(gt=0)], ...] = (256, 512, 1024, 2048)
    bottleneck: int = 4
    stem_channels: int = Field(default=64, gt=0)
    activation: str = "relu"
    first_stride: int = 1
    stride_first: bool = False


class EfficientNetEncoderConfig(_Frozen):
    """An EfficientNet-Lite. Fields as in parts/efficientnet.py."""

    kind: Literal["efficientnet"] = "efficientnet"
    width: float = Field(default=1.0, gt=0)
    depth: float = Field(default=1.0, gt=0)


EncoderConfig = Annotated[
    TransformerEncoderConfig | ConvolutionalEncoderConfig | EfficientNetEncoderConfig,
    Field(discriminator="kind"),
]


class ImageClassifierConfig(_Frozen):
    """image_size: (height, width) in pixels. num_labels: 0 for no head."""

    encoder: EncoderConfig
    image_size: tuple[int, int] = (224, 224)
    num_labels: int = 0


@dataclass(frozen=True, slots=True)
class ClassifiedImage:
    """tokens: float[B, N, D]. stages: float[B, C_i, H_i, W_i]. label_logits: float[B, C], None without a
    head."""

    tokens: Tensor
    stages: tuple[Tensor, ...]
    label_logits: Tensor | None


def build_vit(config: TransformerEncoderConfig, image_size: tuple[int, int]) -> ViT:
    """The vision transformer that ``config`` describes."""
    shape = StackShape(
        config.embed_dim,
        config.depth,
        config.num_heads,
        config.hidden_dim,
        activation=config.activation,
        norm_eps=config.norm_eps,
    )
    return ViT(image_size, config.patch_size, shape)


class ImageClassifier(AssembledModel):
    """float[B, 3, H, W] -> tokens, stages and logits over labels.

    The head reads the class token of a transformer (Dosovitskiy et al. 2021, section 3.1) and the mean of
    the last map of a ResNet (He et al. 2015, section 3.3) or an EfficientNet.
    """

    family = "image_classifier"

    def __init__(self, config: ImageClassifierConfig) -> None:
        super().__init__()
        self.config: ImageClassifierConfig = config
        self.encoder: ViT | ResNet | EfficientNetLite
        if isinstance(config.encoder, TransformerEncoderConfig):
            self.encoder = build_vit(config.encoder, config.image_size)
        elif isinstance(config.encoder, EfficientNetEncoderConfig):
            self.encoder = EfficientNetLite(config.encoder.width, config.encoder.depth)
        else:
            self.encoder = ResNet(
                config.encoder.depths,
                config.encoder.channels,
                config.encoder.bottleneck,
                stem_channels=config.encoder.stem_channels,
                activation=config.encoder.activation,
                first_stride=config.encoder.first_stride,
                stride_first=config.encoder.stride_first,
            )
        width = self.encoder.embed_dim
        self.label_head = nn.Linear(width, config.num_labels) if config.num_labels else None

    @property
    def limits(self) -> ModelLimits:
        return ModelLimits(image_size=self.config.image_size, num_labels=self.config.num_labels)

    def forward(self, pixel_values: Tensor) -> ClassifiedImage:
        """pixel_values: float[B, 3, H, W]."""
        image: ImageTokens = self.encoder(pixel_values)
        if self.label_head is None:
            return ClassifiedImage(image.tokens, image.stages, None)
        # Cells of the last map are the tokens of a convolutional network.
        pooled = image.tokens[:, 0] if isinstance(self.encoder, ViT) else image.tokens.mean(dim=1)
        return ClassifiedImage(image.tokens, image.stages, self.label_head(pooled))
