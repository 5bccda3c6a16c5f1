"""What a training step receives: one batch of photos and the texts, questions and labels that go with them.

Photos of all sources travel in one tensor, so that the image encoder runs once per step; every other
record names its photo by ``image_index``. Token rows are ``[LEAD] words [EOS]`` padded on the right to
the longest row; the lead in column 0 is [CLS] and an objective that needs another lead replaces it.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from seetell.modeling.parts.efficientnet import LAST_STAGE


@dataclass(frozen=True, slots=True)
class Captions:
    """R captions.

    ids: int64[R, T]. attention_mask: bool[R, T]. image_index: int64[R].
    languages: R language codes.
    """

    ids: Tensor
    attention_mask: Tensor
    image_index: Tensor
    languages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Questions:
    """Q questions with one answer each.

    ids, attention_mask: int64 and bool [Q, T]. answer_ids, answer_mask: int64 and bool [Q, Ta],
    ``[ANSWER] words [EOS]``. answer_index: int64[Q], the place in the answer list, -100 outside it.
    """

    ids: Tensor
    attention_mask: Tensor
    image_index: Tensor
    answer_ids: Tensor
    answer_mask: Tensor
    answer_index: Tensor


@dataclass(frozen=True, slots=True)
class Labels:
    """L labelled photos. image_index, label: int64[L]."""

    image_index: Tensor
    label: Tensor


@dataclass(frozen=True, slots=True)
class Tags:
    """P photos with what their questions' answers say of them.

    image_index: int64[P]. target: float32[P, A] over the answer list, rows of sum 1: evenly over the
    photo's answers.
    """

    image_index: Tensor
    target: Tensor


@dataclass(frozen=True, slots=True)
class Names:
    """L labelled photos of one source, and what every label of the source is called.

    image_index: int64[L]. target: int64[L], the place of the photo's label among the C names.
    ids, attention_mask: int64 and bool [C, T].
    """

    image_index: Tensor
    target: Tensor
    ids: Tensor
    attention_mask: Tensor


@dataclass(frozen=True, slots=True)
class TeacherInputs:
    """What the teacher reads of the same batch, or what it has said of it before.

    pixel_values: float32[B, 3, H, W] and pixel_mask: bool[B, H, W], the same views of the photos, prepared as
    the teacher's are. captions, questions: ids int64[n, T] and mask bool[n, T] in its tokens, in the batch's
    order. image_embeds: float32[B, S] and text_embeds: float32[R, S], stored outputs, in place of all these.
    """

    pixel_values: Tensor | None = None
    pixel_mask: Tensor | None = None
    captions: tuple[Tensor, Tensor] | None = None
    questions: tuple[Tensor, Tensor] | None = None
    image_embeds: Tensor | None = None
    text_embeds: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """keys: the photos' names, for messages. pixel_values: float32[B, 3, H, W], normalised. pixel_mask:
    bool[B, H, W], True on the photo, where photos may be smaller than their row.
    maps: float32[B, C, H, W], what the frozen layers of the image encoder make of the photos, map_stage: the
    stage they end with, and map_mask: bool[B, h, w] over the cells of the last; ``pixel_values`` then has no
    rows."""

    keys: tuple[str, ...]
    pixel_values: Tensor
    captions: Captions | None = None
    questions: Questions | None = None
    labels: Labels | None = None
    tags: Tags | None = None
    names: tuple[Names, ...] = ()
    pixel_mask: Tensor | None = None
    teacher: TeacherInputs | None = None
    maps: Tensor | None = None
    map_mask: Tensor | None = None
    map_stage: int = LAST_STAGE

    @property
    def padding_share(self) -> float:
        """What share of the places for words of captions and questions is padding; 0 without any."""
        masks = [part.attention_mask for part in (self.captions, self.questions) if part is not None]
        places = sum(mask.numel() for mask in masks)
        return 1.0 - sum(int(mask.sum()) for mask in masks) / places if places else 0.0
