"""A vision transformer that sees and a text decoder that writes, joined by cross-attention: ViT-GPT2.

Source: Rothe et al. 2020 ("warm-started" encoder-decoders), with a vision transformer for the encoder as in
TrOCR (Li et al. 2021).
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from seetell.modeling.models.assembled import AssembledModel, ModelLimits
from seetell.modeling.models.image_classifier import TransformerEncoderConfig, build_vit
from seetell.modeling.models.text_models import TextDecoderConfig, WordWriter
from seetell.modeling.parts.attention import KeyValue


class EncoderDecoderConfig(BaseModel):
    """image_size: (height, width) in pixels."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    image: TransformerEncoderConfig
    text: TextDecoderConfig
    image_size: tuple[int, int]


class EncoderDecoder(AssembledModel):
    """float[B, 3, H, W] and int64[B, T] -> logits of the next word float[B, T, V].

    Image tokens of another width than the decoder's are projected to it before cross-attention reads them.
    """

    family = "encoder_decoder"

    def __init__(self, config: EncoderDecoderConfig) -> None:
        super().__init__()
        self.config: EncoderDecoderConfig = config
        seen, written = config.image.embed_dim, config.text.embed_dim
        self.encoder = build_vit(config.image, config.image_size)
        self.bridge = nn.Linear(seen, written) if seen != written else nn.Identity()
        self.writer = WordWriter(config.text, context_dim=written)

    @property
    def limits(self) -> ModelLimits:
        text = self.config.text
        return ModelLimits(self.config.image_size, text.vocab_size, text.context_length)

    def encode_image(self, pixel_values: Tensor) -> Tensor:
        """float[B, 3, H, W] -> image tokens float[B, N, D], the class token first."""
        tokens: Tensor = self.encoder(pixel_values).tokens
        return tokens

    def memory(self, image_tokens: Tensor) -> list[KeyValue]:
        """Per block of the decoder, the keys and values of image tokens float[B, N, D]."""
        return self.writer.stack.project_memory(self.bridge(image_tokens))

    def decode(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        memory: Sequence[KeyValue],
        memory_mask: Tensor,
        past: Sequence[KeyValue] | None = None,
    ) -> tuple[Tensor, list[KeyValue]]:
        """As in WordWriter."""
        found: tuple[Tensor, list[KeyValue]] = self.writer(
            input_ids, attention_mask, past=past, memory=memory, memory_mask=memory_mask
        )
        return found
