"""The text encoder and the text decoder as the one role of a bundle that each has."""

from __future__ import annotations

from collections.abc import Collection

from torch import Tensor

from seetell.bundle.manifest import Role
from seetell.modeling.export.roles.base import (
    RoleModule,
    blocks_of,
    cache_specs,
    named,
    pairs,
    spec,
    text_inputs,
)
from seetell.modeling.models import text_models


class TextEncoder(RoleModule):
    role: Role = "text_encoder"

    def __init__(self, model: text_models.TextEncoder, without: Collection[str] = ()) -> None:
        outputs = {"text_tokens": spec("float32", "B", "T", model.config.embed_dim)}
        if model.config.pooling is not None:
            outputs["text_embeds"] = spec("float32", "B", model.config.embed_dim)
        super().__init__(text_inputs(), outputs, without)
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, ...]:
        tokens = self.model(input_ids, attention_mask)
        found = {"text_tokens": tokens}
        if self.model.config.pooling is not None:
            found["text_embeds"] = self.model.embeds(tokens, attention_mask)
        return self._chosen(found)


class TextDecoder(RoleModule):
    """One step, or several at once, left to right over cached keys and values. There is no memory."""

    role: Role = "text_decoder"

    def __init__(self, model: text_models.TextDecoder, without: Collection[str] = ()) -> None:
        attention = [block.attention for block in blocks_of(model.writer.stack)]
        inputs = {
            "input_ids": spec("int64", "B", "T"),
            "attention_mask": spec("bool", "B", "P+T"),
            "beam_idx": spec("int64", "B"),
            **cache_specs("past_key_values", attention, "P"),
        }
        outputs = {
            "logits": spec("float32", "B", "T", model.config.vocab_size),
            **cache_specs("present", attention, "P+T"),
        }
        super().__init__(inputs, outputs, without)
        self.model = model

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, beam_idx: Tensor, *caches: Tensor
    ) -> tuple[Tensor, ...]:
        past = [tensor.index_select(0, beam_idx) for tensor in caches]
        logits, present = self.model(input_ids, attention_mask, pairs(past))
        return self._chosen({"logits": logits, **named("present", present)})


ENCODER_ROLES = (TextEncoder,)
DECODER_ROLES = (TextDecoder,)
