"""The single-stream model as the roles of a bundle: embedded patches, and the stream over them and a text."""

from __future__ import annotations

from collections.abc import Collection

from torch import Tensor

from seetell.bundle.manifest import Role
from seetell.modeling.export.roles.base import RoleModule, spec
from seetell.modeling.export.roles.fusion import FusionRole
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


class FusionEncoder(FusionRole):
    def __init__(self, model: SingleStreamModel, without: Collection[str] = ()) -> None:
        config = model.config
        super().__init__(
            config.embed_dim,
            fused_dim=config.embed_dim,
            match=config.match,
            vocab_size=config.vocab_size if config.fill else None,
            num_answers=config.num_answers,
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
        return self.model.fuse(input_ids, attention_mask, image_tokens, image_mask)


ROLES = (ImageEncoder, FusionEncoder)
