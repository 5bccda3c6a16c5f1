"""A dual encoder as the roles of a bundle."""

from __future__ import annotations

from collections.abc import Collection

from torch import Tensor

from seetell.bundle.manifest import Role
from seetell.modeling.export.roles.base import RoleModule, spec, text_inputs
from seetell.modeling.models.dual_encoder import DualEncoder


class ImageEncoder(RoleModule):
    role: Role = "image_encoder"

    def __init__(self, model: DualEncoder, without: Collection[str] = ()) -> None:
        image = model.config.image
        height, width = image.image_size
        num_tokens = model.image_encoder.positions.shape[0]
        outputs = {
            "image_tokens": spec("float32", "B", num_tokens, image.embed_dim),
            "image_mask": spec("bool", "B", num_tokens),
            "image_embeds": spec("float32", "B", model.config.shared_dim),
        }
        super().__init__({"pixel_values": spec("float32", "B", 3, height, width)}, outputs, without)
        self.model = model

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, ...]:
        tokens, mask, embeds = self.model.encode_image(pixel_values)
        return self._chosen({"image_tokens": tokens, "image_mask": mask, "image_embeds": embeds})


class TextEncoder(RoleModule):
    """Rows have a fixed length where the model reads their padding; the mask then changes nothing."""

    role: Role = "text_encoder"

    def __init__(self, model: DualEncoder, without: Collection[str] = ()) -> None:
        text = model.config.text
        length = text.context_length if text.reads_padding else "T"
        outputs = {
            "text_tokens": spec("float32", "B", length, text.embed_dim),
            "text_embeds": spec("float32", "B", model.config.shared_dim),
        }
        super().__init__(text_inputs(length), outputs, without)
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, ...]:
        tokens, embeds = self.model.encode_text(input_ids, attention_mask)
        return self._chosen({"text_tokens": tokens, "text_embeds": embeds})


ROLES = (ImageEncoder, TextEncoder)
