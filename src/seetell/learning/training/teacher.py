"""Models that are learned from: frozen, without a gradient, and no part of the step that they teach, so that
no optimiser, average or checkpoint knows them.

A ``Teacher`` says what it can teach; the ``Lesson`` it gives of a batch works out what is asked of it, its
image encoder once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cached_property
from typing import TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seetell.bundle.tokenizer import Tokenizer
from seetell.core.errors import RecipeError
from seetell.learning.batch import TeacherInputs
from seetell.learning.stored_outputs import StoredOutputs
from seetell.learning.teacher_inputs import LiveReader, TeacherReader
from seetell.learning.training.objective_spec import ObjectiveName
from seetell.learning.training.rows import encode_by_length, take
from seetell.modeling.export.run import like
from seetell.modeling.export.start import Start
from seetell.modeling.models.dual_encoder import DualEncoder
from seetell.modeling.models.unified import EncodedImage, UnifiedModel
from seetell.modeling.parts.attention import KeyValue

T = TypeVar("T")

_RETRIEVAL: tuple[ObjectiveName, ...] = ("distil_affinity", "distil_features")


class Lesson:
    """What a teacher says of one batch. Rows of captions and questions are places in the batch; a teacher
    is asked for nothing that it does not teach."""

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


class _ModelTeacher(Teacher):
    """A teacher that runs beside its student."""

    def __init__(self, start: Start, teaches: Iterable[ObjectiveName]) -> None:
        facts = start.facts
        assert facts.image is not None
        self.name = facts.name
        self.teaches = frozenset(teaches)
        self.answers = facts.answers
        self.text = facts.text
        model = start.model.eval().requires_grad_(False)
        self._model: nn.Module = model
        self._device = torch.device("cpu")
        self.digest = _digest(model)
        tokenizer = None
        if facts.text is not None and start.tokenizer_json is not None:
            tokenizer = Tokenizer(start.tokenizer_json.decode("utf-8"), facts.text)
        self.reader = LiveReader(facts.image, tokenizer)
        self.photo_size = max(facts.image.min_source_size)
        self.logit_scale = start.model.score.logit_scale
        limits = start.model.limits
        assert limits.image_size is not None
        if "distil_hidden" in self.teaches:
            self.stage_widths = stage_widths(cast("nn.Module", start.model.image_encoder), limits.image_size)

    def on(self, device: torch.device) -> nn.Module:
        """The model where the batch is."""
        if device != self._device:
            self._model.to(device)
            self._device = device
        return self._model


class UnifiedTeacher(_ModelTeacher):
    """A model of ours; it teaches what it was taught."""

    def __init__(self, start: Start) -> None:
        taught = (name for name in _OF_OURS if like(name) in start.taught or like(name) == name)
        super().__init__(start, taught)
        assert isinstance(start.model, UnifiedModel)
        self.shared_dim = start.model.config.shared_dim
        self.vocabulary = start.tokenizer_json or b""

    def lesson(self, inputs: TeacherInputs, device: torch.device) -> Lesson:
        text = self.text
        lead = None if text is None else text.fusion_bos_id
        return _UnifiedLesson(cast(UnifiedModel, self.on(device)), inputs, lead)


_OF_OURS: tuple[ObjectiveName, ...] = (
    *_RETRIEVAL,
    "distil_matching",
    "distil_captioning",
    "distil_answers",
    "distil_hidden",
)


class _UnifiedLesson(Lesson):
    def __init__(self, model: UnifiedModel, inputs: TeacherInputs, fuse_lead: int | None) -> None:
        self._model, self._inputs, self._lead = model, inputs, fuse_lead
        self.logit_scale = model.logit_scale.detach()

    @cached_property
    @torch.no_grad()
    def _image(self) -> EncodedImage:
        return self._model.encode_image(_given(self._inputs.pixel_values))

    @cached_property
    @torch.no_grad()
    def _memory(self) -> list[KeyValue]:
        return self._model.memory(self._image.tokens)

    def image_embeds(self) -> Tensor:
        return self._image.embeds

    @torch.no_grad()
    def text_embeds(self) -> Tensor:
        return encode_by_length(
            lambda *text: self._model.encode_text(*text).embeds, *_given(self._inputs.captions)
        )

    def stages(self) -> tuple[Tensor, ...]:
        return self._image.stages

    @torch.no_grad()
    def match_logits(self, captions: Tensor, photos: Tensor) -> Tensor:
        ids, mask = _given(self._inputs.captions)
        return self._model.match_logits(self._fused(ids[captions], mask[captions], photos))

    @torch.no_grad()
    def token_logits(self, ids: Tensor, mask: Tensor, photos: Tensor, asked: Tensor) -> Tensor:
        memory, seen = take(self._memory, photos), self._image.mask[photos]
        hidden, _ = self._model.decode(ids, mask, memory, seen)
        return self._model.token_logits(hidden[asked])

    @torch.no_grad()
    def answer_logits(self, photos: Tensor) -> Tensor:
        ids, mask = _given(self._inputs.questions)
        return self._model.answer_logits(self._fused(ids, mask, photos))

    def _fused(self, ids: Tensor, mask: Tensor, photos: Tensor) -> Tensor:
        ids = ids.clone()
        if self._lead is not None:
            ids[:, 0] = self._lead
        tokens = self._model.encode_text(ids, mask).tokens
        memory = None if self._model.decoder is not None else take(self._memory, photos)
        image = self._image
        return self._model.fuse(tokens, mask, image.tokens[photos], image.mask[photos], memory)


class DualEncoderTeacher(_ModelTeacher):
    """CLIP, SigLIP and their like. SigLIP's similarities are softened as if a softmax were over them."""

    def __init__(self, start: Start) -> None:
        super().__init__(start, (*_RETRIEVAL, "distil_hidden"))
        assert isinstance(start.model, DualEncoder)
        self.shared_dim = start.model.config.shared_dim

    def lesson(self, inputs: TeacherInputs, device: torch.device) -> Lesson:
        return _DualEncoderLesson(cast(DualEncoder, self.on(device)), inputs)


