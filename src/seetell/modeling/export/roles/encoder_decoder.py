"""The encoder-decoder as the roles of a bundle."""

from __future__ import annotations

from collections.abc import Collection

from torch import Tensor

from seetell.bundle.manifest import Role
from seetell.modeling.export.roles.base import RoleModule, blocks_of, spec
from seetell.modeling.export.roles.grounded_decoder import DecoderRole, MemoryRole
from seetell.modeling.models.encoder_decoder import EncoderDecoder
from seetell.modeling.parts.attention import KeyValue


class ImageEncoder(RoleModule):
    role: Role = "image_encoder"

    def __init__(self, model: EncoderDecoder, without: Collection[str] = ()) -> None:
        height, width = model.config.image_size
        rows, columns = model.encoder.grid
        outputs = {"image_tokens": spec("float32", "B", rows * columns + 1, model.config.image.embed_dim)}
        super().__init__({"pixel_values": spec("float32", "B", 3, height, width)}, outputs, without)
        self.model = model

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, ...]:
        return self._chosen({"image_tokens": self.model.encode_image(pixel_values)})


class DecoderMemory(MemoryRole):
    def __init__(self, model: EncoderDecoder, without: Collection[str] = ()) -> None:
        super().__init__(blocks_of(model.writer.stack), model.config.image.embed_dim, without)
        self.model = model

    def _memory(self, tokens: Tensor) -> list[KeyValue]:
        return self.model.memory(tokens)


class TextDecoder(DecoderRole):
    def __init__(self, model: EncoderDecoder, without: Collection[str] = ()) -> None:
        super().__init__(blocks_of(model.writer.stack), model.config.text.vocab_size, without)
        self.model = model

    def _step(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        memory: list[KeyValue],
        memory_mask: Tensor,
        past: list[KeyValue],
    ) -> tuple[Tensor, list[KeyValue]]:
        return self.model.decode(input_ids, attention_mask, memory, memory_mask, past)


ROLES = (ImageEncoder, DecoderMemory, TextDecoder)
