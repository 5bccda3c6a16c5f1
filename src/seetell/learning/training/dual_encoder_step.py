"""Where dual encoders (CLIP, SigLIP, Chinese-CLIP) meet the contrastive objective."""

from __future__ import annotations

import torch
from torch import Tensor

from seetell.learning.batch import Batch, Captions
from seetell.learning.objectives.contrastive import (
    contrastive_loss,
    limit_logit_scale,
    sigmoid_contrastive_loss,
)
from seetell.learning.training.objective_spec import ObjectiveSpec
from seetell.learning.training.rows import encode_by_length, rows_by_language
from seetell.learning.training.step import TrainingStep
from seetell.modeling.models.dual_encoder import DualEncoder


class DualEncoderStep(TrainingStep):
    """One objective, ``contrastive``; its loss is the one the model was taught by: a softmax over the batch,
    or a sigmoid for each pair.

    Args:
        model: the dual encoder.
        spec: the objective's weight, label smoothing (of the softmax) and language weights.
    """

    def __init__(self, model: DualEncoder, spec: ObjectiveSpec) -> None:
        super().__init__()
        self.model: DualEncoder = model
        self.spec = spec

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        if batch.captions is None:
            raise ValueError("this batch holds no captions, and nothing else teaches a dual encoder")
        if self.training:
            limit_logit_scale(self.model.logit_scale)
        _, _, image_embeds = self.model.encode_image(batch.pixel_values)
        text_embeds = self._text_embeds(batch.captions)
        loss = self._loss(image_embeds, text_embeds, batch.captions)
        return {"loss": self.spec.weight * loss, "contrastive": loss.detach()}

    def _text_embeds(self, captions: Captions) -> Tensor:
        if self.model.config.text.reads_padding:
            return self.model.encode_text(captions.ids, captions.attention_mask)[1]
        return encode_by_length(
            lambda *text: self.model.encode_text(*text)[1], captions.ids, captions.attention_mask
        )

    def _loss(self, image_embeds: Tensor, text_embeds: Tensor, captions: Captions) -> Tensor:
        """Per language: a negative in another language would be told apart by its script alone."""
        photos, column = torch.unique(captions.image_index, return_inverse=True)
        logits = self.model.logits_per_image(image_embeds[photos].float(), text_embeds.float())
        losses: list[Tensor] = []
        weights: list[float] = []
        for language, rows in rows_by_language(captions.languages, logits.device).items():
            own = logits[:, rows]
            losses.append(
                sigmoid_contrastive_loss(own, column[rows])
                if self.model.config.score == "sigmoid"
                else contrastive_loss(own, column[rows], self.spec.label_smoothing)
            )
            weights.append(self.spec.language_weights.get(language, 1.0))
        shares = torch.tensor(weights, device=logits.device)
        return (torch.stack(losses) * shares).sum() / shares.sum()