class _DualEncoderLesson(Lesson):
    def __init__(self, model: DualEncoder, inputs: TeacherInputs) -> None:
        self._model, self._inputs = model, inputs
        self.logit_scale = model.logit_scale.detach()

    @torch.no_grad()
    def image_embeds(self) -> Tensor:
        return self._model.image_embeds(_given(self._inputs.pixel_values))

    @torch.no_grad()
    def text_embeds(self) -> Tensor:
        texts = _given(self._inputs.captions)
        if self._model.config.text.reads_padding:
            return self._model.text_embeds(*texts)
        return encode_by_length(self._model.text_embeds, *texts)

    @torch.no_grad()
    def stages(self) -> tuple[Tensor, ...]:
        found: tuple[Tensor, ...] = self._model.image_encoder(_given(self._inputs.pixel_values)).stages
        return found


class StoredTeacher(Teacher):
    """A teacher that spoke before; of photos and texts, each by itself."""

    def __init__(self, outputs: StoredOutputs) -> None:
        self.name = outputs.name
        self.teaches = frozenset(_RETRIEVAL)
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
        return F.normalize(_given(self._inputs.image_embeds), dim=-1)

    def text_embeds(self) -> Tensor:
        return F.normalize(_given(self._inputs.text_embeds), dim=-1)


def teacher_of(start: Start) -> Teacher:
    """The teacher that a model makes. Raises RecipeError for one that cannot teach."""
    if start.facts.image is not None and isinstance(start.model, UnifiedModel):
        return UnifiedTeacher(start)
    if start.facts.image is not None and isinstance(start.model, DualEncoder):
        return DualEncoderTeacher(start)
    raise RecipeError(
        f"teacher: {start.facts.name} cannot teach; a model of ours can, and CLIP, SigLIP and their like"
    )


@torch.no_grad()
def stage_widths(image_encoder: nn.Module, image_size: tuple[int, int]) -> tuple[int, ...]:
    """Channels of each of an image encoder's stages, found by running it once."""
    training = image_encoder.training
    found = image_encoder.eval()(torch.zeros(1, 3, *image_size)).stages
    image_encoder.train(training)
    return tuple(int(stage.shape[1]) for stage in found)


def _given(value: T | None) -> T:
    assert value is not None, "the teacher was not given what it was asked about"
    return value


def _digest(model: nn.Module) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
