"""An Evaluation as JSON, as a table for people, and as rows for a bundle's manifest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from seetell.evaluation.bootstrap import Estimate
from seetell.evaluation.machine import describe_machine
from seetell.evaluation.runner import Evaluation
from seetell.evaluation.vqa import ENOUGH_ANSWERS

if TYPE_CHECKING:
    from rich.table import Table

# Part -> (the verb it measures, its heading), in the order they are shown.
_PARTS = {
    "image_to_text": ("embed", "photo -> text"),
    "text_to_image": ("embed", "text -> photo"),
    "captions": ("caption", "captions"),
    "vqa": ("ask", "answers"),
    "zero_shot": ("classify", "labels"),
}
_NAMES = {
    "r1": "R@1",
    "r5": "R@5",
    "r10": "R@10",
    "median_rank": "median rank",
    "bleu_1": "BLEU-1",
    "bleu_2": "BLEU-2",
    "bleu_3": "BLEU-3",
    "bleu_4": "BLEU-4",
    "cider": "CIDEr-D",
    "rouge_l": "ROUGE-L",
    "accuracy": "VQA accuracy",
    "exact_match": "exact match",
    "top_1": "top-1",
    "top_5": "top-5",
    "mean_per_class": "mean per class",
}
# Not out of 100, and so shown with another number of digits.
_DECIMALS = {"cider": 3}
_DIGITS = 6


def as_dict(evaluation: Evaluation) -> dict[str, Any]:
    """The object that ``seetell evaluate --json`` prints: plain types, the parts that apply.

    Each part holds its figures by name and, under ``intervals``, [low, high] for each. ``failed`` lists the
    inputs that could not be used; they count as wrong in every figure.
    """
    document: dict[str, Any] = {}
    for part, scores in _parts(evaluation):
        document[part] = {
            **{name: round(one.value, _DIGITS) for name, one in scores.items()},
            "intervals": {
                name: [round(one.low, _DIGITS), round(one.high, _DIGITS)] for name, one in scores.items()
            },
        }
    if evaluation.answers_per_question is not None:
        document["vqa"]["answers_per_question"] = round(evaluation.answers_per_question, _DIGITS)
    if evaluation.zero_shot is not None:
        document["zero_shot"]["per_class"] = {
            one.label: {
                "n_images": one.n_images,
                "top_1": round(one.top_1, _DIGITS),
                "top_5": round(one.top_5, _DIGITS),
            }
            for one in evaluation.zero_shot.per_class
        }
    document |= {"n_images": evaluation.n_images, "n_texts": evaluation.n_texts}
    if evaluation.language is not None:
        document["language"] = evaluation.language
    if evaluation.limit is not None:
        document["limit"] = evaluation.limit
    document |= {"model": evaluation.model, "precision": evaluation.precision}
    document["n_failed"] = len(evaluation.failed)
    document["failed"] = [
        {
            "photo": failure.photo,
            "error": {"kind": getattr(failure.error, "kind", "unexpected"), "message": str(failure.error)},
        }
        for failure in evaluation.failed
    ]
    return document


def as_table(evaluation: Evaluation) -> Table:
    """The figures with their intervals, for a terminal."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=Text(_title(evaluation), style="bold"),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        caption=Text("\n".join(remarks(evaluation)), style="dim"),
        caption_justify="left",
    )
    table.add_column("")
    table.add_column("metric")
    table.add_column("value", justify="right")
    table.add_column("95% interval", justify="right")
    above = ""
    for part, name, value, interval in rows(evaluation):
        heading, above = "" if part == above else part, part
        table.add_row(
            Text(heading, style="cyan"), name, Text(value, style="bold"), Text(interval, style="dim")
        )
    return table


def rows(evaluation: Evaluation) -> Iterator[tuple[str, str, str, str]]:
    """(part, metric, value, interval) as text."""
    for part, scores in _parts(evaluation):
        heading = _PARTS[part][1]
        for name, one in scores.items():
            decimals = _DECIMALS.get(name, 1)
            interval = f"{one.low:.{decimals}f} to {one.high:.{decimals}f}"
            yield heading, _NAMES[name], f"{one.value:.{decimals}f}", interval


def remarks(evaluation: Evaluation) -> list[str]:
    """What must be known to read the figures, one line each."""
    lines = []
    if evaluation.failed:
        many = len(evaluation.failed) > 1
        what = "inputs failed and count" if many else "input failed and counts"
        lines.append(f"{len(evaluation.failed)} {what} as wrong")
    if evaluation.limit is not None:
        lines.append(f"the first {evaluation.limit} photos only: not the figures of the whole set")
    answers = evaluation.answers_per_question
    if answers is not None and answers < ENOUGH_ANSWERS:
        lines.append(
            f"VQA accuracy needs {ENOUGH_ANSWERS} answers per question, here {answers:.3g}: read exact match"
        )
    return lines


def measurement_rows(
    evaluation: Evaluation, dataset: str, split: str, machine: str | None = None
) -> list[dict[str, Any]]:
    """The figures as the fields of the manifest's ``Measurement``.

    The language stands with the dataset, and a limit with the split, so that rows of different sets never
    look alike. ``machine`` defaults to a description of this one.
    """
    where = {
        "dataset": dataset if evaluation.language is None else f"{dataset} ({evaluation.language})",
        "split": split if evaluation.limit is None else f"{split}, first {evaluation.limit} photos",
        "machine": describe_machine() if machine is None else machine,
    }
    return [
        {
            "precision": evaluation.precision,
            "task": _PARTS[part][0],
            "metric": f"{part}.{name}",
            "value": round(one.value, _DIGITS),
            "interval": (round(one.low, _DIGITS), round(one.high, _DIGITS)),
            **where,
        }
        for part, scores in _parts(evaluation)
        for name, one in scores.items()
    ]


def _parts(evaluation: Evaluation) -> Iterator[tuple[str, Mapping[str, Estimate]]]:
    """The parts that were measured, with their figures, in the order of ``_PARTS``."""
    zero_shot = evaluation.zero_shot
    found = {
        "image_to_text": evaluation.image_to_text,
        "text_to_image": evaluation.text_to_image,
        "captions": evaluation.captions,
        "vqa": evaluation.vqa,
        "zero_shot": None if zero_shot is None else zero_shot.scores,
    }
    for part in _PARTS:
        scores = found[part]
        if scores is not None:
            yield part, scores


def _title(evaluation: Evaluation) -> str:
    language = "" if evaluation.language is None else f", {evaluation.language}"
    return (
        f"{evaluation.model} ({evaluation.precision}): {evaluation.n_images} photos, "
        f"{evaluation.n_texts} texts{language}"
    )
