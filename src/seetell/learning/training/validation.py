"""Measuring a model while it trains, as users will meet it: the same tasks, decoding and metrics.

The torch model is put behind the Engine protocol and the facade, so that nothing about validation is
special to training but the engine. Metric names are ``SOURCE.LANGUAGE.PART.METRIC`` for captions, as in
``flickr8k.en.text_to_image.r10``, ``SOURCE.vqa.METRIC`` for questions and ``SOURCE.zero_shot.METRIC`` for
labelled photos.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from seetell.core.errors import RecipeError
from seetell.data.photo_bytes import read_photo
from seetell.data.photo_refs import PhotoRef
from seetell.data.records import CaptionRecord
from seetell.evaluation.bootstrap import Bootstrap
from seetell.evaluation.predictors import Predictors
from seetell.evaluation.report import as_dict
from seetell.evaluation.runner import Evaluation, evaluate_captions, evaluate_labels, evaluate_questions
from seetell.evaluation.zero_shot import classify_by_prompts
from seetell.learning.training.corpus import at_key
from seetell.learning.training.devices import choose_device
from seetell.learning.training.guard import ForgettingGuard
from seetell.learning.training.loop import Validate
from seetell.learning.training.measured import MeasuredData, read_measured
from seetell.learning.training.precision import settled_precision
from seetell.learning.training.run import Prepared
from seetell.learning.training.sections import DataSettings
from seetell.learning.wording import label_name
from seetell.modeling.export.torch_engine import TorchEngine
from seetell.modeling.export.write_bundle import manifest_of
from seetell.modeling.models.assembled import AssembledModel
from seetell.modeling.outputs import left_out
from seetell.tasks.model import Model

# Intervals are for reports; a run logs the values alone.
_NO_INTERVALS = Bootstrap(samples=1)
_PARTS = ("image_to_text", "text_to_image", "captions", "vqa", "zero_shot")
# What the forgetting guard looks at where the recipe does not say: of labelled photos, and of captions.
_OF_LABELS, _OF_CAPTIONS = "zero_shot.top_1", "text_to_image.r5"


def build_validate(prepared: Prepared) -> Validate:
    """The measuring function of a recipe's ``validate``: averaged or raw weights in, figures out.

    Everything it needs is read, and tried on a few photos, so that what is wrong with it is said before the
    first step. Raises DataError and UsageError, which name the key of the recipe.
    """
    settings = prepared.recipe.validation
    if settings is None or not settings.data:
        raise RecipeError("validate.data: name at least one source to measure on")
    sources = [_read(prepared, source, f"validate.data.{n}") for n, source in enumerate(settings.data)]
    wanted = [name for name in {*settings.metrics, settings.stop_on} if name]

    def validate(module: nn.Module, data: Sequence[MeasuredData] = sources) -> Mapping[str, float]:
        assert isinstance(module, AssembledModel)
        model = facade(module, prepared)
        figures: dict[str, float] = {}
        for source in data:
            with at_key(source.key):
                figures.update(_measure(model, source, wanted))
        return figures

    with _untouched(prepared.step.model):
        names = validate(prepared.step.model, [source.few() for source in sources])
    for key, metrics in (("metrics", settings.metrics), ("stop_on", [settings.stop_on])):
        for metric in metrics:
            if metric is not None and metric not in names:
                raise RecipeError(_not_measured(f"validate.{key}", metric, names))
    return validate


def build_guard(prepared: Prepared) -> ForgettingGuard:
    """The forgetting guard of a recipe's ``guard``, tried as :func:`build_validate` tries."""
    settings = prepared.recipe.guard
    assert settings is not None
    source = _read(prepared, settings.data, "guard.data")
    of_language = settings.data.format != "imagefolder" and "caption" in settings.data.tasks
    prefix = f"{source.name}.{settings.data.languages[0]}" if of_language else source.name
    metric = settings.metric or (_OF_CAPTIONS if of_language else _OF_LABELS)
    name = f"{prefix}.{metric}"

    def measure(module: nn.Module, data: MeasuredData = source) -> float:
        assert isinstance(module, AssembledModel)
        with at_key(data.key):
            figures = _measure(facade(module, prepared), data, [name])
        if name not in figures:
            raise RecipeError(_not_measured("guard.metric", metric, figures))
        return figures[name]

    with _untouched(prepared.step.model):
        measure(prepared.step.model, source.few())
    return ForgettingGuard(settings, name, measure, prepared.folder)


def _read(prepared: Prepared, settings: DataSettings, key: str) -> MeasuredData:
    recipe = prepared.recipe
    skips = recipe.unreadable_photos == "skip"
    return read_measured(settings, Path(recipe.data_root), key, may_lack_photos=skips)


@contextmanager
def _untouched(module: nn.Module) -> Iterator[None]:
    """Within the block the model is in evaluation mode; afterwards it is as it was."""
    training = module.training
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        module.train(training)


def _not_measured(key: str, metric: str, figures: Mapping[str, float]) -> str:
    return f"{key}: {metric!r} is not measured; there are {', '.join(sorted(figures)) or 'nothing'}"


def facade(module: AssembledModel, prepared: Prepared) -> Model:
    """The torch model behind the facade, in the precision it trains in."""
    recipe = prepared.recipe
    precision = settled_precision(recipe.precision, choose_device(recipe.device))
    engine = TorchEngine(module, precision=precision, without=left_out(prepared.start.trained))
    manifest = manifest_of(module, engine.graphs, prepared.start.facts)
    return Model(manifest, prepared.tokenizer, engine, batch_size=64)


def _measure(model: Model, data: MeasuredData, wanted: Sequence[str]) -> dict[str, float]:
    """What the source holds and the model can do: captions, questions, labels."""
    source = data.settings
    figures: dict[str, float] = {}
    if data.captioned and {"embed", "caption"} & set(model.tasks):
        spoken = [code for code in source.languages if any(record.texts(code) for record in data.captioned)]
        figures.update(_captioned(model, data.captioned, data.name, spoken, wanted))
    if data.asked and "ask" in model.tasks:
        predict = _predictors(model, "en", False)
        measured = evaluate_questions(predict, data.asked, bootstrap=_NO_INTERVALS)
        figures.update(_figures(data.name, measured))
    if data.labelled and "embed" in model.tasks:
        figures.update(_figures(data.name, _zero_shot(model, data)))
    if not figures:
        what = "labels, and this model tells none without training" if data.labelled else "nothing"
        rest = "" if data.labelled else " that this model can be measured by"
        raise RecipeError(f"{source.path} has {what}{rest}; name another source to measure on")
    return figures


def _captioned(
    model: Model,
    records: Sequence[CaptionRecord[Any]],
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


def _zero_shot(model: Model, data: MeasuredData) -> Evaluation:
    """Of labelled photos, those held out where there are any: told from all labels of their source by their
    names, in the source's templates of its first language."""
    source = data.settings
    language = next(iter(source.templates), "en")
    named = [
        replace(record, label=label_name(record.label, language, source.label_names))
        for record in data.labelled
    ]
    classify = classify_by_prompts(
        partial(model.stream, "embed_images"),
        model.embed_texts,
        [label_name(label, language, source.label_names) for label in data.labels],
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
