"""``seetell compress``: a smaller, faster bundle. Reaches into the making half, when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from seetell.cli.gate_data import evaluator, facts, gate_tasks, named, narrowed
from seetell.cli.making import TRAIN_PACKAGES
from seetell.cli.options import JsonOption, option, repeatable

if TYPE_CHECKING:
    from seetell.cli.output import Output

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
            show_default="int8; as it is with --prune, --merge-tokens or --distill",
        ),
    ] = None,
    prune: Annotated[
        float | None,
        option(
            "--prune",
            metavar="SHARE",
            help="Leave out what matters least: 0.5 is half of it. Needs --calibration.",
            show_default="nothing",
        ),
    ] = None,
    prune_measure: Annotated[
        Literal["flops", "latency"],
        option(
            "--prune-measure",
            help="What SHARE is a share of: the arithmetic, or the time it takes on this machine, measured.",
        ),
    ] = "flops",
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
    distill: Annotated[
        Path | None,
        option(
            "--distill",
            metavar="RECIPE",
            help="Teach what is left again by this recipe, with MODEL as its teacher.",
            show_default="nothing is taught",
        ),
    ] = None,
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
    report: Annotated[
        Path | None,
        option(
            "--report",
            metavar="F",
            help="Write the report here, too, as HTML and JSON, also of a model that is refused.",
            show_default="in OUT alone",
        ),
    ] = None,
    work: Annotated[
        Path | None,
        option(
            "--work",
            metavar="DIR",
            help="Where the stages are kept until OUT stands.",
            show_default="OUT.stages",
        ),
    ] = None,
    keep_floats: Annotated[
        bool,
        option(
            "--keep-floats", help="Keep MODEL's floats beside int8: to run in either, and to teach further."
        ),
    ] = False,
    overwrite: Annotated[bool, option("--overwrite", help="Replace OUT if it is a bundle.")] = False,
    json: JsonOption = False,
    *,
    distill_set: Annotated[
        list[str],
        repeatable("--distill-set", metavar="key.sub=value", help="A change to the recipe; may be repeated."),
    ],
) -> None:
    """Turn a bundle into a smaller, faster one, if it stays good enough: pruned, taught again, in int8.

    Nothing is written when its quality falls further than --max-drop allows (exit status 3). What was stopped
    goes on with the same command.
    """
    from seetell.bundle.store import resolve
    from seetell.cli.interrupt import clearing_up
    from seetell.cli.output import Output
    from seetell.core.errors import MissingExtra, UsageError

    if prune is None:
        for name, is_given in (
            ("layers", prune_layers > 0),
            ("measure", prune_measure != "flops"),
            ("budget", prune_budget != "uniform"),
        ):
            if is_given:
                raise UsageError(f"compress: --prune-{name} goes with --prune SHARE")
    if distill_set and distill is None:
        raise UsageError("compress: --distill-set goes with --distill RECIPE")
    tasks = gate_tasks(captions, questions, annotations, images, question_images, labelled)
    tasks = narrowed(tasks, language=language, holdout=holdout, limit=limit)
    for task in tasks:
        task.check("compress")
    with Output(json=json) as output:
        try:
            from seetell.learning.compression.gate import parse_tolerance
            from seetell.learning.compression.pruning.wish import Pruning
            from seetell.learning.compression.run import compress as run
            from seetell.learning.compression.settings import Distilling, Settings

            settings = Settings(
                calibration=calibration,
                calibration_texts=calibration_texts,
                calibration_count=calibration_count,
                profile=profile,
                tolerance=parse_tolerance(max_drop),
                quantize=quantize is not None or (prune is None and not merge_tokens and distill is None),
                prune=None if prune is None else Pruning(prune, prune_layers, prune_budget, prune_measure),
                merge_tokens=merge_tokens,
                distil=None if distill is None else Distilling(distill, tuple(distill_set)),
                keep_floats=keep_floats,
            )
            bundle = resolve(model)
            with clearing_up():
                result = run(
                    bundle,
                    out,
                    settings,
                    evaluate=evaluator(tasks, output) if tasks else None,
                    dataset=named(tasks),
                    facts=facts(tasks),
                    overwrite=overwrite,
                    report=report,
                    work=work,
                    say=output.note,
                )
        except ModuleNotFoundError as error:
            package = (error.name or "").partition(".")[0]
            if package in _PACKAGES:
                raise MissingExtra(package, "compress", "to compress a model") from error
            if package in TRAIN_PACKAGES:
                raise MissingExtra(package, "train", "to compress a model") from error
            raise
        _show(result.document, output)
        gate = result.document["gate"]
        for line in gate["undecided"]:
            output.note(line)
        output.note(f"passed: nothing is shown to have lost more than {gate['tolerance']}; {gate['time']}")
        runs_in = " in int8" if settings.quantize else ""
        # What a model that writes nothing can do, doctor says.
        able = "caption" in result.manifest.tasks
        following = f"seetell caption PHOTO --model {out}" if able else f"seetell doctor {out}"
        output.note(f"{out}: bundle written; it runs{runs_in}: {following}")


def _show(document: dict[str, Any], output: Output) -> None:
    from seetell.learning.compression.report import rows

    if output.json:
        output.result(document)
        return
    table = [({"figure": row[0]}, row) for row in rows(document)]
    output.results(table, ("", "before", "after", ""), str(document["model"]), counted=False)
