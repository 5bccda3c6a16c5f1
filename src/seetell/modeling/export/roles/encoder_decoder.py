"""The encoder-decoder as the roles of a bundle."""

from __future__ import annotations

from collections.abc import Collection

from torch import Tensor

from seetell.bundle.manifest import Role
from seetell.modeling.export.roles.base import RoleModule, blocks_of, cache_specs, named, pairs, spec
from seetell.modeling.models.encoder_decoder import EncoderDecoder


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


class DecoderMemory(RoleModule):
    role: Role = "decoder_memory"

    def __init__(self, model: EncoderDecoder, without: Collection[str] = ()) -> None:
        cross = [block.cross_attention for block in blocks_of(model.writer.stack)]
        inputs = {"memory_tokens": spec("float32", "B", "N", model.config.image.embed_dim)}
        super().__init__(
            inputs, cache_specs("cross", [one for one in cross if one is not None], "N"), without
        )
        self.model = model

    def forward(self, memory_tokens: Tensor) -> tuple[Tensor, ...]:
        return self._chosen(named("cross", self.model.memory(memory_tokens)))


class TextDecoder(RoleModule):
    """One step, or several at once, left to right over cached keys and values."""

    role: Role = "text_decoder"

    def __init__(self, model: EncoderDecoder, without: Collection[str] = ()) -> None:
        blocks = blocks_of(model.writer.stack)
        attention = [block.attention for block in blocks]
        cross = [block.cross_attention for block in blocks if block.cross_attention is not None]
        inputs = {
            "input_ids": spec("int64", "B", "T"),
            "attention_mask": spec("bool", "B", "P+T"),
            "beam_idx": spec("int64", "B"),
            "memory_mask": spec("bool", "B", "N"),
            **cache_specs("past_key_values", attention, "P"),
            **cache_specs("cross", cross, "N"),
        }
        outputs = {
            "logits": spec("float32", "B", "T", model.config.text.vocab_size),
            **cache_specs("present", attention, "P+T"),
        }
        super().__init__(inputs, outputs, without)
        self.num_layers = len(attention)
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
        logits, present = self.model.decode(
            input_ids, attention_mask, pairs(caches[split:]), memory_mask, pairs(past)
        )
        return self._chosen({"logits": logits, **named("present", present)})


ROLES = (ImageEncoder, DecoderMemory, TextDecoder)
