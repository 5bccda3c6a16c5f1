"""What a recipe's teacher says of all its photos and captions, written once for training to read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seetell.core.errors import ImageError, RecipeError
from seetell.data.photo_refs import PhotoRef
from seetell.learning.augmentation import Augmentation
from seetell.learning.batch import TeacherInputs
from seetell.learning.photos import PhotoCache
from seetell.learning.stored_outputs import Outputs, photo_name, write_outputs
from seetell.learning.teacher_inputs import LiveReader, SeenPhoto
from seetell.learning.training.corpus import read_corpus
from seetell.learning.training.devices import choose_device, move_batch
from seetell.learning.training.recipe import Recipe
from seetell.learning.training.sections import AugmentSettings
from seetell.learning.training.teacher import Lesson, Teacher
from seetell.learning.training.teaching import read_teacher

T = TypeVar("T")

_BATCH = 64


def write_teacher_outputs(recipe: Recipe, folder: Path) -> Outputs:
    """Write the embeddings of the recipe's photos and captions by its ``teacher.model`` to ``folder``.

    Raises RecipeError where no teacher that
    retrieves is named, ImageError for a photo that cannot be read (unless the recipe skips such photos), and
    what reading teacher and data raise.
    """
    if recipe.teacher is None or recipe.teacher.model is None:
        raise RecipeError("teacher: name the model (teacher.model) whose outputs are to be written")
    teacher = read_teacher(recipe)
    assert teacher is not None and isinstance(teacher.reader, LiveReader)
    if not teacher.shared_dim or "distil_affinity" not in teacher.teaches:
        raise RecipeError(f"teacher: {teacher.name} has no embeddings of photos and texts to write")
    corpus = read_corpus(recipe)
    root = Path(recipe.data_root)
    photos = list(dict.fromkeys(photo for part in corpus.parts for photo in part.photos()))
    texts = list(dict.fromkeys(text for part in corpus.parts for text in part.captions()))
    device = choose_device(recipe.device)
    names: list[str] = []
    photo_rows: list[Tensor] = []
    for shown, lesson in _photo_lessons(recipe, teacher, teacher.reader, photos, device):
        names.extend(photo_name(ref, root) for ref in shown)
        photo_rows.append(lesson.image_embeds().float().cpu())
    text_rows: list[Tensor] = []
    for some in _parts(texts):
        inputs = move_batch(TeacherInputs(captions=teacher.reader.encoded(some)), device)
        text_rows.append(teacher.lesson(inputs, device).text_embeds().float().cpu())
    outputs = Outputs(
        name=teacher.name,
        logit_scale=teacher.logit_scale,
        photo_names=names,
        photos=_rows(photo_rows, teacher.shared_dim),
        texts=texts,
        text_rows=_rows(text_rows, teacher.shared_dim),
    )
    write_outputs(folder, outputs)
    return outputs


def _photo_lessons(
    recipe: Recipe, teacher: Teacher, reader: LiveReader, photos: Sequence[PhotoRef], device: torch.device
) -> Iterator[tuple[list[PhotoRef], Lesson]]:
    still: Augmentation = AugmentSettings.model_validate("none").rule()
    decode = PhotoCache(min_size=teacher.photo_size, budget_bytes=0)
    for some in _parts(photos):
        found: list[SeenPhoto] = []
        for ref in some:
            try:
                pixels = decode.read(ref)
            except ImageError:
                if recipe.unreadable_photos == "stop":
                    raise
                continue
            found.append(SeenPhoto(ref, pixels, still, np.random.default_rng(0), may_flip=False))
        if found:
            inputs = TeacherInputs(*reader.prepared(found))
            yield [one.ref for one in found], teacher.lesson(move_batch(inputs, device), device)


def _parts(entries: Sequence[T]) -> Iterable[Sequence[T]]:
    return (entries[first : first + _BATCH] for first in range(0, len(entries), _BATCH))


def _rows(parts: Sequence[Tensor], width: int) -> NDArray[np.float32]:
    rows: NDArray[np.float32] = torch.cat([torch.zeros(0, width), *parts]).numpy()
    return rows
