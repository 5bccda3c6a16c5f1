"""The teacher that a recipe names, and whether it can teach what the recipe asks of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from seetell.bundle.tokenizer import Tokenizer
from seetell.core.errors import RecipeError
from seetell.learning.stored_outputs import StoredOutputs
from seetell.learning.training.corpus import Corpus
from seetell.learning.training.distilling import common_answers
from seetell.learning.training.objective_spec import DISTILLING, like
from seetell.learning.training.recipe import Recipe
from seetell.learning.training.teacher import StoredTeacher, Teacher
from seetell.learning.training.teacher_families import teacher_of
from seetell.modeling.start import read_start

# Fewer answers in common are no distribution.
_FEWEST_ANSWERS = 2


def read_teacher(recipe: Recipe) -> Teacher | None:
    """The recipe's teacher, None where it has none.

    Raises RecipeError for one that cannot teach an objective that asks for it, and BundleError,
    CheckpointError or DataError for one that cannot be read.
    """
    if recipe.teacher is None:
        return None
    teacher: Teacher
    if recipe.teacher.outputs is not None:
        teacher = StoredTeacher(StoredOutputs(Path(recipe.teacher.outputs), Path(recipe.data_root)))
    else:
        teacher = teacher_of(read_start(str(recipe.teacher.model), "teacher"))
    for spec in recipe.objectives:
        if spec.name in DISTILLING and spec.name not in teacher.teaches:
            lacks = "" if like(spec.name) == spec.name else f", which needs {like(spec.name)}"
            able = ", ".join(sorted(teacher.teaches)) or "nothing"
            raise RecipeError(
                f"objectives: the teacher {teacher.name} cannot serve {spec.name}{lacks}; it serves {able}"
            )
    return teacher


def check_outputs(corpus: Corpus, teacher: Teacher) -> None:
    """Raise DataError naming a photo or caption of the corpus of which a teacher that spoke before said
    nothing."""
    if isinstance(teacher, StoredTeacher):
        for part in corpus.parts:
            for photo in part.photos():
                teacher.outputs.image_rows([photo])
            for text in part.captions():
                teacher.outputs.text_rows([text])


def check_teacher(
    recipe: Recipe, teacher: Teacher, tokenizer_json: str, tokenizer: Tokenizer, answers: Sequence[str]
) -> None:
    """Raise RecipeError where student and teacher do not speak of the same words or answers."""
    names = {spec.name for spec in recipe.objectives}
    if "distil_captioning" in names and not _same_words(tokenizer_json, teacher.vocabulary):
        raise RecipeError(
            "objectives: distil_captioning compares word by word, and the student's tokenizer"
            f" ({tokenizer.vocab_size} words) is not that of {teacher.name}; leave out tokenizer.path and"
            " init, or start from a model that has it"
        )
    if "distil_answers" in names:
        common = len(common_answers(answers, teacher.answers))
        if common < _FEWEST_ANSWERS:
            raise RecipeError(
                f"objectives: distil_answers compares the answers that both lists have, and of the"
                f" {len(answers)} here {teacher.name} has {common or 'none'}"
            )


def _same_words(one: str, other: bytes) -> bool:
    return bool(other) and json.loads(one) == json.loads(other)
