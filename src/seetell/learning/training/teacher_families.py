"""Teachers that run beside their students, one for each family of models that can teach."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seetell.bundle.tokenizer import Tokenizer
from seetell.core.errors import RecipeError
from seetell.learning.batch import TeacherInputs
from seetell.learning.teacher_inputs import LiveReader
from seetell.learning.training.description import taught_before
from seetell.learning.training.objective_spec import ObjectiveName, like
from seetell.learning.training.rows import encode_by_length, take
from seetell.learning.training.teacher import RETRIEVAL, Lesson, Teacher, given, stage_widths
from seetell.modeling.models.dual_encoder import DualEncoder
from seetell.modeling.models.grounded import GroundedModel
from seetell.modeling.models.single_stream import SingleStreamModel
from seetell.modeling.models.unified import EncodedImage, UnifiedModel
from seetell.modeling.parts.attention import KeyValue
from seetell.modeling.parts.image import ImageTokens
from seetell.modeling.start import Start


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
        before = taught_before(start)
        taught = (name for name in _OF_OURS if like(name) in before or like(name) == name)
        super().__init__(start, taught)
        assert isinstance(start.model, UnifiedModel)
        self.shared_dim = start.model.config.shared_dim
        self.vocabulary = start.tokenizer_json or b""

    def lesson(self, inputs: TeacherInputs, device: torch.device) -> Lesson:
        text = self.text
        lead = None if text is None else text.fusion_bos_id
        return _UnifiedLesson(cast(UnifiedModel, self.on(device)), inputs, lead)


_OF_OURS: tuple[ObjectiveName, ...] = (
    *RETRIEVAL,
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
        return self._model.encode_image(given(self._inputs.pixel_values))

    @cached_property
    @torch.no_grad()
    def _memory(self) -> list[KeyValue]:
        return self._model.memory(self._image.tokens)

    def image_embeds(self) -> Tensor:
        return self._image.embeds

    @torch.no_grad()
    def text_embeds(self) -> Tensor:
        return encode_by_length(
            lambda *text: self._model.encode_text(*text).embeds, *given(self._inputs.captions)
        )

    def stages(self) -> tuple[Tensor, ...]:
        return self._image.stages

    @torch.no_grad()
    def match_logits(self, captions: Tensor, photos: Tensor) -> Tensor:
        ids, mask = given(self._inputs.captions)
        return self._model.match_logits(self._fused(ids[captions], mask[captions], photos))

    @torch.no_grad()
    def token_logits(self, ids: Tensor, mask: Tensor, photos: Tensor, asked: Tensor) -> Tensor:
        memory, seen = take(self._memory, photos), self._image.mask[photos]
        hidden, _ = self._model.decode(ids, mask, memory, seen)
        return self._model.token_logits(hidden[asked])

    @torch.no_grad()
    def answer_logits(self, photos: Tensor) -> Tensor:
        ids, mask = given(self._inputs.questions)
        return self._model.answer_logits(self._fused(ids, mask, photos))

    def _fused(self, ids: Tensor, mask: Tensor, photos: Tensor) -> Tensor:
        tokens = self._model.encode_text(_led(ids, self._lead), mask).tokens
        memory = None if self._model.decoder is not None else take(self._memory, photos)
        image = self._image
        return self._model.fuse(tokens, mask, image.tokens[photos], image.mask[photos], memory)


class DualEncoderTeacher(_ModelTeacher):
    """CLIP, SigLIP and their like. SigLIP's similarities are softened as if a softmax were over them."""

    def __init__(self, start: Start) -> None:
        super().__init__(start, (*RETRIEVAL, "distil_hidden"))
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
        return self._model.image_embeds(given(self._inputs.pixel_values))

    @torch.no_grad()
    def text_embeds(self) -> Tensor:
        texts = given(self._inputs.captions)
        if self._model.config.text.reads_padding:
            return self._model.text_embeds(*texts)
        return encode_by_length(self._model.text_embeds, *texts)

    @torch.no_grad()
    def stages(self) -> tuple[Tensor, ...]:
        found: tuple[Tensor, ...] = self._model.image_encoder(given(self._inputs.pixel_values)).stages
        return found


