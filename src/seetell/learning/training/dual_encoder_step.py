"""Where dual encoders (CLIP, SigLIP, Chinese-CLIP) meet the contrastive objective."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from seetell.learning.batch import Batch, Captions
from seetell.learning.objectives.contrastive import (
    contrastive_loss,
    limit_logit_scale,
    sigmoid_contrastive_loss,
)
from seetell.learning.training.gathering import Pairs, gathered
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
        captions = batch.captions
        used = gathered(
            Pairs(
                self._image_embeds(batch.pixel_values),
                self._text_embeds(captions),
                captions.image_index,
                captions.languages,
            )
        )
        loss = self._loss(used)
        return {"loss": self.spec.weight * loss, "contrastive": loss.detach()}

    def _image_embeds(self, pixel_values: Tensor) -> Tensor:
        return self._in_chunks(self.model.image_embeds, pixel_values)

    def _text_embeds(self, captions: Captions) -> Tensor:
        encode = self.model.text_embeds
        if self.spec.chunk is not None or self.model.config.text.reads_padding:
            return self._in_chunks(encode, captions.ids, captions.attention_mask)
        return encode_by_length(encode, captions.ids, captions.attention_mask)

    def _in_chunks(self, encode: Callable[..., Tensor], *rows: Tensor) -> Tensor:
        """``encode`` over all rows. In chunks, each is encoded without keeping what its gradient needs, and
        again when that has come: the two passes of GradCache, by torch's checkpointing."""
        if self.spec.chunk is None or not torch.is_grad_enabled():
            return encode(*rows)
        chunks = zip(*(torch.split(one, self.spec.chunk) for one in rows), strict=True)
        return torch.cat([checkpoint(encode, *chunk, use_reentrant=False) for chunk in chunks])

    def _loss(self, pairs: Pairs) -> Tensor:
        """Per language: a negative in another language would be told apart by its script alone."""
        photos, column = torch.unique(pairs.image_index, return_inverse=True)
        logits = self.model.logits_per_image(pairs.image_embeds[photos].float(), pairs.text_embeds.float())
        losses: list[Tensor] = []
        weights: list[float] = []
        for language, rows in rows_by_language(pairs.languages, logits.device).items():
            own = logits[:, rows]
            losses.append(
                sigmoid_contrastive_loss(own, column[rows])
                if self.model.config.score == "sigmoid"
                else contrastive_loss(own, column[rows], self.spec.label_smoothing)
            )
            weights.append(self.spec.language_weights.get(language, 1.0))
        shares = torch.tensor(weights, device=logits.device)
        return (torch.stack(losses) * shares).sum() / shares.sum()
