"""Models that are learned from: frozen, without a gradient, and no part of the step that they teach, so that
no optimiser, average or checkpoint knows them.

A ``Teacher`` says what it can teach; the ``Lesson`` it gives of a batch works out what is asked of it, its
image encoder once.
"""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seetell.learning.batch import TeacherInputs
from seetell.learning.stored_outputs import StoredOutputs
from seetell.learning.teacher_inputs import TeacherReader
from seetell.learning.training.objective_spec import ObjectiveName

T = TypeVar("T")

RETRIEVAL: tuple[ObjectiveName, ...] = ("distil_affinity", "distil_features")


class Lesson:
    """What a teacher says of one batch. Rows of captions and questions are places in the batch; a teacher
    is asked for nothing that it does not teach.

    No method is abstract: each kind of teacher has those of what it teaches, and the others raise
    NotImplementedError, which only a fault of ours can bring about (``teaches`` is looked at first).
    """

    # The log of the scale of its similarities.
    logit_scale: Tensor

    def image_embeds(self) -> Tensor:
        """float32[B, S], unit length."""
        raise NotImplementedError

    def text_embeds(self) -> Tensor:
        """Of the captions, float32[R, S], unit length."""
        raise NotImplementedError

    def stages(self) -> tuple[Tensor, ...]:
        """The image encoder's states as maps float[B, C_i, H_i, W_i], coarse last."""
        raise NotImplementedError

    def match_logits(self, captions: Tensor, photos: Tensor) -> Tensor:
        """Of pairs of a caption and a photo, int64[M] each: float[M, 2]."""
        raise NotImplementedError

    def token_logits(self, ids: Tensor, mask: Tensor, photos: Tensor, asked: Tensor) -> Tensor:
        """The next words of ids int64[K, T], mask bool[K, T], of the photos int64[K], where ``asked``
        bool[K, T]: float[M, V]. The ids are those of the teacher's vocabulary."""
        raise NotImplementedError

    def answer_logits(self, photos: Tensor) -> Tensor:
        """Of the batch's questions about the photos int64[Q]: float[Q, A]."""
        raise NotImplementedError


class Teacher:
    """name: for messages. teaches: the objectives it can serve. shared_dim: of its embeddings, 0 without.
    stage_widths: channels of its stages. answers: its closed list. digest: changes with its outputs.
    logit_scale: the log of the scale of its similarities.
    reader: prepares batches for it. photo_size: pixels a side that it wants to see. vocabulary: its
    tokenizer's file, where a student of ours can have the same; else empty."""

    name: str
    teaches: frozenset[ObjectiveName]
    shared_dim: int = 0
    stage_widths: tuple[int, ...] = ()
    answers: tuple[str, ...] = ()
    digest: str
    logit_scale: float = 0.0
    reader: TeacherReader
    photo_size: int = 0
    vocabulary: bytes = b""

    def lesson(self, inputs: TeacherInputs, device: torch.device) -> Lesson:
        """What it says of a batch; works on ``device``, where the inputs are."""
        raise NotImplementedError


class StoredTeacher(Teacher):
    """A teacher that spoke before; of photos and texts, each by itself."""

    def __init__(self, outputs: StoredOutputs) -> None:
        self.name = outputs.name
        self.teaches = frozenset(RETRIEVAL)
        self.shared_dim = outputs.shared_dim
        self.digest = outputs.digest
        self.logit_scale = outputs.logit_scale
        self.reader = outputs
        self.outputs = outputs

    def lesson(self, inputs: TeacherInputs, device: torch.device) -> Lesson:
        return _StoredLesson(inputs, self.outputs.logit_scale)


class _StoredLesson(Lesson):
    def __init__(self, inputs: TeacherInputs, logit_scale: float) -> None:
        self._inputs = inputs
        self.logit_scale = torch.tensor(logit_scale)

    def image_embeds(self) -> Tensor:
        return F.normalize(given(self._inputs.image_embeds), dim=-1)

    def text_embeds(self) -> Tensor:
        return F.normalize(given(self._inputs.text_embeds), dim=-1)


@torch.no_grad()
def stage_widths(image_encoder: nn.Module, image_size: tuple[int, int]) -> tuple[int, ...]:
    """Channels of each of an image encoder's stages, found by running it once."""
    training = image_encoder.training
    found = image_encoder.eval()(torch.zeros(1, 3, *image_size)).stages
    image_encoder.train(training)
    return tuple(int(stage.shape[1]) for stage in found)


def given(value: T | None) -> T:
    assert value is not None, "the teacher was not given what it was asked about"
    return value
