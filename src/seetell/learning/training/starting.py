"""What ``init`` without ``model`` means: the model that is taught further, and a recipe that fits it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from seetell.bundle.manifest import MANIFEST_NAME, AnswerCalibration, Manifest, read_manifest
from seetell.core.errors import CheckpointError, RecipeError
from seetell.core.files import folder_name
from seetell.learning.training import checkpoint as checkpoints
from seetell.learning.training.build import teachable
from seetell.learning.training.corpus import Corpus
from seetell.learning.training.description import taught_before
from seetell.learning.training.objective_spec import ANSWERING, ObjectiveName, ObjectiveSpec, like
from seetell.learning.training.recipe import Recipe
from seetell.learning.training.sections import (
    BundleSettings,
    DataSettings,
    ResolutionStage,
    TokenizerSettings,
)
from seetell.learning.training.task_metric import with_stop
from seetell.modeling.checkpoints.public import read_checkpoint
from seetell.modeling.checkpoints.run_folder import is_run, read_description
from seetell.modeling.facts import BundleFacts
from seetell.modeling.models.image_classifier import ImageClassifier
from seetell.modeling.models.unified import UnifiedModel
from seetell.modeling.parts.placed import PlacedEfficientNet
from seetell.modeling.start import Start, read_start, tokenizer_of

# Settings of our own model's making. A public one's photos and texts are prepared as it was taught.
_OWN_ONLY = ("resolution", "mean", "std", "tokenizer")


def settle(recipe: Recipe, folder: Path) -> tuple[Recipe, Start | None]:
    """The recipe with what its model decides filled in, and the model it starts from, where it is one that
    is there already; None where it is built from ``model``. One of ours is built anew all the same.

    A run that goes on finds all this in its folder. Raises RecipeError, BundleError and CheckpointError.
    """
    if not recipe.fine_tunes:
        return recipe, None
    settled, start = _settled(recipe, folder)
    return with_stop(settled), start


def load_image_weights(model: UnifiedModel, folder: Path) -> None:
    """Take the layers of the image encoder from the public checkpoint of an image classifier, in place.

    Raises BundleNotFound and CheckpointError, for one of another shape too.
    """
    classifier = read_checkpoint(folder)[0]
    encoder = model.image_encoder
    if not (isinstance(classifier, ImageClassifier) and isinstance(encoder, PlacedEfficientNet)):
        raise CheckpointError(
            f"init_image: {folder} is no image classifier whose layers model.image can be made of"
        )
    given, wanted = classifier.encoder.state_dict(), encoder.net.state_dict()
    unlike = [name for name in wanted if name not in given or given[name].shape != wanted[name].shape]
    if unlike:
        raise CheckpointError(f"init_image: {folder} has other layers than model.image: {unlike[0]}")
    encoder.net.load_state_dict(given)


def load_word_vectors(model: UnifiedModel, file: Path) -> None:
    """Begin the bag of words with what words mean, in place; see ``Recipe.init_words``.

    The numbers are scaled to the spread that the bag's own have. Raises RecipeError.
    """
    if model.bag is None:
        raise RecipeError("init_words: is for a model with a bag of words (model.text.bag_dim)")
    try:
        words = load_file(file)["words"].float()
    except (OSError, SafetensorError, KeyError) as error:
        raise RecipeError(f"init_words: {file} is no safetensors file with `words` ({error})") from error
    rows, width = model.bag.weight.shape
    if words.ndim != 2 or words.shape[0] != rows or words.shape[1] < width:
        raise RecipeError(
            f"init_words: the words of {file} are {list(words.shape)}; "
            f"{rows} tokens of {width} numbers or more are wanted"
        )
    words = words[:, :width]
    known = words.abs().sum(dim=1) > 0
    if not known.any() or not words.isfinite().all():
        raise RecipeError(f"init_words: {file} says nothing of any token, or numbers that are none")
    with torch.no_grad():
        model.bag.weight[known] = words[known] * (model.bag.weight.std() / words[known].std())


def _settled(recipe: Recipe, folder: Path) -> tuple[Recipe, Start]:
    start = _going_on(folder) or read_start(str(recipe.init))
    if isinstance(start.model, UnifiedModel):
        return _for_ours(recipe, start.model, start), start
    return _for_public(recipe, start), start


def _going_on(folder: Path) -> Start | None:
    """The model of the run in ``folder`` as it began, its weights not loaded; None where it has not begun."""
    if checkpoints.latest(folder / "checkpoints") is None:
        return None
    run = read_description(folder)
    facts = run.facts
    if run.family == UnifiedModel.family:
        # What a recipe of ours leaves out of its ``bundle`` is what was said before.
        facts = facts.having(run.bundle, where=folder)
    return Start(run.model(), facts, tokenizer_of(folder), frozenset(run.trained))


def _for_ours(recipe: Recipe, model: UnifiedModel, start: Start) -> Recipe:
    if not recipe.objectives:
        raise RecipeError("objectives: name at least one; this model can be taught by all of them")
    config = model.config.model_dump(mode="json", exclude={"num_answers", "num_labels"})
    told: dict[str, Any] = {
        "model": config,
        "resolution": (ResolutionStage(until=1.0, size=model.config.image_size[0]),),
        "tokenizer": TokenizerSettings(context_length=model.config.text.context_length),
    }
    if start.facts.image is not None:
        told.update(mean=start.facts.image.mean, std=start.facts.image.std)
    if start.facts.text is not None:
        told["tokenizer"] = TokenizerSettings(context_length=start.facts.text.context_length)
    told["keeps"] = _kept(recipe, taught_before(start))
    told["bundle"] = _described(recipe, start)
    return _filled(recipe, told)


def _kept(recipe: Recipe, taught: Collection[str]) -> tuple[ObjectiveName, ...]:
    """What the model could do before and nothing here teaches it again."""
    # What a teacher says of answers is said over the model's own list, which therefore stays.
    now = {spec.name for spec in recipe.objectives}
    # Tags are told over the list of answers of the new data; the head over the old list cannot stay.
    if "answer_tags" in now:
        now.add("answer_list")
    return tuple(name for name in get_args(ObjectiveName) if name in taught and name not in now)


def _described(recipe: Recipe, start: Start) -> BundleSettings:
    """What was said of the model and of its data before: terms do not end with further training."""
    facts = start.facts
    taught = {like(spec.name) for spec in recipe.objectives}
    return BundleSettings(
        name=folder_name(Path(recipe.checkpoint.dir)),
        licence=facts.licence,
        data=facts.data,
        prompts=facts.prompts,
        generation=facts.generation,
        calibration=AnswerCalibration() if taught & ANSWERING else facts.calibration,
    )


def with_kept_lists(corpus: Corpus, recipe: Recipe, folder: Path) -> Corpus:
    """The corpus with the answers and labels that the model keeps, in the place of those of the new data.

    A run that goes on has them in its folder. Raises CheckpointError where they are gone.
    """
    names = {"answer_list": "answers", "labels": "labels"}
    wanted = [names[objective] for objective in recipe.keeps if objective in names]
    if not wanted:
        return corpus
    begun = checkpoints.latest(folder / "checkpoints") is not None
    facts = read_description(folder).facts if begun else read_start(str(recipe.init)).facts
    return replace(corpus, **{field: getattr(facts, field) for field in wanted})


def known_lists(source: Path) -> dict[str, tuple[str, ...]]:
    """Head -> the closed list that the weights in ``source`` have it over: a bundle's, a run's, or one of a
    run's checkpoints; nothing is known of other files. Raises BundleError and CheckpointError."""
    facts: Manifest | BundleFacts | None = None
    if (source / MANIFEST_NAME).is_file():
        facts = read_manifest(source)
    for folder in (source, source.parent.parent):
        if facts is None and is_run(folder):
            facts = read_description(folder).facts
    return {} if facts is None else {"answer_head": facts.answers, "label_head": facts.labels}


