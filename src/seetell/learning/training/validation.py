"""Measuring a model while it trains, as users will meet it: the same tasks, decoding and metrics.

The torch model is put behind the Engine protocol and the facade, so that nothing about validation is
special to training but the engine. Metric names are ``SOURCE.LANGUAGE.PART.METRIC`` for captions, as in
``flickr8k.en.text_to_image.r10``, ``SOURCE.vqa.METRIC`` for questions and ``SOURCE.zero_shot.METRIC`` for
labelled photos.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

from torch import nn

from seetell.core.errors import RecipeError
from seetell.data.imagefolder import read_imagefolder
from seetell.data.photo_refs import PhotoRef, read_photo
from seetell.data.records import CaptionRecord, QuestionRecord
from seetell.evaluation.bootstrap import Bootstrap
from seetell.evaluation.predictors import Predictors
from seetell.evaluation.report import as_dict
from seetell.evaluation.runner import Evaluation, evaluate_captions, evaluate_labels, evaluate_questions
from seetell.evaluation.zero_shot import classify_by_prompts
from seetell.learning.sources import label_list, label_name
from seetell.learning.training.corpus import (
    read_captions,
    read_labelled,
    read_questions,
    read_shard_records,
    source_name,
)
from seetell.learning.training.devices import choose_device
from seetell.learning.training.guard import ForgettingGuard
from seetell.learning.training.loop import Validate
from seetell.learning.training.precision import settled_precision
from seetell.learning.training.run import TOKENIZER_FILE, Prepared
from seetell.learning.training.sections import DataSettings
from seetell.modeling.export.run import objectives_of, own_image_spec, text_spec, untrained
from seetell.modeling.export.torch_engine import TorchEngine
from seetell.modeling.export.write_bundle import BundleFacts, manifest_of
from seetell.modeling.models.assembled import AssembledModel
from seetell.modeling.models.unified import UnifiedModel
from seetell.tasks.model import Model

# Intervals are for reports; a run logs the values alone.
_NO_INTERVALS = Bootstrap(samples=1)
_PARTS = ("image_to_text", "text_to_image", "captions", "vqa", "zero_shot")
# What the forgetting guard looks at where the recipe does not say.
_GUARDED = {
    "imagefolder": "zero_shot.top_1",
    "coco_captions": "text_to_image.r5",
    "webdataset": "text_to_image.r5",
}


def build_validate(prepared: Prepared) -> Validate:
    """The measuring function of a recipe's ``validate``: averaged or raw weights in, figures out.

    Raises RecipeError for a validation source nothing can be measured with.
    """
    recipe, settings = prepared.recipe, prepared.recipe.validation
    if settings is None or not settings.data:
        raise RecipeError("validate.data: name at least one source to measure on")
    wanted = {*settings.metrics, settings.stop_on} - {None}
    root = Path(recipe.data_root)

    def validate(module: nn.Module) -> Mapping[str, float]:
        assert isinstance(module, AssembledModel)
        model = facade(module, prepared)
        figures: dict[str, float] = {}
        for source in settings.data:
            figures.update(_measure(model, source, root, [name for name in wanted if name]))
        return figures

    return validate


def build_guard(prepared: Prepared) -> ForgettingGuard:
    """The forgetting guard of a recipe's ``guard``."""
    recipe, settings = prepared.recipe, prepared.recipe.guard
    assert settings is not None
    root = Path(recipe.data_root)
    name = source_name(settings.data, root)
    metric = settings.metric or _GUARDED[settings.data.format]
    if settings.data.format in ("coco_captions", "webdataset"):
        name = f"{name}.{settings.data.languages[0]}"

    def measure(module: nn.Module) -> float:
        assert isinstance(module, AssembledModel)
        figures = _measure(facade(module, prepared), settings.data, root, [f"{name}.{metric}"])
        if f"{name}.{metric}" not in figures:
            known = ", ".join(sorted(figures)) or "nothing"
            raise RecipeError(f"guard.metric: {metric!r} is not measured; there are {known}")
        return figures[f"{name}.{metric}"]

    return ForgettingGuard(settings, f"{name}.{metric}", measure, prepared.folder)


def facade(module: AssembledModel, prepared: Prepared) -> Model:
    """The torch model behind the facade, in the precision it trains in."""
    recipe = prepared.recipe
    precision = settled_precision(recipe.precision, choose_device(recipe.device))
    if prepared.start is not None:
        public = TorchEngine(module, precision=precision)
        manifest = manifest_of(module, public.graphs, prepared.start.facts)
        return Model(manifest, prepared.tokenizer, public, batch_size=64)
    assert isinstance(module, UnifiedModel)
    objectives = objectives_of(recipe.model_dump(mode="json", include={"objectives", "keeps"}))
    engine = TorchEngine(module, precision=precision, without=untrained(objectives))
    document = (prepared.folder / TOKENIZER_FILE).read_bytes()
    text = text_spec(document, module.config.text.context_length, objectives)
    facts = BundleFacts(
        name=prepared.folder.name,
        licence="in training",
        languages=tuple(text.decoder_start_ids) or ("en", "zh"),
        image=own_image_spec(module.config, mean=recipe.mean, std=recipe.std),
        text=text,
        answers=prepared.corpus.answers,
        labels=prepared.corpus.labels,
    )
    manifest = manifest_of(module, engine.graphs, facts)
    return Model(manifest, prepared.tokenizer, engine, batch_size=64)


