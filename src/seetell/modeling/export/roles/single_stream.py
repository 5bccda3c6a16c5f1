"""The single-stream model as the roles of a bundle: embedded patches, and the stream over them and a text."""

from __future__ import annotations

from collections.abc import Collection

from torch import Tensor

from seetell.bundle.manifest import Role
from seetell.modeling.export.roles.base import RoleModule, spec, text_inputs
from seetell.modeling.models.single_stream import SingleStreamModel


class ImageEncoder(RoleModule):
    """Photos of any size that is a multiple of the patch size, padded to the largest of the batch."""

    role: Role = "image_encoder"

    def __init__(self, model: SingleStreamModel, without: Collection[str] = ()) -> None:
        inputs = {
            "pixel_values": spec("float32", "B", 3, "H", "W"),
            "pixel_mask": spec("bool", "B", "H", "W"),
        }
        outputs = {
            "image_tokens": spec("float32", "B", "N", model.config.embed_dim),
            "image_mask": spec("bool", "B", "N"),
        }
        super().__init__(inputs, outputs, without)
        self.multiple_of = model.config.patch_size
        self.model = model

    def forward(self, pixel_values: Tensor, pixel_mask: Tensor) -> tuple[Tensor, ...]:
        tokens, mask = self.model.encode_image(pixel_values, pixel_mask)
        return self._chosen({"image_tokens": tokens, "image_mask": mask})


class FusionEncoder(RoleModule):
    role: Role = "fusion_encoder"

    def __init__(self, model: SingleStreamModel, without: Collection[str] = ()) -> None:
        config = model.config
        inputs = {
            **text_inputs(),
            "image_tokens": spec("float32", "B", "N", config.embed_dim),
            "image_mask": spec("bool", "B", "N"),
        }
        outputs = {"fused_tokens": spec("float32", "B", "T", config.embed_dim)}
        if config.match:
            outputs["match_logits"] = spec("float32", "B", 2)
        if config.fill:
            outputs["token_logits"] = spec("float32", "B", "T", config.vocab_size)
        if config.num_answers:
            outputs["answer_logits"] = spec("float32", "B", config.num_answers)
        super().__init__(inputs, outputs, without)
        self.model = model

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, image_tokens: Tensor, image_mask: Tensor
    ) -> tuple[Tensor, ...]:
        fused = self.model.fuse(input_ids, attention_mask, image_tokens, image_mask)
        found = {"fused_tokens": fused}
        if "match_logits" in self.outputs:
            found["match_logits"] = self.model.match_logits(fused)
        if "token_logits" in self.outputs:
            found["token_logits"] = self.model.token_logits(fused)
        if "answer_logits" in self.outputs:
            found["answer_logits"] = self.model.answer_logits(fused)
        return self._chosen(found)


ROLES = (ImageEncoder, FusionEncoder)
