"""Where BLIP's three uses meet their objectives: captions, answers as text, and retrieval."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from seetell.bundle.manifest import TextSpec
from seetell.learning.batch import Batch, Captions, Questions
from seetell.learning.objectives.captioning import captioning_loss, next_token_labels
from seetell.learning.objectives.contrastive import contrastive_logits, contrastive_loss
from seetell.learning.objectives.matching import matching_loss, mine_pairs
from seetell.learning.objectives.weighting import FixedWeights, LearnedWeights
from seetell.learning.training.gathering import pairs_of
from seetell.learning.training.objective_spec import ObjectiveSpec
from seetell.learning.training.rows import encode_by_length, some_rows, take
from seetell.learning.training.step import TrainingStep
from seetell.modeling.models.grounded import GroundedModel
from seetell.modeling.parts.attention import KeyValue


class GroundedStep(TrainingStep):
    """``captioning`` where the model writes captions, ``answer_text`` where it answers, ``contrastive`` and
    ``matching`` where it retrieves (Li et al. 2022, section 3.2).

    Args:
        model: the grounded model.
        objectives: what to train; each has what it needs in the model.
        text: the ids that lead what it writes.
        learned_weights: weigh objectives by learned uncertainty instead of fixed weights.
    """

    def __init__(
        self,
        model: GroundedModel,
        objectives: Sequence[ObjectiveSpec],
        text: TextSpec,
        *,
        learned_weights: bool = False,
    ) -> None:
        super().__init__()
        self.model: GroundedModel = model
        self.objectives = {str(spec.name): spec for spec in objectives}
        self.text = text
        weights = {str(spec.name): spec.weight for spec in objectives}
        self.weighting = LearnedWeights(weights) if learned_weights else FixedWeights(weights)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        losses: dict[str, Tensor] = {}
        image = self.model.encode_image(batch.pixel_values)
        if batch.captions is not None:
            if "captioning" in self.objectives:
                losses["captioning"] = self._captioning(batch.captions, image)
            if {"contrastive", "matching"} & self.objectives.keys():
                self._retrieval(batch.captions, batch.keys, image, losses)
        if batch.questions is not None and "answer_text" in self.objectives:
            losses["answer_text"] = self._answers(batch.questions, image)
        if not losses:
            raise ValueError("this batch holds data for none of the objectives")
        total = self.weighting(losses)
        return {"loss": total, **{name: loss.detach() for name, loss in losses.items()}}

    def _captioning(self, captions: Captions, image: Tensor) -> Tensor:
        spec = self.objectives["captioning"]
        rows = some_rows(captions.ids, spec.share)
        ids, photos = captions.ids[rows].clone(), captions.image_index[rows]
        starts = self.text.decoder_start_ids
        ids[:, 0] = torch.tensor(
            [starts[captions.languages[row]] for row in rows.tolist()], device=ids.device
        )
        memory = take(self.model.memory(image), photos)
        return self._decoded(ids, captions.attention_mask[rows], memory, _all(image)[photos], spec)

    def _answers(self, questions: Questions, image: Tensor) -> Tensor:
        spec = self.objectives["answer_text"]
        seen = image[questions.image_index]
        fused = self.model.fuse(questions.ids, questions.attention_mask, seen, _all(seen))
        memory = self.model.memory(fused)
        return self._decoded(
            questions.answer_ids, questions.answer_mask, memory, questions.attention_mask, spec
        )

    def _decoded(
        self,
        ids: Tensor,
        attention_mask: Tensor,
        memory: Sequence[KeyValue],
        memory_mask: Tensor,
        spec: ObjectiveSpec,
    ) -> Tensor:
        inputs, mask, labels = next_token_labels(ids, attention_mask)
        hidden, _ = self.model.decode(inputs, mask, memory, memory_mask)
        asked = labels >= 0
        logits = self.model.token_logits(hidden[asked])
        return captioning_loss(logits, labels[asked], spec.label_smoothing)

    def _retrieval(
        self, captions: Captions, keys: Sequence[str], image: Tensor, losses: dict[str, Tensor]
    ) -> None:
        photos, column = torch.unique(captions.image_index, return_inverse=True)
        text_embeds = encode_by_length(
            lambda *text: self.model.text_embeds(self.model.encode_text(*text)),
            captions.ids,
            captions.attention_mask,
        )
        # The temperature is no weight of this model: its checkpoints do not hold it.
        scale = text_embeds.new_tensor(self.model.config.logit_scale)
        logits = contrastive_logits(self.model.image_embeds(image[photos]), text_embeds, scale)
        left_out = pairs_of(image, text_embeds, captions, keys).left_out
        if spec := self.objectives.get("contrastive"):
            losses["contrastive"] = contrastive_loss(logits, column, spec.label_smoothing, left_out)
        if spec := self.objectives.get("matching"):
            rows = some_rows(column, spec.share)
            pairs = mine_pairs(logits, column, rows, random_share=spec.random_negatives, left_out=left_out)
            seen = image[photos[pairs.image_index]]
            fused = self.model.fuse(
                captions.ids[pairs.text_index], captions.attention_mask[pairs.text_index], seen, _all(seen)
            )
            losses["matching"] = matching_loss(self.model.match_logits(fused), pairs.label)


def _all(image_tokens: Tensor) -> Tensor:
    """bool[B, N]: every token of every photo is one."""
    return torch.ones(image_tokens.shape[:2], dtype=torch.bool, device=image_tokens.device)
