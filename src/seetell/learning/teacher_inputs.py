"""What a teacher is given of a batch: the very views and texts that its student learns from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seetell.bundle.tokenizer import Tokenizer
from seetell.data.photo_refs import PhotoRef
from seetell.learning.augmentation import Augmentation, random_part
from seetell.learning.batch import TeacherInputs
from seetell.media.preprocess import ImageSpec, preprocess


@dataclass(frozen=True, slots=True)
class SeenPhoto:
    """A photo, uint8[H, W, 3], and how its view is drawn. rng: as it was before the student's view."""

    ref: PhotoRef
    pixels: NDArray[np.uint8]
    rule: Augmentation
    rng: np.random.Generator
    may_flip: bool


@dataclass(frozen=True, slots=True)
class Shown:
    """What the student is shown: the photos as ``image`` prepares them, and the texts of captions and
    questions in the batch's order."""

    image: ImageSpec
    pixel_values: Tensor
    pixel_mask: Tensor | None
    captions: tuple[str, ...]
    questions: tuple[str, ...]


class TeacherReader(Protocol):
    """From a batch's photos and texts to what the teacher makes of them, or made."""

    def read(self, photos: Sequence[SeenPhoto], shown: Shown) -> TeacherInputs:
        """The teacher's part of a batch."""
        ...


class LiveReader:
    """Prepares the batch for a teacher that runs beside its student: the same crop of each photo, mirrored
    and lit the same (Beyer et al. 2022, "a good teacher is patient and consistent"), at the teacher's own
    size and by its own rule; the same texts in its own tokens."""

    def __init__(self, image: ImageSpec, tokenizer: Tokenizer | None) -> None:
        self.image = image
        self._tokenizer = tokenizer

    def read(self, photos: Sequence[SeenPhoto], shown: Shown) -> TeacherInputs:
        """The batch as the teacher reads it."""
        values, mask = shown.pixel_values, shown.pixel_mask
        if shown.image != self.image:
            values, mask = self.prepared(photos)
        return TeacherInputs(values, mask, self.encoded(shown.captions), self.encoded(shown.questions))

    def prepared(self, photos: Sequence[SeenPhoto]) -> tuple[Tensor, Tensor | None]:
        """The views of the photos as the teacher's ``pixel_values``, and its ``pixel_mask``."""
        parts = [random_part(one.pixels, one.rule, one.rng, may_flip=one.may_flip) for one in photos]
        pixels, real = preprocess(parts, self.image)
        return torch.from_numpy(pixels), None if real is None else torch.from_numpy(real)

    def encoded(self, texts: Sequence[str]) -> tuple[Tensor, Tensor] | None:
        """Ids and mask of the texts in the teacher's tokens; None of no texts, and without a tokenizer."""
        if self._tokenizer is None or not texts:
            return None
        ids, mask = self._tokenizer.encode(texts, lead_id=self._tokenizer.spec.bos_id)
        return torch.from_numpy(ids), torch.from_numpy(mask)