class GroundedTeacher(_ModelTeacher):
    """BLIP. It retrieves and matches where it has the heads, and else shows what its image encoder sees: the
    words that it writes are none that another family has."""

    def __init__(self, start: Start) -> None:
        assert isinstance(start.model, GroundedModel)
        self.shared_dim = start.model.config.shared_dim
        matches: tuple[ObjectiveName, ...] = (*RETRIEVAL, "distil_matching") if self.shared_dim else ()
        super().__init__(start, (*matches, "distil_hidden"))

    def lesson(self, inputs: TeacherInputs, device: torch.device) -> Lesson:
        lead = None if self.text is None else self.text.fusion_bos_id
        return _GroundedLesson(cast(GroundedModel, self.on(device)), inputs, lead)


class _GroundedLesson(Lesson):
    def __init__(self, model: GroundedModel, inputs: TeacherInputs, fuse_lead: int | None) -> None:
        self._model, self._inputs, self._lead = model, inputs, fuse_lead
        self.logit_scale = torch.tensor(model.config.logit_scale)

    @cached_property
    @torch.no_grad()
    def _image(self) -> ImageTokens:
        found: ImageTokens = self._model.image_encoder(given(self._inputs.pixel_values))
        return found

    @torch.no_grad()
    def image_embeds(self) -> Tensor:
        return self._model.image_embeds(self._image.tokens).float()

    @torch.no_grad()
    def text_embeds(self) -> Tensor:
        model = self._model
        return encode_by_length(
            lambda *text: model.text_embeds(model.encode_text(*text)).float(), *given(self._inputs.captions)
        )

    def stages(self) -> tuple[Tensor, ...]:
        return self._image.stages

    @torch.no_grad()
    def match_logits(self, captions: Tensor, photos: Tensor) -> Tensor:
        ids, mask = (rows[captions] for rows in given(self._inputs.captions))
        seen = self._image.mask[photos]
        fused = self._model.fuse(_led(ids, self._lead), mask, self._image.tokens[photos], seen)
        return self._model.match_logits(fused)


class SingleStreamTeacher(_ModelTeacher):
    """ViLT, which answers from a closed list."""

    def __init__(self, start: Start) -> None:
        super().__init__(start, ("distil_answers",) if start.facts.answers else ())

    def lesson(self, inputs: TeacherInputs, device: torch.device) -> Lesson:
        lead = None if self.text is None else self.text.fusion_bos_id
        return _SingleStreamLesson(cast(SingleStreamModel, self.on(device)), inputs, lead)


class _SingleStreamLesson(Lesson):
    def __init__(self, model: SingleStreamModel, inputs: TeacherInputs, fuse_lead: int | None) -> None:
        self._model, self._inputs, self._lead = model, inputs, fuse_lead

    @torch.no_grad()
    def answer_logits(self, photos: Tensor) -> Tensor:
        """Each answer is told by a sigmoid of its own; the softmax over their logarithms is their share."""
        ids, mask = given(self._inputs.questions)
        values = given(self._inputs.pixel_values)
        whole = torch.ones_like(values[:, 0]).bool()
        real = whole if self._inputs.pixel_mask is None else self._inputs.pixel_mask
        tokens, token_mask = self._model.encode_image(values, real)
        fused = self._model.fuse(_led(ids, self._lead), mask, tokens[photos], token_mask[photos])
        return F.logsigmoid(self._model.answer_logits(fused).float())


_KINDS: tuple[tuple[type[nn.Module], Callable[[Start], Teacher]], ...] = (
    (UnifiedModel, UnifiedTeacher),
    (DualEncoder, DualEncoderTeacher),
    (GroundedModel, GroundedTeacher),
    (SingleStreamModel, SingleStreamTeacher),
)


def teacher_of(start: Start) -> Teacher:
    """The teacher that a model makes. Raises RecipeError for one that cannot teach."""
    for kind, teacher in _KINDS:
        if start.facts.image is not None and isinstance(start.model, kind):
            return teacher(start)
    raise RecipeError(
        f"teacher: {start.facts.name} cannot teach; models of ours can, CLIP and its like, BLIP and ViLT"
    )


def _led(ids: Tensor, lead: int | None) -> Tensor:
    """The ids with the lead that the fusion reads, where it has one of its own."""
    if lead is None:
        return ids
    ids = ids.clone()
    ids[:, 0] = lead
    return ids


def _digest(model: nn.Module) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
