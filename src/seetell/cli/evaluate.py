"""``seetell evaluate``: published metrics over captions or questions that people wrote."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from seetell.cli.options import Shared, open_model, option, shared_options
from seetell.cli.output import Output

if TYPE_CHECKING:
    from seetell.evaluation.predictors import Predictors
    from seetell.evaluation.runner import Evaluation
    from seetell.tasks.model import Model


@shared_options
def evaluate(
    captions: Annotated[
        Path | None, option("--captions", metavar="F", help="Captions to compare with, COCO captions JSON.")
    ] = None,
    questions: Annotated[
        Path | None, option("--questions", metavar="F", help="Questions to ask, VQAv2 JSON.")
    ] = None,
    annotations: Annotated[
        Path | None, option("--annotations", metavar="F", help="Their answers, VQAv2 JSON.")
    ] = None,
    images: Annotated[Path | None, option("--images", metavar="DIR", help="Folder of the photos.")] = None,
    language: Annotated[
        str | None,
        option(
            "--language", metavar="en|zh", help="Which captions to use.", show_default="the model's first"
        ),
    ] = None,
    limit: Annotated[
        int | None, option("--limit", min=1, help="Use the first photos only.", show_default="all")
    ] = None,
    record: Annotated[
        str | None,
        option(
            "--record",
            metavar="DATASET:SPLIT",
            help="Keep the figures in the model's manifest, as of this set.",
            show_default="only print them",
        ),
    ] = None,
    *,
    shared: Shared,
) -> None:
    """Measure a model: retrieval and captions, or answers.

    A photo that cannot be read stays in every figure and counts as wrong.
    """
    from seetell.core.errors import UsageError

    if (captions is None) == (questions is None):
        raise UsageError("evaluate: give --captions F, or --questions F with --annotations F")
    if images is None:
        raise UsageError("evaluate: where are the photos? Give --images DIR")
    if not images.is_dir():
        raise UsageError(f"--images: {images} is no folder")
    if questions is not None and annotations is None:
        raise UsageError("evaluate: questions need their answers; give --annotations F")
    if captions is not None and annotations is not None:
        raise UsageError("evaluate: --annotations goes with --questions")
    dataset, split = _set_name(record)
    with Output(json=shared.json) as out:
        model = open_model(shared)
        if captions is not None:
            found = _captions(model, captions, images, language, limit, out)
        else:
            assert questions is not None and annotations is not None  # checked above
            found = _questions(model, questions, annotations, images, limit, out)
        _report(found, out)
        if record is not None:
            _record(found, shared.model, dataset, split, out)


def _set_name(record: str | None) -> tuple[str, str]:
    """``flickr8k:dev`` as its two names. Raises UsageError."""
    from seetell.core.errors import UsageError

    dataset, _, split = (record or "").rpartition(":")
    if record is not None and not (dataset.strip() and split.strip()):
        raise UsageError(f"--record: a dataset and a split are needed, as in flickr8k:dev, not {record!r}")
    return dataset.strip(), split.strip()


def _record(found: Evaluation, model: str, dataset: str, split: str, out: Output) -> None:
    from seetell.bundle.manifest import Measurement
    from seetell.bundle.store import record_measurements, resolve
    from seetell.core.errors import UsageError
    from seetell.evaluation.report import measurement_rows

    if found.failed:
        # They count as wrong: a figure about these photos, and not one about the model.
        raise UsageError(f"--record: {len(found.failed)} inputs failed, so nothing was recorded")
    rows = [Measurement.model_validate(row) for row in measurement_rows(found, dataset, split)]
    folder = resolve(model).folder
    record_measurements(folder, rows)
    out.note(f"{len(rows)} figures recorded in {folder}")


def _captions(
    model: Model, captions: Path, images: Path, language: str | None, limit: int | None, out: Output
) -> Evaluation:
    from seetell.data.coco import read_coco_captions
    from seetell.evaluation.runner import evaluate_captions

    records = read_coco_captions(captions, images)
    spoken = language or (model.languages[0] if model.languages else "en")
    return evaluate_captions(_predictors(model, spoken), records, spoken, limit=limit, track=out.progress)


def _questions(
    model: Model, questions: Path, annotations: Path, images: Path, limit: int | None, out: Output
) -> Evaluation:
    from seetell.data.vqa import read_vqa
    from seetell.evaluation.runner import evaluate_questions

    records = read_vqa(questions, annotations, images)
    return evaluate_questions(_predictors(model, None), records, limit=limit, track=out.progress)


def _predictors(model: Model, language: str | None) -> Predictors:
    """What this model can do, as functions."""
    from seetell.evaluation.predictors import Predictors

    embeds = "embed" in model.tasks
    return Predictors(
        model.name,
        model.precision,
        embed_images=partial(model.stream, "embed_images") if embeds else None,
        embed_texts=model.embed_texts if embeds else None,
        caption=partial(model.stream, "caption", language=language) if "caption" in model.tasks else None,
        ask=partial(model.stream, "ask") if "ask" in model.tasks else None,
    )


def _report(found: Evaluation, out: Output) -> None:
    from seetell.evaluation.report import as_dict, as_table, remarks, rows

    if out.json:
        # The object lists the failures itself.
        out.result(as_dict(found))
    elif out.pretty:
        out.show(as_table(found))
    else:
        for row in rows(found):
            out.result({}, *row)
        for remark in remarks(found):
            out.note(remark)
    out.succeeded = found.n_images - len(found.failed)
    if out.json:
        out.failed = len(found.failed)
    else:
        for failure in found.failed:
            out.failure(failure.photo, failure.error)