def _filled(recipe: Recipe, told: dict[str, Any]) -> Recipe:
    """``told`` where the recipe itself says nothing."""
    silent = {
        key: value for key, value in told.items() if key not in recipe.model_fields_set or key == "model"
    }
    return recipe.model_copy(update=silent)


def _for_public(recipe: Recipe, start: Start) -> Recipe:
    name = start.facts.name
    able = teachable(start.model)
    if start.facts.image is None or start.facts.text is None or not able:
        raise RecipeError(f"init: {name} cannot be taught; it has to see photos and read or write texts")
    for key in _OWN_ONLY:
        if getattr(recipe, key) != Recipe.model_fields[key].default:
            raise RecipeError(f"{key}: {name} keeps the one it was taught with; leave it out")
    for key, given in (("tune.reset", recipe.tune.reset), ("init_words", recipe.init_words)):
        if given:
            raise RecipeError(f"{key}: is for models of ours, and {name} is none; leave it out")
    objectives = recipe.objectives or tuple(
        ObjectiveSpec(name=objective) for objective in able if recipe.serves(objective)
    )
    if not objectives:
        raise RecipeError(f"data: {name} is taught by {' or '.join(able)}, and no source serves that")
    changes: dict[str, Any] = {"objectives": objectives}
    changes["data"] = _in_its_languages(recipe.data, start.facts.languages, name)
    if recipe.validation is not None:
        measured = _in_its_languages(recipe.validation.data, start.facts.languages, name)
        changes["validation"] = recipe.validation.model_copy(update={"data": measured})
    if recipe.guard is not None:
        (guarded,) = _in_its_languages((recipe.guard.data,), start.facts.languages, name)
        changes["guard"] = recipe.guard.model_copy(update={"data": guarded})
    return recipe.model_copy(update=changes)


def _in_its_languages(
    sources: Sequence[DataSettings], languages: Sequence[str], name: str
) -> tuple[DataSettings, ...]:
    """The sources with the model's languages, where they name none themselves."""
    found: list[DataSettings] = []
    for source in sources:
        kept = tuple(code for code in source.languages if code in languages or not languages)
        if "languages" not in source.model_fields_set and kept:
            source = source.model_copy(update={"languages": kept})
        found.append(source)
    return tuple(found)
