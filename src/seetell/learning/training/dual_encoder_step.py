"""Where dual encoders (CLIP, SigLIP, Chinese-CLIP) meet the contrastive objective, and a teacher."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from seetell.learning.batch import Batch, Captions
from seetell.learning.objectives.contrastive import (
    contrastive_loss,
    limit_logit_scale,
    sigmoid_contrastive_loss,
)
from seetell.learning.objectives.weighting import FixedWeights, LearnedWeights
from seetell.learning.training.distilling import Distillation
from seetell.learning.training.gathering import Pairs, gathered, pairs_of
from seetell.learning.training.objective_spec import ObjectiveSpec
from seetell.learning.training.rows import encode_by_length, rows_by_language
from seetell.learning.training.step import TrainingStep
from seetell.learning.training.teacher import Teacher
from seetell.modeling.models.dual_encoder import DualEncoder


class DualEncoderStep(TrainingStep):
    """``contrastive``, whose loss is the one the model was taught by, a softmax over the batch or a sigmoid
    for each pair; and what can be learned of the same embeddings from a teacher.

    Args:
        model: the dual encoder.
        spec: of ``contrastive``: its weight, label smoothing (of the softmax) and language weights; None to
            learn from the teacher alone.
        distilling: what to learn from ``teacher``: ``distil_affinity``, ``distil_features``.
        learned_weights: weigh objectives by learned uncertainty instead of fixed weights.
    """

    def __init__(
        self,
        model: DualEncoder,
        spec: ObjectiveSpec | None,
        *,
        distilling: Sequence[ObjectiveSpec] = (),
        teacher: Teacher | None = None,
        learned_weights: bool = False,
    ) -> None:
        super().__init__()
        self.model: DualEncoder = model
        self.spec = spec
        self.distillation = (
            Distillation(distilling, teacher, shared_dim=model.config.shared_dim)
            if teacher is not None
            else None
        )
        specs = distilling if spec is None else (spec, *distilling)
        weights = {str(one.name): one.weight for one in specs}
        # One loss has nothing to be weighed against.
        learned_weights = learned_weights and len(weights) > 1
        self.weighting = LearnedWeights(weights) if learned_weights else FixedWeights(weights)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        if batch.captions is None:
            raise ValueError("this batch holds no captions, and nothing else teaches a dual encoder")
        # CLIP's rule (Radford et al. 2021, section 2.5); SigLIP is published with a scale above that bound.
        if self.training and self.model.config.score == "softmax":
            limit_logit_scale(self.model.logit_scale)
        captions = batch.captions
        own = pairs_of(
            self._image_embeds(batch.pixel_values), self._text_embeds(captions), captions, batch.keys
        )
        losses: dict[str, Tensor] = {}
        if self.spec is not None:
            losses["contrastive"] = self._loss(gathered(own), self.spec)
        if self.distillation is not None:
            losses.update(self.distillation.begin(batch).retrieval(own, self.model.logit_scale))
        total = self.weighting(losses)
        return {"loss": total, **{name: loss.detach() for name, loss in losses.items()}}

    @property
    def _chunk(self) -> int | None:
        return None if self.spec is None else self.spec.chunk

    def _image_embeds(self, pixel_values: Tensor) -> Tensor:
        return self._in_chunks(self.model.image_embeds, pixel_values)

    def _text_embeds(self, captions: Captions) -> Tensor:
        encode = self.model.text_embeds
        if self._chunk is not None or self.model.config.text.reads_padding:
            return self._in_chunks(encode, captions.ids, captions.attention_mask)
        return encode_by_length(encode, captions.ids, captions.attention_mask)

    def _in_chunks(self, encode: Callable[..., Tensor], *rows: Tensor) -> Tensor:
        """``encode`` over all rows. In chunks, each is encoded without keeping what its gradient needs, and
        again when that has come: the two passes of GradCache, by torch's checkpointing."""
        if self._chunk is None or not torch.is_grad_enabled():
            return encode(*rows)
        chunks = zip(*(torch.split(one, self._chunk) for one in rows), strict=True)
        return torch.cat([checkpoint(encode, *chunk, use_reentrant=False) for chunk in chunks])

    def _loss(self, pairs: Pairs, spec: ObjectiveSpec) -> Tensor:
        """Per language: a negative in another language would be told apart by its script alone."""
        photos, column = torch.unique(pairs.image_index, return_inverse=True)
        logits = self.model.logits_per_image(pairs.image_embeds[photos].float(), pairs.text_embeds.float())
        left_out = pairs.left_out
        losses: list[Tensor] = []
        weights: list[float] = []
        for language, rows in rows_by_language(pairs.languages, logits.device).items():
            own = logits[:, rows]
            neither = None if left_out is None else left_out[:, rows]
            losses.append(
                sigmoid_contrastive_loss(own, column[rows], neither)
                if self.model.config.score == "sigmoid"
                else contrastive_loss(own, column[rows], spec.label_smoothing, neither)
            )
            weights.append(spec.language_weights.get(language, 1.0))
        shares = torch.tensor(weights, device=logits.device)
        return (torch.stack(losses) * shares).sum() / shares.sum()
