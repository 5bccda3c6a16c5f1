"""``seetell compress``: a smaller, faster bundle. Reaches into the making half, when it runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from seetell.cli.evaluation_task import Task, measure
from seetell.cli.options import JsonOption, option

if TYPE_CHECKING:
    from seetell.cli.output import Output
    from seetell.evaluation.runner import Evaluation
    from seetell.tasks.model import Model

# What the extra `compress` brings.
_PACKAGES = {"nncf", "onnx", "onnxruntime"}


def compress(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="builtin or a bundle's folder.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The new bundle's folder; must not exist.")],
    quantize: Annotated[
        Literal["int8"] | None,
        option(
            "--quantize",
            help="The numbers to compute and store in.",
            show_default="int8, with --prune or --merge-tokens as it is",
        ),
    ] = None,
    prune: Annotated[
        float | None,
        option(
            "--prune",
            metavar="SHARE",
            help="Leave out what matters least: 0.5 is half of the arithmetic. Needs --calibration.",
            show_default="nothing",
        ),
    ] = None,
    prune_layers: Annotated[
        int, option("--prune-layers", min=0, help="Of that share, how many whole layers.")
    ] = 0,
    prune_budget: Annotated[
        Literal["uniform", "solved"],
        option(
            "--prune-budget",
            help="uniform: the same share of every part. solved: of each what is worth its arithmetic.",
        ),
    ] = "uniform",
    merge_tokens: Annotated[
        int,
        option("--merge-tokens", min=0, help="So many tokens of a photo merge in every block that reads it."),
    ] = 0,
    calibration: Annotated[
        Path | None,
        option(
            "--calibration",
            metavar="DIR",
            help="Photos like those the model will see.",
            show_default="none: int8 weights only",
        ),
    ] = None,
    calibration_texts: Annotated[
        Path | None,
        option(
            "--calibration-texts",
            metavar="F",
            help="Captions and questions like those it will read, one per line.",
            show_default="captions it writes itself",
        ),
    ] = None,
    calibration_count: Annotated[
        int, option("--calibration-count", min=1, help="How many of the photos and texts to use.")
    ] = 96,
    profile: Annotated[
        Literal["portable", "cpu"],
        option("--profile", help="portable: symmetric, for every engine. cpu: asymmetric activations."),
    ] = "portable",
    max_drop: Annotated[
        str,
        option(
            "--max-drop",
            metavar="DROP",
            help="What quality may fall by: 1% of the metric, or 0.5 points of it.",
        ),
    ] = "1%",
    captions: Annotated[
        Path | None,
        option("--captions", metavar="F", help="Judge by captions, COCO captions JSON, with --images."),
    ] = None,
    questions: Annotated[
        Path | None, option("--questions", metavar="F", help="Judge by questions, VQAv2 JSON.")
    ] = None,
    annotations: Annotated[
        Path | None, option("--annotations", metavar="F", help="Their answers, VQAv2 JSON.")
    ] = None,
    images: Annotated[Path | None, option("--images", metavar="DIR", help="Folder of the photos.")] = None,
    question_images: Annotated[
        Path | None,
        option(
            "--question-images",
            metavar="DIR",
            help="Folder of the photos asked about.",
            show_default="that of --images",
        ),
    ] = None,
    labelled: Annotated[
        Path | None, option("--labelled", metavar="DIR", help="Judge by labels, one folder of photos each.")
    ] = None,
    language: Annotated[
        str | None,
        option(
            "--language", metavar="en|zh", help="Which captions to use.", show_default="the model's first"
        ),
    ] = None,
    holdout: Annotated[
        str | None,
        option(
            "--holdout",
            metavar="N:R|PART",
            help="Of questions and labels: held-out photos only, as in seetell evaluate.",
            show_default="all photos",
        ),
    ] = None,
    limit: Annotated[
        int | None, option("--limit", min=1, help="Judge by so many photos only.", show_default="all")
    ] = None,
    overwrite: Annotated[bool, option("--overwrite", help="Replace OUT if it is a bundle.")] = False,
    json: JsonOption = False,
) -> None:
    """Turn a bundle into a smaller, faster one, if it stays good enough: in int8, pruned, with merged tokens.

    Nothing is written when its quality falls further than --max-drop allows (exit status 3).
    """
    from seetell.bundle.store import resolve
    from seetell.cli.interrupt import clearing_up
    from seetell.cli.output import Output
    from seetell.core.errors import MissingExtra, UsageError

    if prune_layers and prune is None:
        raise UsageError("compress: --prune-layers goes with --prune SHARE")
    tasks = _tasks(captions, questions, annotations, images, question_images, labelled)
    tasks = [replace(task, limit=limit) for task in tasks]
    tasks = [replace(task, language=language) if task.questions is None else task for task in tasks]
    tasks = [replace(task, holdout=holdout) if task.captions is None else task for task in tasks]
    for task in tasks:
        task.check()
    with Output(json=json) as output:
        try:
            from seetell.learning.compression.gate import parse_tolerance
            from seetell.learning.compression.pruning.prune import Pruning
            from seetell.learning.compression.run import Settings
            from seetell.learning.compression.run import compress as run

            settings = Settings(
                calibration=calibration,
                calibration_texts=calibration_texts,
                calibration_count=calibration_count,
                profile=profile,
                tolerance=parse_tolerance(max_drop),
                quantize=quantize is not None or (prune is None and not merge_tokens),
                prune=None if prune is None else Pruning(prune, prune_layers, prune_budget),
                merge_tokens=merge_tokens,
            )
            bundle = resolve(model)
            _check_places(bundle.folder, out, overwrite)
            with clearing_up():
                result = run(
                    bundle,
                    out,
                    settings,
                    evaluate=_evaluator(tasks, output) if tasks else None,
                    dataset=", ".join(_named(task) for task in tasks) or "check set",
                    overwrite=overwrite,
                    say=output.note,
                )
        except ModuleNotFoundError as error:
            package = (error.name or "").partition(".")[0]
            if package not in _PACKAGES:
                raise
            raise MissingExtra(package, "compress", "to compress a model") from error
        _show(result.document, output)
        runs_in = " in int8" if settings.quantize else ""
        output.note(f"{out}: bundle written; it runs{runs_in}: seetell caption PHOTO --model {out}")


def _tasks(
    captions: Path | None,
    questions: Path | None,
    annotations: Path | None,
    images: Path | None,
    question_images: Path | None,
    labelled: Path | None,
) -> list[Task]:
    """What to judge by: each kind of data that was named. Raises UsageError for what goes with nothing."""
    from seetell.core.errors import UsageError

    tasks = []
    if captions is not None:
        tasks.append(Task(captions=captions, images=images))
    if questions is not None:
        asked = images if question_images is None else question_images
        tasks.append(Task(questions=questions, annotations=annotations, images=asked))
    elif annotations is not None or question_images is not None:
        raise UsageError("compress: --annotations and --question-images go with --questions F")
    if labelled is not None:
        tasks.append(Task(labelled=labelled))
    if images is not None and captions is None and questions is None:
        raise UsageError("compress: --images goes with --captions F or --questions F")
    return tasks


def _named(task: Task) -> str:
    data = task.captions or task.questions or task.labelled
    assert data is not None  # each task is about one of them
    first = "" if task.limit is None else f", {task.limit} photos"
    return f"{data.name}{first}"


def _evaluator(tasks: Sequence[Task], output: Output) -> Callable[[Model], list[Evaluation]]:
    def evaluate(model: Model) -> list[Evaluation]:
        return [measure(model, task, output.progress) for task in tasks]

    return evaluate


def _check_places(source: Path, out: Path, overwrite: bool) -> None:
    """A slip of the keyboard must not cost a folder of other things, or the source itself."""
    from seetell.bundle.manifest import MANIFEST_NAME
    from seetell.core.errors import StorageError

    filled = out.exists() and (not out.is_dir() or any(out.iterdir()))
    if filled and not overwrite:
        raise StorageError(f"{out} exists already; choose another name, or --overwrite to replace it")
    if filled and not (out / MANIFEST_NAME).is_file():
        raise StorageError(f"{out} is no bundle, and --overwrite replaces nothing else; choose another name")
    if source.resolve().is_relative_to(out.resolve()):
        raise StorageError(f"{out} holds the model itself; choose another name")


def _show(document: dict[str, Any], output: Output) -> None:
    from seetell.learning.compression.report import rows

    if output.json:
        output.result(document)
        return
    table = [({"figure": row[0]}, row) for row in rows(document)]
    output.results(table, ("", "before", "after", ""), str(document["model"]), counted=False)
