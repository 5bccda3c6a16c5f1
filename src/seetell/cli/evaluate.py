"""``seetell evaluate``: published metrics over captions, answers or labels that people gave."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from seetell.cli.evaluation_task import Task, measure
from seetell.cli.options import RemoteShared, convert_first, open_any, option, repeatable, shared_options
from seetell.cli.output import Output

if TYPE_CHECKING:
    from seetell.evaluation.runner import Evaluation


@shared_options
def evaluate(
    captions: Annotated[
        Path | None,
        option("--captions", metavar="F", help="Compare with these captions, COCO captions JSON."),
    ] = None,
    questions: Annotated[
        Path | None, option("--questions", metavar="F", help="Ask these questions, VQAv2 JSON.")
    ] = None,
    annotations: Annotated[
        Path | None, option("--annotations", metavar="F", help="Compare with these answers, VQAv2 JSON.")
    ] = None,
    images: Annotated[
        Path | None, option("--images", metavar="DIR", help="Look for the photos in this folder.")
    ] = None,
    labelled: Annotated[
        Path | None, option("--labelled", metavar="DIR", help="Classify these photos, one folder per label.")
    ] = None,
    label_names: Annotated[
        Path | None,
        option(
            "--label-names",
            metavar="F",
            help="Call the labels as this JSON does: {folder: name}.",
            show_default="as their folders",
        ),
    ] = None,
    own_labels: Annotated[
        bool, option("--own-labels", help="Classify by the labels the model was taught, not zero-shot.")
    ] = False,
    objects: Annotated[
        Path | None,
        option(
            "--objects",
            metavar="F",
            help="Ask about the objects of this file, COCO instances JSON or lines of POPE, or with "
            "--captions look for them in captions.",
        ),
    ] = None,
    yes_or_no: Annotated[
        bool, option("--yes-or-no", help="Let POPE's questions be answered with yes or no only.")
    ] = False,
    synonyms: Annotated[
        Path | None,
        option("--synonyms", metavar="F", help="Look for these words for objects in captions (CHAIR)."),
    ] = None,
    guesses: Annotated[
        bool,
        option("--guesses", help="Measure captions as they were written, also those the model is unsure of."),
    ] = False,
    language: Annotated[
        str | None,
        option(
            "--language",
            metavar="en|zh",
            help="Use the captions of this language, or labels in it.",
            show_default="the model's first",
        ),
    ] = None,
    holdout: Annotated[
        str | None,
        option(
            "--holdout",
            metavar="N:R|PART",
            help="Use held-out photos only: those whose number leaves R divided by N, or the last PART.",
            show_default="all photos",
        ),
    ] = None,
    limit: Annotated[
        int | None, option("--limit", min=1, help="Use so many photos only.", show_default="all")
    ] = None,
    target_accuracy: Annotated[
        float | None,
        option(
            "--target-accuracy",
            metavar="PERCENT",
            min=0,
            max=100,
            help="Find the confidence to abstain below, so that so many of the answers given are right.",
            show_default="none",
        ),
    ] = None,
    report: Annotated[
        Path | None,
        option(
            "--report",
            metavar="F.html",
            help="Also write a page with the best and worst photos.",
            show_default="none",
        ),
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
    pope: Annotated[
        list[Path],
        repeatable("--pope", metavar="F", help="Ask POPE's questions; once for each of its settings' files."),
    ],
    shared: RemoteShared,
) -> None:
    """Measure a model: retrieval and captions, answers, labels, or objects that are not there.

    A photo that cannot be read stays in every figure and counts as wrong.
    """
    task = Task(
        captions=captions,
        questions=questions,
        annotations=annotations,
        images=images,
        labelled=labelled,
        label_names=label_names,
        own_labels=own_labels,
        language=language,
        holdout=holdout,
        limit=limit,
        target_accuracy=target_accuracy,
        pope=tuple(pope),
        objects=objects,
        synonyms=synonyms,
        guesses=guesses,
        yes_or_no=yes_or_no,
    )
    task.check()
    dataset, split = _set_name(record)
    with shared.output() as out:
        # Found before measuring: where figures are to go must not turn out to be nowhere hours later.
        folder = None if record is None else convert_first(shared.model, quiet=shared.quiet).folder
        model = open_any(shared, out)
        found = measure(model, task, out.progress)
        _report(found, out)
        if report is not None:
            from seetell.evaluation.html_report import write_html_report

            write_html_report(report, found)
            out.note(f"report written to {report}")
        if folder is not None:
            _record(found, folder, dataset, split, out)


def _set_name(record: str | None) -> tuple[str, str]:
    """``flickr8k:dev`` as its two names. Raises UsageError."""
    from seetell.core.errors import UsageError

    dataset, _, split = (record or "").rpartition(":")
    if record is not None and not (dataset.strip() and split.strip()):
        raise UsageError(f"--record: a dataset and a split are needed, as in flickr8k:dev, not {record!r}")
    return dataset.strip(), split.strip()


def _record(found: Evaluation, folder: Path, dataset: str, split: str, out: Output) -> None:
    from seetell.bundle.manifest import Measurement
    from seetell.bundle.store import record_measurements
    from seetell.evaluation.report import measurement_rows

    if found.failed:
        # They count as wrong: a figure about these photos, and not one about the model.
        out.note(f"--record: {len(found.failed)} inputs failed, so nothing was recorded")
        return
    rows = [Measurement.model_validate(row) for row in measurement_rows(found, dataset, split)]
    record_measurements(folder, rows)
    out.note(f"{len(rows)} figures recorded in {folder}")


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
