"""Where ViLT meets its question answering: every answer of a closed list by itself."""

from __future__ import annotations

from torch import Tensor

from seetell.learning.batch import Batch
from seetell.learning.objectives.classification import several_right_loss
from seetell.learning.training.objective_spec import ObjectiveSpec
from seetell.learning.training.step import TrainingStep
from seetell.modeling.models.single_stream import SingleStreamModel


class SingleStreamStep(TrainingStep):
    """One objective, ``answer_list``, taught as ViLT was: binary cross-entropy over the list.

    Args:
        model: one with an answer head.
        spec: the objective's weight.
    """

    def __init__(self, model: SingleStreamModel, spec: ObjectiveSpec) -> None:
        super().__init__()
        self.model: SingleStreamModel = model
        self.spec = spec

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        questions = batch.questions
        if questions is None:
            raise ValueError("this batch holds no questions, and nothing else teaches answers")
        values, photos = batch.pixel_values, questions.image_index
        whole = values.new_ones(values[:, 0].shape).bool()
        tokens, mask = self.model.encode_image(
            values, whole if batch.pixel_mask is None else batch.pixel_mask
        )
        fused = self.model.fuse(questions.ids, questions.attention_mask, tokens[photos], mask[photos])
        loss = several_right_loss(self.model.answer_logits(fused), questions.answer_index)
        return {"loss": self.spec.weight * loss, "answer_list": loss.detach()}
