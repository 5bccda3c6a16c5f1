"""Which metric tells whether a run gets better at what it teaches, and when that has stopped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seetell.data.records import QuestionRecord
from seetell.learning.training.corpus import at_key
from seetell.learning.training.objective_spec import like
from seetell.learning.training.reading import read_measured_samples, source_name
from seetell.learning.training.recipe import Recipe
from seetell.learning.training.sections import ValidationSettings

PATIENCE = 3


def with_stop(recipe: Recipe) -> Recipe:
    """The recipe with the task's own metric to stop on, where its ``validate`` names none, and patience."""
    settings = recipe.validation
    if settings is None or not settings.data:
        return recipe
    changes: dict[str, Any] = {}
    if settings.stop_on is None:
        changes["stop_on"] = task_metric(recipe, settings)
    if "patience" not in settings.model_fields_set:
        changes["patience"] = PATIENCE
    return recipe.model_copy(update={"validation": settings.model_copy(update=changes)})


def task_metric(recipe: Recipe, settings: ValidationSettings) -> str:
    """The metric of what the recipe teaches, on the first source it measures on: text-to-image recall at 5 of
    retrieval, CIDEr of captions, VQA accuracy of answers (exact match where each question has one)."""
    root = Path(recipe.data_root)
    source = settings.data[0]
    name = source_name(source, root)
    if "ask" in source.tasks and (source.tasks == ("ask",) or "caption" not in recipe.taught):
        with at_key("validate.data.0"):
            samples = read_measured_samples(source, root)
        return _answers(name, [record for sample in samples for record in sample.question_records()])
    if source.format == "imagefolder":
        return f"{name}.zero_shot.top_1"
    taught = {like(objective.name) for objective in recipe.objectives}
    retrieves = bool(taught & {"contrastive", "matching"})
    return f"{name}.{source.languages[0]}.{'text_to_image.r5' if retrieves else 'captions.cider'}"


def _answers(name: str, records: Sequence[QuestionRecord[Any]]) -> str:
    several = any(len(record.answers) > 1 for record in records)
    return f"{name}.vqa.{'accuracy' if several else 'exact_match'}"
