"""Which run a checkpoint is of: a hash of what must stay the same for a run to go on from it, and the refusal
of another run's folder before anything in it is changed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from torch import nn

from seetell.learning.training import checkpoint as checkpoints
from seetell.learning.training.corpus import Corpus
from seetell.learning.training.recipe import Recipe
from seetell.learning.training.sections import DataSettings, TuneSettings
from seetell.learning.training.teacher import Teacher

# Of a source's settings, those that say which photos and texts of it are learned from.
_CHOOSING = ("split", "limit", "holdout", "languages")


def fingerprint(
    recipe: Recipe, corpus: Corpus, step: nn.Module, tokenizer_json: bytes, teacher: Teacher | None = None
) -> str:
    """A hash of what makes a checkpoint fit a run: the model, its tokenizer and teacher, the data and the
    seed.

    Learning rate, number of steps, validation and the like may change when a run goes on, and so may the
    place of the data: photos and texts go by their names and numbers within a source.
    """
    # Runs go by a hash of this to the letter: nothing in it changes that need not.
    document: dict[str, Any] = {
        "parameters": [(name, list(tensor.shape)) for name, tensor in step.state_dict().items()],
        "photos": [(part.settings.format, part.settings.path, part.samples.state()) for part in corpus.parts],
        "sources": [(_chosen(part.settings), part.samples.digest()) for part in corpus.parts],
        "answers": corpus.answers,
        "labels": corpus.labels,
        "tokenizer": hashlib.sha256(tokenizer_json).hexdigest(),
        "batch_sizes": recipe.batch_sizes(),
        "accumulate": recipe.accumulate,
        "seed": recipe.seed,
        "ema": recipe.ema is not None,
    }
    if recipe.tune != TuneSettings():
        document["tune"] = recipe.tune.model_dump(mode="json", exclude={"layer_decay", "rates"})
    if teacher is not None:
        document["teacher"] = teacher.digest
    pools = [part.settings.length_pool for part in corpus.parts]
    if any(pool > 1 for pool in pools):
        document["length_pools"] = pools
    return _hash(document)


def _hash(document: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def _chosen(settings: DataSettings) -> dict[str, Any]:
    return settings.model_dump(mode="json", include=set(_CHOOSING))


def check_same_run(folder: Path, recipe: Recipe, found: str) -> None:
    """Raises CheckpointError where the run in ``folder`` is another.

    To be called before anything is written there: what lies beside the checkpoints is theirs.
    """
    path = checkpoints.latest(folder / "checkpoints")
    if path is None or checkpoints.read_fingerprint(path) == found:
        return
    before = recipe_before(folder)
    raise checkpoints.another_run(path, None if before is None else _difference(before, recipe))


def recipe_before(folder: Path) -> Recipe | None:
    """The recipe of the run that was begun in ``folder``; None where it is missing or damaged."""
    try:
        document = yaml.safe_load((folder / "recipe.yaml").read_text(encoding="utf-8"))
        return Recipe.model_validate(document)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValidationError):
        return None


def _chosen_otherwise(before: Recipe, now: Recipe) -> str | None:
    """The first setting by which other photos or texts of a source are chosen."""
    for place, (one, other) in enumerate(zip(before.data, now.data, strict=False)):
        for key in _CHOOSING:
            if getattr(one, key) != getattr(other, key):
                return f"data.{place}.{key}"
    return None


def _difference(before: Recipe, now: Recipe) -> str | None:
    """The first setting that makes ``now`` another run than ``before``, if it is one that is easily named."""
    for key in ("seed", "accumulate"):
        if getattr(before, key) != getattr(now, key):
            return key
    if len(before.data) != len(now.data):
        return "data"
    if (before.ema is None) != (now.ema is None):
        return "ema"
    for place, (one, other) in enumerate(zip(before.data, now.data, strict=True)):
        for key in ("format", "path"):
            if getattr(one, key) != getattr(other, key):
                return f"data.{place}.{key}"
    return _chosen_otherwise(before, now)
