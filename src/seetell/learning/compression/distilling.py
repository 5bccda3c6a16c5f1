"""The stage that teaches a smaller model again, by a recipe, with the whole one as its teacher."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from seetell.bundle.store import Bundle
from seetell.core.errors import UsageError
from seetell.learning.compression.settings import Distilling
from seetell.learning.training.objective_spec import DISTILLING
from seetell.learning.training.recipe import Recipe, read_recipe
from seetell.learning.training.run import run as train
from seetell.learning.training.validation import build_guard, build_validate
from seetell.modeling.export.conversion import convert_run

# What the command itself fills in.
_FILLED = ("init", "checkpoint.dir")
# Of a recipe, what changes nothing of what is learned.
_BESIDE = {"init", "checkpoint", "loading", "trackers"}


def read_distilling(wish: Distilling, source: Bundle, student: Path | None, run_folder: Path) -> Recipe:
    """The recipe, its ``init``, ``teacher`` and ``checkpoint.dir`` filled in.

    Args:
        source: what is compressed. It is the teacher where the recipe names none and something learns from
            one.
        student: the folder of the smaller bundle, which need not be there yet; None where nothing made it
            smaller: the recipe's own ``init`` or ``model`` then, else ``source`` itself.
        run_folder: of the training run.

    Raises RecipeError, and UsageError for an override of what is filled in.
    """
    told = {override.partition("=")[0].strip() for override in wish.overrides}
    for key in _FILLED:
        if key in told:
            raise UsageError(f"--distill-set {key}=...: seetell compress fills it in; leave it out")
    document = _document(wish.recipe)
    own_model = document.get("model") is not None or any(key.partition(".")[0] == "model" for key in told)
    if student is not None and own_model:
        raise UsageError(
            f"{wish.recipe}: model: what is taught is what --prune and --merge-tokens leave; leave it out"
        )
    filled = {"checkpoint.dir": str(run_folder.resolve())}
    if student is not None:
        filled["init"] = str(student.resolve())
    elif not own_model and document.get("init") is None:
        filled["init"] = str(source.folder.resolve())
    has_teacher = document.get("teacher") is not None or any(key.startswith("teacher") for key in told)
    if not has_teacher and DISTILLING & _objectives(document):
        filled["teacher"] = str(source.folder.resolve())
    ours = tuple(f"{key}={json.dumps(value)}" for key, value in filled.items())
    return read_recipe(wish.recipe, (*wish.overrides, *ours))


def _document(path: Path) -> dict[str, Any]:
    """The recipe's file; empty where it is none, which reading it as a recipe says better."""
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}
    return found if isinstance(found, dict) else {}


def _objectives(document: Mapping[str, Any]) -> set[str]:
    listed = document.get("objectives")
    entries = listed if isinstance(listed, list) else []
    return {str(one.get("name")) for one in entries if isinstance(one, dict)}


def made_from(recipe: Recipe, source: Bundle) -> dict[str, Any]:
    """What the training depends on, besides its student and the content of its data."""
    document = recipe.model_dump(mode="json", by_alias=True, exclude=_BESIDE)
    if document.get("teacher") == {"model": str(source.folder.resolve()), "outputs": None}:
        document["teacher"] = "the source"
    return document


def distil(
    wish: Distilling, recipe: Recipe, source: Bundle, out: Path, say: Callable[[str], None]
) -> dict[str, Any]:
    """Train by the recipe, from its last checkpoint where there is one, and write the model as a bundle to
    ``out``; what was done, as plain types.

    Raises what training and converting raise; KeyboardInterrupt where a signal has stopped the training.
    """
    teacher = _teacher(recipe, source)
    say(f"teaching it by {wish.recipe.name}" + ("" if teacher is None else f", {teacher} as its teacher"))
    folder = Path(recipe.checkpoint.dir)
    result = train(recipe, build_validate=build_validate, build_guard=build_guard)
    if result.outcome == "interrupted":
        raise KeyboardInterrupt
    say("exporting what was taught")
    manifest = source.manifest
    origin = manifest.source.model_copy(
        update={"recipe": f"{wish.recipe.name}, {result.step} steps", "commit": None}
    )
    # What the recipe says of its bundle stands; else it goes by the name of what it was made from.
    named = {"name": manifest.name, "version": manifest.version, "source": origin}
    convert_run(folder, out, facts=None if recipe.bundle is not None else named)
    return {
        "recipe": wish.recipe.name,
        "objectives": [spec.name for spec in recipe.objectives],
        "teacher": teacher,
        "steps": result.step,
        "outcome": result.outcome,
    }


def _teacher(recipe: Recipe, source: Bundle) -> str | None:
    """What the teacher is called."""
    if recipe.teacher is None:
        return None
    named = str(recipe.teacher.model or recipe.teacher.outputs)
    return source.manifest.name if named == str(source.folder.resolve()) else named
