"""The unified model as the roles of a bundle."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor

from seetell.bundle.manifest import Role
from seetell.modeling.export.roles.base import RoleModule, blocks_of, spec, text_inputs
from seetell.modeling.export.roles.fusion import FusionRole
from seetell.modeling.export.roles.grounded_decoder import DecoderRole, MemoryRole
from seetell.modeling.models.unified import UnifiedModel
from seetell.modeling.parts.attention import KeyValue


class ImageEncoder(RoleModule):
    role: Role = "image_encoder"

    def __init__(self, model: UnifiedModel, without: Collection[str] = ()) -> None:
        height, width = model.config.image_size
        # Height and width are fixed, so the counts of tokens and the sizes of stages are read off.
        with torch.no_grad():
            device = next(model.parameters()).device
            found = model.encode_image(torch.zeros(1, 3, height, width, device=device))
        num_tokens, width_d = found.tokens.shape[1:]
        outputs = {
            "image_tokens": spec("float32", "B", num_tokens, width_d),
            "image_mask": spec("bool", "B", num_tokens),
            "image_embeds": spec("float32", "B", model.config.shared_dim),
        }
        if model.label_head is not None:
            outputs["label_logits"] = spec("float32", "B", model.config.num_labels)
        for index, stage in enumerate(found.stages):
            outputs[f"stage_features.{index}"] = spec("float32", "B", *stage.shape[1:])
        inputs = {"pixel_values": spec("float32", "B", 3, height, width)}
        if model.config.letterbox:
            inputs["pixel_mask"] = spec("bool", "B", height, width)
        super().__init__(inputs, outputs, without)
        self.model = model

    def forward(self, pixel_values: Tensor, pixel_mask: Tensor | None = None) -> tuple[Tensor, ...]:
        encoded = self.model.encode_image(pixel_values, pixel_mask)
        found = {
            "image_tokens": encoded.tokens,
            "image_mask": encoded.mask,
            "image_embeds": encoded.embeds,
            **{f"stage_features.{index}": stage for index, stage in enumerate(encoded.stages)},
        }
        if "label_logits" in self.outputs:
            found["label_logits"] = self.model.label_logits(encoded)
        return self._chosen(found)


class TextEncoder(RoleModule):
    role: Role = "text_encoder"

    def __init__(self, model: UnifiedModel, without: Collection[str] = ()) -> None:
        outputs = {
            "text_tokens": spec("float32", "B", "T", model.config.text.embed_dim),
            "text_embeds": spec("float32", "B", model.config.shared_dim),
        }
        super().__init__(text_inputs(), outputs, without)
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, ...]:
        encoded = self.model.encode_text(input_ids, attention_mask)
        return self._chosen({"text_tokens": encoded.tokens, "text_embeds": encoded.embeds})


class FusionEncoder(FusionRole):
    """Ids go through the text trunk and then meet the image."""

    def __init__(self, model: UnifiedModel, without: Collection[str] = ()) -> None:
        text = model.config.text
        super().__init__(
            text.embed_dim,
            fused_dim=text.embed_dim,
            match=True,
            vocab_size=text.vocab_size,
            num_answers=None if model.answer_head is None else model.config.num_answers,
            without=without,
        )
        self.model = model
        self.heads = {
            "match_logits": model.match_logits,
            "token_logits": model.token_logits,
            "answer_logits": model.answer_logits,
        }

    def _fused(
        self, input_ids: Tensor, attention_mask: Tensor, image_tokens: Tensor, image_mask: Tensor
    ) -> Tensor:
        text = self.model.encode_text(input_ids, attention_mask)
        return self.model.fuse(text.tokens, attention_mask, image_tokens, image_mask)


class DecoderMemory(MemoryRole):
    def __init__(self, model: UnifiedModel, without: Collection[str] = ()) -> None:
        super().__init__(blocks_of(model.grounded.stack), model.config.text.embed_dim, without)
        self.model = model

    def _memory(self, tokens: Tensor) -> list[KeyValue]:
        return self.model.memory(tokens)


class TextDecoder(DecoderRole):
    def __init__(self, model: UnifiedModel, without: Collection[str] = ()) -> None:
        super().__init__(
            [*blocks_of(model.text_trunk), *blocks_of(model.grounded.stack)],
            model.config.text.vocab_size,
            without,
        )
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


ROLES = (ImageEncoder, TextEncoder, FusionEncoder, DecoderMemory, TextDecoder)
