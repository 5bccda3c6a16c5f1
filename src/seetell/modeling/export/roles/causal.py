"""A causal language model as the two roles of a bundle it has: from tokens to vectors, and from there on.

The decoder takes vectors, so that those of a photo may stand among those of words. Logits are given at the
places asked for alone: over a long prompt those of every token would be the largest thing in memory.
"""

from __future__ import annotations

from collections.abc import Collection

from torch import Tensor

from seetell.bundle.manifest import Role
from seetell.modeling.export.roles.base import RoleModule, blocks_of, cache_specs, named, pairs, spec
from seetell.modeling.models.causal import CausalModel


class EmbedTokens(RoleModule):
    role: Role = "embed_tokens"

    def __init__(self, model: CausalModel, without: Collection[str] = ()) -> None:
        outputs = {"inputs_embeds": spec("float32", "B", "T", model.config.embed_dim)}
        super().__init__({"input_ids": spec("int64", "B", "T")}, outputs, without)
        self.model = model

    def forward(self, input_ids: Tensor) -> tuple[Tensor, ...]:
        return self._chosen({"inputs_embeds": self.model.tokens(input_ids)})


class TextDecoder(RoleModule):
    """One step, or several at once, left to right over cached keys and values."""

    role: Role = "text_decoder"

    def __init__(self, model: CausalModel, without: Collection[str] = ()) -> None:
        attention = [block.attention for block in blocks_of(model.stack)]
        inputs = {
            "inputs_embeds": spec("float32", "B", "T", model.config.embed_dim),
            "attention_mask": spec("bool", "B", "P+T"),
            "beam_idx": spec("int64", "B"),
            "logit_places": spec("int64", "K"),
            **cache_specs("past_key_values", attention, "P"),
        }
        outputs = {
            "logits": spec("float32", "B", "K", model.config.vocab_size),
            **cache_specs("present", attention, "P+T"),
        }
        super().__init__(inputs, outputs, without)
        self.model = model

    def forward(
        self,
        inputs_embeds: Tensor,
        attention_mask: Tensor,
        beam_idx: Tensor,
        logit_places: Tensor,
        *caches: Tensor,
    ) -> tuple[Tensor, ...]:
        past = [tensor.index_select(0, beam_idx) for tensor in caches]
        x, present = self.model.read(inputs_embeds, attention_mask, pairs(past))
        logits = self.model.logits(x.index_select(1, logit_places))
        return self._chosen({"logits": logits, **named("present", present)})


ROLES = (EmbedTokens, TextDecoder)
