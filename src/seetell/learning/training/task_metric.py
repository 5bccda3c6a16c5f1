"""Which metric tells whether a run gets better at what it teaches, and when that has stopped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seetell.data.records import QuestionRecord
from seetell.learning.training.corpus import at_key, read_questions, read_shard_records, source_name
from seetell.learning.training.objective_spec import like
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
    if source.format == "vqa":
        with at_key("validate.data.0"):
            learned, held = read_questions(source, root)
        return _answers(name, held or learned)
    if source.format == "webdataset" and "caption" not in recipe.taught:
        with at_key("validate.data.0"):
            records = read_shard_records(source, root)[1]
        return _answers(name, records)
    if source.format == "imagefolder":
        return f"{name}.zero_shot.top_1"
    taught = {like(objective.name) for objective in recipe.objectives}
    retrieves = bool(taught & {"contrastive", "matching"})
    return f"{name}.{source.languages[0]}.{'text_to_image.r5' if retrieves else 'captions.cider'}"


def _answers(name: str, records: Sequence[QuestionRecord[Any]]) -> str:
    several = any(len(record.answers) > 1 for record in records)
    return f"{name}.vqa.{'accuracy' if several else 'exact_match'}"
