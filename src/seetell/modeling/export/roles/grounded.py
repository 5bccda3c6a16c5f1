"""The grounded model as the roles of a bundle; which it has follows from its configuration."""

from __future__ import annotations

from collections.abc import Collection

from torch import Tensor

from seetell.bundle.manifest import Role
from seetell.modeling.export.roles.base import RoleModule, Specs, blocks_of, spec, text_inputs
from seetell.modeling.export.roles.fusion import FusionRole
from seetell.modeling.export.roles.grounded_decoder import DecoderRole, MemoryRole
from seetell.modeling.models.grounded import GroundedModel
from seetell.modeling.parts.attention import KeyValue
from seetell.modeling.parts.block import TransformerBlock


class ImageEncoder(RoleModule):
    role: Role = "image_encoder"

    def __init__(self, model: GroundedModel, without: Collection[str] = ()) -> None:
        image = model.config.image
        height, width = image.image_size
        rows, columns = model.image_encoder.grid
        outputs = {"image_tokens": spec("float32", "B", rows * columns + 1, image.embed_dim)}
        if model.image_projection is not None:
            outputs["image_embeds"] = spec("float32", "B", model.config.shared_dim)
        super().__init__({"pixel_values": spec("float32", "B", 3, height, width)}, outputs, without)
        self.model = model

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, ...]:
        tokens = self.model.encode_image(pixel_values)
        found = {"image_tokens": tokens}
        if "image_embeds" in self.outputs:
            found["image_embeds"] = self.model.image_embeds(tokens)
        return self._chosen(found)


class TextEncoder(RoleModule):
    """A text alone, for the shared space."""

    role: Role = "text_encoder"

    def __init__(self, model: GroundedModel, without: Collection[str] = ()) -> None:
        outputs: Specs = {}
        if model.text_projection is not None:
            outputs["text_tokens"] = spec("float32", "B", "T", model.config.text.embed_dim)
            outputs["text_embeds"] = spec("float32", "B", model.config.shared_dim)
        super().__init__(text_inputs(), outputs, without)
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, ...]:
        tokens = self.model.encode_text(input_ids, attention_mask)
        return self._chosen({"text_tokens": tokens, "text_embeds": self.model.text_embeds(tokens)})


class FusionEncoder(FusionRole):
    """A text beside the image."""

    def __init__(self, model: GroundedModel, without: Collection[str] = ()) -> None:
        super().__init__(
            model.config.image.embed_dim,
            fused_dim=None if model.text_encoder is None else model.config.text.embed_dim,
            match=model.match_head is not None,
            without=without,
        )
        self.model = model
        self.heads = {"match_logits": model.match_logits}

    def _fused(
        self, input_ids: Tensor, attention_mask: Tensor, image_tokens: Tensor, image_mask: Tensor
    ) -> Tensor:
        return self.model.fuse(input_ids, attention_mask, image_tokens, image_mask)


class DecoderMemory(MemoryRole):
    def __init__(self, model: GroundedModel, without: Collection[str] = ()) -> None:
        super().__init__(_decoder_blocks(model), model.config.image.embed_dim, without)
        self.model = model

    def _memory(self, tokens: Tensor) -> list[KeyValue]:
        return self.model.memory(tokens)


class TextDecoder(DecoderRole):
    def __init__(self, model: GroundedModel, without: Collection[str] = ()) -> None:
        super().__init__(_decoder_blocks(model), model.config.text.vocab_size, without)
        self.model = model

    def _step(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        memory: list[KeyValue],
        memory_mask: Tensor,
        past: list[KeyValue],
    ) -> tuple[Tensor, list[KeyValue]]:
        hidden, present = self.model.decode(input_ids, attention_mask, memory, memory_mask, past)
        return self.model.token_logits(hidden), present


def _decoder_blocks(model: GroundedModel) -> list[TransformerBlock]:
    return [] if model.text_decoder is None else blocks_of(model.text_decoder.stack)


ROLES = (ImageEncoder, TextEncoder, FusionEncoder, DecoderMemory, TextDecoder)
