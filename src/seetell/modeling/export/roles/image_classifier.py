"""An image encoder and its label head as the role of a bundle."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor

from seetell.bundle.manifest import Role
from seetell.modeling.export.roles.base import RoleModule, spec
from seetell.modeling.models.image_classifier import ImageClassifier


class ImageEncoder(RoleModule):
    """Every photo has all its tokens, so there is no mask to give."""

    role: Role = "image_encoder"

    def __init__(self, model: ImageClassifier, without: Collection[str] = ()) -> None:
        height, width = model.config.image_size
        # Height and width are fixed, so the counts of tokens and the sizes of stages are read off.
        with torch.no_grad():
            device = next(model.parameters()).device
            found = model(torch.zeros(1, 3, height, width, device=device))
        outputs = {"image_tokens": spec("float32", "B", *found.tokens.shape[1:])}
        if model.config.num_labels:
            outputs["label_logits"] = spec("float32", "B", model.config.num_labels)
        for index, stage in enumerate(found.stages):
            outputs[f"stage_features.{index}"] = spec("float32", "B", *stage.shape[1:])
        super().__init__({"pixel_values": spec("float32", "B", 3, height, width)}, outputs, without)
        self.model = model

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, ...]:
        encoded = self.model(pixel_values)
        found = {
            "image_tokens": encoded.tokens,
            **{f"stage_features.{index}": stage for index, stage in enumerate(encoded.stages)},
        }
        if encoded.label_logits is not None:
            found["label_logits"] = encoded.label_logits
        return self._chosen(found)


ROLES = (ImageEncoder,)