def _measure(model: Model, source: DataSettings, root: Path, wanted: Sequence[str]) -> dict[str, float]:
    name = source_name(source, root)
    if source.format == "coco_captions":
        return _captioned(model, read_captions(source, root), name, source.languages, wanted)
    if source.format == "webdataset":
        return _of_shards(model, source, root, wanted)
    if source.format == "vqa":
        learned, held = read_questions(source, root)
        measured = evaluate_questions(
            _predictors(model, "en", False), held or learned, bootstrap=_NO_INTERVALS
        )
        return _figures(name, measured)
    if "embed" not in model.tasks:
        raise RecipeError(
            f"validate.data: {source.path} has labels, and this model tells none without training"
        )
    return _figures(name, _zero_shot(model, source, root))


def _captioned(
    model: Model,
    records: Sequence[CaptionRecord],
    name: str,
    languages: Sequence[str],
    wanted: Sequence[str],
) -> dict[str, float]:
    figures: dict[str, float] = {}
    for language in languages:
        prefix = f"{name}.{language}"
        # Captions take most of the time; they are written only where a wanted metric reads them.
        writes = not wanted or any(one.startswith(f"{prefix}.captions") for one in wanted)
        measured = evaluate_captions(
            _predictors(model, language, writes), records, language, bootstrap=_NO_INTERVALS
        )
        figures.update(_figures(prefix, measured))
    return figures


def _of_shards(model: Model, source: DataSettings, root: Path, wanted: Sequence[str]) -> dict[str, float]:
    """What the samples of a ``webdataset`` hold and the model can do: captions, questions or both."""
    name = source_name(source, root)
    captioned, asked = read_shard_records(source, root)
    figures: dict[str, float] = {}
    if captioned and {"embed", "caption"} & set(model.tasks):
        # An evaluation does no more with the photos than to hand them on to the predictors, which read them.
        records = cast("list[CaptionRecord]", captioned)
        spoken = [code for code in source.languages if any(record.texts(code) for record in records)]
        figures.update(_captioned(model, records, name, spoken, wanted))
    if asked and "ask" in model.tasks:
        questions = cast("list[QuestionRecord]", asked)
        measured = evaluate_questions(_predictors(model, "en", False), questions, bootstrap=_NO_INTERVALS)
        figures.update(_figures(name, measured))
    if not figures:
        raise RecipeError(f"validate.data: {source.path} holds nothing that this model can be measured by")
    return figures


def _zero_shot(model: Model, source: DataSettings, root: Path) -> Evaluation:
    """Of labelled photos, those held out where there are any: told from all labels of their source by their
    names, in the source's templates of its first language."""
    learned, held = read_labelled(source, root)
    every = label_list(read_imagefolder(root / source.path))
    language = next(iter(source.templates), "en")
    named = [
        replace(record, label=label_name(record.label, language, source.label_names))
        for record in held or learned
    ]
    classify = classify_by_prompts(
        partial(model.stream, "embed_images"),
        model.embed_texts,
        [label_name(label, language, source.label_names) for label in every],
        source.templates.get(language, ("{}",)),
    )
    predict = Predictors(model.name, model.precision, classify=classify)
    return evaluate_labels(predict, named, language=language, bootstrap=_NO_INTERVALS)


def _predictors(model: Model, language: str, writes_captions: bool) -> Predictors:
    able = model.tasks
    return Predictors(
        model.name,
        model.precision,
        embed_images=(
            (lambda photos: model.stream("embed_images", map(_loaded, photos))) if "embed" in able else None
        ),
        embed_texts=model.embed_texts if "embed" in able else None,
        caption=(
            (lambda photos: model.stream("caption", map(_loaded, photos), language=language))
            if writes_captions and "caption" in able
            else None
        ),
        ask=(
            (lambda pairs: model.stream("ask", ((_loaded(photo), question) for photo, question in pairs)))
            if "ask" in able
            else None
        ),
    )


def _loaded(photo: PhotoRef) -> Path | bytes:
    """A photo as the facade takes it: what is a part of a file is read."""
    return photo if isinstance(photo, Path) else read_photo(photo)


def _figures(prefix: str, measured: Evaluation) -> dict[str, float]:
    document = as_dict(measured)
    return {
        f"{prefix}.{part}.{metric}": float(value)
        for part in _PARTS
        if part in document
        for metric, value in document[part].items()
        if isinstance(value, (int, float))
    }
