"""The grounded model as the roles of a bundle; which it has follows from its configuration."""

from __future__ import annotations

from collections.abc import Collection

from torch import Tensor

from seetell.bundle.manifest import Role
from seetell.modeling.export.roles.base import (
    RoleModule,
    Specs,
    blocks_of,
    cache_specs,
    named,
    pairs,
    spec,
    text_inputs,
)
from seetell.modeling.models.grounded import GroundedModel
from seetell.modeling.parts.attention import Attention


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


class FusionEncoder(RoleModule):
    """A text beside the image."""

    role: Role = "fusion_encoder"

    def __init__(self, model: GroundedModel, without: Collection[str] = ()) -> None:
        outputs: Specs = {}
        if model.text_encoder is not None:
            outputs["fused_tokens"] = spec("float32", "B", "T", model.config.text.embed_dim)
        if model.match_head is not None:
            outputs["match_logits"] = spec("float32", "B", 2)
        inputs = {
            **text_inputs(),
            "image_tokens": spec("float32", "B", "N", model.config.image.embed_dim),
            "image_mask": spec("bool", "B", "N"),
        }
        super().__init__(inputs, outputs, without)
        self.model = model

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, image_tokens: Tensor, image_mask: Tensor
    ) -> tuple[Tensor, ...]:
        fused = self.model.fuse(input_ids, attention_mask, image_tokens, image_mask)
        found = {"fused_tokens": fused}
        if "match_logits" in self.outputs:
            found["match_logits"] = self.model.match_logits(fused)
        return self._chosen(found)


class DecoderMemory(RoleModule):
    role: Role = "decoder_memory"

    def __init__(self, model: GroundedModel, without: Collection[str] = ()) -> None:
        outputs = cache_specs("cross", _attentions(model)[1], "N")
        inputs = {"memory_tokens": spec("float32", "B", "N", model.config.image.embed_dim)}
        super().__init__(inputs, outputs, without)
        self.model = model

    def forward(self, memory_tokens: Tensor) -> tuple[Tensor, ...]:
        return self._chosen(named("cross", self.model.memory(memory_tokens)))


class TextDecoder(RoleModule):
    """One step, or several at once, left to right over cached keys and values."""

    role: Role = "text_decoder"

    def __init__(self, model: GroundedModel, without: Collection[str] = ()) -> None:
        own, cross = _attentions(model)
        inputs = {
            "input_ids": spec("int64", "B", "T"),
            "attention_mask": spec("bool", "B", "P+T"),
            "beam_idx": spec("int64", "B"),
            "memory_mask": spec("bool", "B", "N"),
            **cache_specs("past_key_values", own, "P"),
            **cache_specs("cross", cross, "N"),
        }
        outputs: Specs = {}
        if model.text_decoder is not None:
            outputs["logits"] = spec("float32", "B", "T", model.config.text.vocab_size)
            outputs.update(cache_specs("present", own, "P+T"))
        super().__init__(inputs, outputs, without)
        self.num_layers = len(own)
        self.model = model

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        beam_idx: Tensor,
        memory_mask: Tensor,
        *caches: Tensor,
    ) -> tuple[Tensor, ...]:
        split = 2 * self.num_layers
        past = [tensor.index_select(0, beam_idx) for tensor in caches[:split]]
        hidden, present = self.model.decode(
            input_ids, attention_mask, pairs(caches[split:]), memory_mask, pairs(past)
        )
        found = {"logits": self.model.token_logits(hidden), **named("present", present)}
        return self._chosen(found)


def _attentions(model: GroundedModel) -> tuple[list[Attention], list[Attention]]:
    """The decoder's self-attentions and cross-attentions; none without a decoder."""
    blocks = [] if model.text_decoder is None else blocks_of(model.text_decoder.stack)
    cross = [block.cross_attention for block in blocks if block.cross_attention is not None]
    return [block.attention for block in blocks], cross


ROLES = (ImageEncoder, TextEncoder, FusionEncoder, DecoderMemory, TextDecoder)
