"""Where a student meets its teacher: what a step works out anyway, beside what the teacher says of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from seetell.learning.batch import Batch
from seetell.learning.objectives.contrastive import contrastive_logits
from seetell.learning.objectives.distilling import (
    affinity_loss,
    feature_loss,
    hidden_loss,
    matched_layers,
    soft_target_loss,
)
from seetell.learning.training.gathering import Pairs, gathered
from seetell.learning.training.objective_spec import DISTILLING, ObjectiveName, ObjectiveSpec
from seetell.learning.training.rows import rows_by_language
from seetell.learning.training.teacher import Lesson, Teacher

Losses = dict[str, Tensor]


class Distillation(nn.Module):
    """The ``distil_...`` objectives of a step. What it owns, the projections from the student's widths to the
    teacher's, learns beside the student and is left behind at export.

    Args:
        objectives: those of the step.
        teacher: what is learned from; no part of this module.
        shared_dim, stage_widths: of the student, as a teacher has them.
        answers: the student's closed list.
    """

    student_answers: Tensor
    teacher_answers: Tensor

    def __init__(
        self,
        objectives: Iterable[ObjectiveSpec],
        teacher: Teacher,
        *,
        shared_dim: int,
        stage_widths: Sequence[int] = (),
        answers: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.objectives = {spec.name: spec for spec in objectives if spec.name in DISTILLING}
        self.teacher = teacher
        # One matrix for photos and texts: they share a space, in which they are to stay.
        self.to_space: nn.Module = nn.Identity()
        if "distil_features" in self.objectives and shared_dim != teacher.shared_dim:
            self.to_space = nn.Linear(shared_dim, teacher.shared_dim, bias=False)
        self.layers: list[int] = []
        self.to_stages = nn.ModuleList()
        if "distil_hidden" in self.objectives:
            self.layers = matched_layers(len(stage_widths), len(teacher.stage_widths))
            wanted = [teacher.stage_widths[layer] for layer in self.layers]
            self.to_stages.extend(
                nn.Identity() if own == its else nn.Conv2d(own, its, 1)
                for own, its in zip(stage_widths, wanted, strict=True)
            )
        common = common_answers(answers, teacher.answers)
        places = torch.tensor(common, dtype=torch.long).reshape(-1, 2)
        self.register_buffer("student_answers", places[:, 0], persistent=False)
        self.register_buffer("teacher_answers", places[:, 1], persistent=False)

    def begin(self, batch: Batch) -> Taught:
        """The batch beside what the teacher says of it."""
        assert batch.teacher is not None, "a step with a teacher needs batches prepared for it"
        return Taught(self, self.teacher.lesson(batch.teacher, batch.pixel_values.device))


class Taught:
    """The ``distil_...`` losses of one batch, each from the student's outputs that it compares."""

    def __init__(self, by: Distillation, lesson: Lesson) -> None:
        self._by = by
        self._lesson = lesson

    def wants(self, name: ObjectiveName) -> bool:
        """Whether the objective is one of the step's."""
        return name in self._by.objectives

    def retrieval(self, pairs: Pairs, logit_scale: Tensor) -> Losses:
        """Affinity and features, where they are wanted. pairs: the student's, of this process."""
        losses: Losses = {}
        affinity, features = self.wants("distil_affinity"), self.wants("distil_features")
        if not (affinity or features):
            return losses
        image, text = self._lesson.image_embeds(), self._lesson.text_embeds()
        if affinity:
            told = gathered(replace(pairs, image_embeds=image, text_embeds=text))
            scale = self._lesson.logit_scale.to(image.device)
            losses["distil_affinity"] = _affinity(gathered(pairs), told, logit_scale, scale)
        if features:
            of_photos = feature_loss(self._by.to_space(pairs.image_embeds), image)
            of_texts = feature_loss(self._by.to_space(pairs.text_embeds), text)
            losses["distil_features"] = (of_photos + of_texts) / 2
        return losses

    def hidden(self, stages: Sequence[Tensor]) -> Tensor:
        """The mean over the student's stages."""
        told = self._lesson.stages()
        each = [
            hidden_loss(project(own), told[layer])
            for own, project, layer in zip(stages, self._by.to_stages, self._by.layers, strict=True)
        ]
        return torch.stack(each).mean()

    def matching(self, logits: Tensor, captions: Tensor, photos: Tensor) -> Tensor:
        """Of pairs of a caption and a photo, by their places in the batch: float[M, 2], int64[M] twice."""
        return self._softened("distil_matching", logits, self._lesson.match_logits(captions, photos))

    def captioning(self, logits: Tensor, ids: Tensor, mask: Tensor, photos: Tensor, asked: Tensor) -> Tensor:
        """Of the words ``asked`` for, float[M, V]; the rest as in :meth:`Lesson.token_logits`."""
        told = self._lesson.token_logits(ids, mask, photos, asked)
        return self._softened("distil_captioning", logits, told)

    def answers(self, logits: Tensor, photos: Tensor) -> Tensor:
        """Over the answers that both lists have: float[Q, A] and the questions' photos int64[Q]."""
        told = self._lesson.answer_logits(photos)[:, self._by.teacher_answers]
        return self._softened("distil_answers", logits[:, self._by.student_answers], told)

    def _softened(self, name: ObjectiveName, logits: Tensor, told: Tensor) -> Tensor:
        return soft_target_loss(logits, told, self._by.objectives[name].temperature)


def _affinity(own: Pairs, told: Pairs, own_scale: Tensor, told_scale: Tensor) -> Tensor:
    """Per language, as the contrastive loss is; photos that have no text take no part."""
    photos = torch.unique(own.image_index)
    student = contrastive_logits(own.image_embeds[photos], own.text_embeds, own_scale)
    teacher = contrastive_logits(told.image_embeds[photos], told.text_embeds, told_scale)
    by_language = rows_by_language(own.languages, student.device)
    each = [affinity_loss(student[:, rows], teacher[:, rows]) for rows in by_language.values()]
    return torch.stack(each).mean()


def common_answers(student: Sequence[str], teacher: Sequence[str]) -> list[tuple[int, int]]:
    """Where each answer that both lists have stands in the student's and in the teacher's."""
    places = {answer: place for place, answer in enumerate(teacher)}
    return [(own, places[answer]) for own, answer in enumerate(student) if answer in places]
