"""An Evaluation as JSON, as a table for people, and as rows for a bundle's manifest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from seetell.data.holdout import Holdout
from seetell.evaluation.bootstrap import Estimate
from seetell.evaluation.calibration import LEAST, Calibration, Point
from seetell.evaluation.machine import describe_machine
from seetell.evaluation.runner import Evaluation
from seetell.evaluation.vqa import ENOUGH_ANSWERS
from seetell.evaluation.zero_shot import ZeroShotScores

if TYPE_CHECKING:
    from rich.table import Table

# Part -> (the verb it measures, its heading), in the order they are shown.
_PARTS = {
    "image_to_text": ("embed", "photo -> text"),
    "text_to_image": ("embed", "text -> photo"),
    "captions": ("caption", "captions"),
    "chair": ("caption", "objects in captions"),
    "vqa": ("ask", "answers"),
    "vqa_kinds": ("ask", "answers:"),
    "zero_shot": ("classify", "zero-shot labels"),
    "own_labels": ("classify", "own labels"),
    "pope": ("ask", "POPE"),
    # Of answers or of labels: whichever was measured.
    "calibration": ("", "confidence"),
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
    "repeats": "say three words twice (lower is better)",
    "unsure": "unsure of",
    "accuracy": "VQA accuracy",
    "exact_match": "exact match",
    "chair_i": "CHAIRi (lower is better)",
    "chair_s": "CHAIRs (lower is better)",
    "object_recall": "objects named, of those there",
    "pope.accuracy": "accuracy",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "yes_ratio": "says yes",
    "top_1": "top-1",
    "top_5": "top-5",
    "mean_per_class": "mean per class",
    "balanced": "yes and no, balanced",
    "abstained": "abstained from",
    "ece": "calibration error (ECE)",
    "mean_confidence": "mean confidence",
    "coverage": "answered, not abstained",
    "accuracy_answered": "right of those answered",
}
# Not out of 100, and so shown with another number of digits.
_DECIMALS = {"cider": 3}
_NO_PERCENT = {"cider", "median_rank"}
_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure for people. ``heading``: of its part. ``value`` and ``interval`` are ``estimate`` as text;
    ``is_percent``: it lies in 0..100."""

    heading: str
    name: str
    value: str
    interval: str
    estimate: Estimate
    is_percent: bool


def heading(part: str) -> str:
    """What a part of the evaluation is called; ``pope.random`` and ``vqa_kinds.count`` are parts of parts."""
    part, _, setting = part.partition(".")
    return f"{_PARTS[part][1]} {setting}".strip()


def figures(evaluation: Evaluation) -> Iterator[Figure]:
    """All of them, in the order they are shown."""
    for part, scores in _parts(evaluation):
        for name, one in scores.items():
            decimals = _DECIMALS.get(name, 1)
            yield Figure(
                heading(part),
                _NAMES.get(f"{part.partition('.')[0]}.{name}") or _NAMES[name],
                f"{one.value:.{decimals}f}",
                f"{one.low:.{decimals}f} to {one.high:.{decimals}f}",
                one,
                name not in _NO_PERCENT,
            )


def as_dict(evaluation: Evaluation) -> dict[str, Any]:
    """The object that ``seetell evaluate --json`` prints: plain types, the parts that apply.

    Each part holds its figures by name and, under ``intervals``, [low, high] for each. ``failed`` lists the
    inputs that could not be used; they count as wrong in every figure.
    """
    document: dict[str, Any] = {}
    for part, scores in _parts(evaluation):
        whole, _, of = part.partition(".")
        holder = document.setdefault(whole, {}) if of else document
        holder[of or whole] = {
            **{name: round(one.value, _DIGITS) for name, one in scores.items()},
            "intervals": {
                name: [round(one.low, _DIGITS), round(one.high, _DIGITS)] for name, one in scores.items()
            },
        }
    if evaluation.n_unclear is not None:
        document["n_unclear"] = evaluation.n_unclear
    if evaluation.answers_per_question is not None:
        document["vqa"]["answers_per_question"] = round(evaluation.answers_per_question, _DIGITS)
    for kind, of_kind in (evaluation.vqa_kinds or {}).items():
        words = {
            word: {"n": n, "exact_match": round(one, _DIGITS)} for word, (n, one) in of_kind.words.items()
        }
        document["vqa_kinds"][kind] |= {"n": of_kind.n} | ({"words": words} if words else {})
    for part, labelled in _labelled(evaluation):
        document[part]["per_class"] = {
            one.label: {
                "n_images": one.n_images,
                "top_1": round(one.top_1, _DIGITS),
                "top_5": round(one.top_5, _DIGITS),
                "interval": [round(end, _DIGITS) for end in one.interval],
            }
            for one in labelled.per_class
        }
        document[part]["confused"] = [asdict(one) for one in labelled.confused]
    if evaluation.calibration is not None:
        document["calibration"] |= _calibration(evaluation.calibration)
    document |= {"n_images": evaluation.n_images, "n_texts": evaluation.n_texts}
    if evaluation.language is not None:
        document["language"] = evaluation.language
    if evaluation.limit is not None:
        document["limit"] = evaluation.limit
    if evaluation.guesses:
        document["guesses"] = True
    if evaluation.holdout is not None:
        rule = asdict(evaluation.holdout)
        document["holdout"] = {name: value for name, value in rule.items() if value is not None}
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
        shown, above = "" if part == above else part, part
        table.add_row(Text(shown, style="cyan"), name, Text(value, style="bold"), Text(interval, style="dim"))
    return table


def rows(evaluation: Evaluation) -> Iterator[tuple[str, str, str, str]]:
    """(part, metric, value, interval) as text."""
    for figure in figures(evaluation):
        yield figure.heading, figure.name, figure.value, figure.interval
    if evaluation.calibration is not None:
        for point in evaluation.calibration.curve:
            one = point.accuracy
            interval = f"{one.low:.1f} to {one.high:.1f}"
            yield (
                "right of the most confident",
                f"{point.coverage:.0f}%, from {point.threshold:.3f}",
                f"{one.value:.1f}",
                interval,
            )


def remarks(evaluation: Evaluation) -> list[str]:
    """What must be known to read the figures, one line each."""
    lines = []
    if evaluation.failed:
        many = len(evaluation.failed) > 1
        what = "inputs failed and count" if many else "input failed and counts"
        lines.append(f"{len(evaluation.failed)} {what} as wrong")
    if evaluation.limit is not None:
        lines.append(f"{_limited(evaluation)} only: not the figures of the whole set")
    if evaluation.holdout is not None:
        lines.append(f"held out: {_rule(evaluation.holdout)}")
    if evaluation.guesses:
        lines.append("captions as they were written, also those the model is unsure of")
    if evaluation.n_unclear:
        unclear = f"{evaluation.n_unclear} of {evaluation.n_texts} answers"
        lines.append(f"{unclear} say neither yes nor no and are read as yes")
    if evaluation.captions is not None and "cider" not in evaluation.captions:
        lines.append("CIDEr-D weighs words by how few photos they are said of: of one photo there is none")
    answers = evaluation.answers_per_question
    if answers is not None and answers < ENOUGH_ANSWERS:
        lines.append(
            f"VQA accuracy needs {ENOUGH_ANSWERS} answers per question, here {answers:.3g}: read exact match"
        )
    if evaluation.calibration is not None and evaluation.calibration.target is not None:
        lines.append(_wish(evaluation.calibration))
    return lines


def measurement_rows(
    evaluation: Evaluation, dataset: str, split: str, machine: str | None = None
) -> list[dict[str, Any]]:
    """The figures as the fields of the manifest's ``Measurement``.

    The language stands with the dataset, what was held out and a limit with the split, so that rows of
    different sets never look alike. ``machine`` defaults to a description of this one.
    """
    parts = [split]
    if evaluation.holdout is not None:
        parts.append(_rule(evaluation.holdout))
    if evaluation.limit is not None:
        parts.append(_limited(evaluation))
    where = {
        "dataset": dataset if evaluation.language is None else f"{dataset} ({evaluation.language})",
        "machine": describe_machine() if machine is None else machine,
    }
    return [
        {
            "precision": evaluation.precision,
            "task": _verb(evaluation, part),
            "metric": f"{part}.{name}",
            "value": round(one.value, _DIGITS),
            "interval": (round(one.low, _DIGITS), round(one.high, _DIGITS)),
            "split": ", ".join([*parts, *_as_written(evaluation, part)]),
            **where,
        }
        for part, scores in _parts(evaluation)
        for name, one in scores.items()
    ]


def _parts(evaluation: Evaluation) -> Iterator[tuple[str, Mapping[str, Estimate]]]:
    """The parts that were measured, with their figures, in the order of ``_PARTS``."""
    labelled = dict(_labelled(evaluation))
    found: dict[str, Mapping[str, Estimate] | None] = {
        "image_to_text": evaluation.image_to_text,
        "text_to_image": evaluation.text_to_image,
        "captions": evaluation.captions,
        "chair": evaluation.chair,
        "vqa": evaluation.vqa,
        **{part: scores.scores for part, scores in labelled.items()},
        "calibration": None if evaluation.calibration is None else evaluation.calibration.scores,
    }
    for part in _PARTS:
        scores = found.get(part)
        if part == "pope":
            for setting, of_setting in (evaluation.pope or {}).items():
                yield f"pope.{setting}", of_setting
        elif part == "vqa_kinds":
            for kind, of_kind in (evaluation.vqa_kinds or {}).items():
                yield f"vqa_kinds.{kind}", of_kind.scores
        elif scores is not None:
            yield part, scores


def _calibration(found: Calibration) -> dict[str, Any]:
    """What stands in the object beside the figures."""
    document: dict[str, Any] = {
        "of": found.of,
        "bins": [
            {
                "low": round(one.low, _DIGITS),
                "high": round(one.high, _DIGITS),
                "n": one.n,
                "confidence": round(one.confidence, _DIGITS),
                "accuracy": round(one.accuracy, _DIGITS),
            }
            for one in found.bins
        ],
        "curve": [_point(one) for one in found.curve],
    }
    if found.target is not None:
        document["target_accuracy"] = found.target
        document["abstain_below"] = None if found.chosen is None else _point(found.chosen)
    return document


def _point(point: Point) -> dict[str, Any]:
    one = point.accuracy
    return {
        # As it is: rounded, it could fall on the other side of a confidence.
        "threshold": point.threshold,
        "coverage": round(point.coverage, _DIGITS),
        "accuracy": round(one.value, _DIGITS),
        "interval": [round(one.low, _DIGITS), round(one.high, _DIGITS)],
    }


def _wish(found: Calibration) -> str:
    if found.chosen is None:
        return (
            f"no confidence is high enough for {found.target:g}% right, with {LEAST} answers or more above it"
        )
    return (
        f"for {found.target:g}% right abstain below {found.chosen.threshold:.4g}: "
        f"{found.chosen.coverage:.1f}% are answered, {found.chosen.accuracy.value:.1f}% of them right"
    )


def _verb(evaluation: Evaluation, part: str) -> str:
    if part == "calibration":
        return "ask" if evaluation.vqa is not None else "classify"
    return _PARTS[part.partition(".")[0]][0]


def _labelled(evaluation: Evaluation) -> Iterator[tuple[str, ZeroShotScores]]:
    """The parts that are about labels."""
    for part, scores in (("zero_shot", evaluation.zero_shot), ("own_labels", evaluation.own_labels)):
        if scores is not None:
            yield part, scores


def _as_written(evaluation: Evaluation, part: str) -> list[str]:
    of_captions = part in ("captions", "chair")
    return ["unsure captions as written"] if evaluation.guesses and of_captions else []


def _limited(evaluation: Evaluation) -> str:
    # Labelled photos are taken evenly, so they are not the first ones.
    return f"{'' if dict(_labelled(evaluation)) else 'first '}{evaluation.limit} photos"


def _rule(holdout: Holdout) -> str:
    if holdout.modulo is not None:
        return f"photos whose number leaves {holdout.remainder} when divided by {holdout.modulo}"
    return f"the last {holdout.last_fraction:.3g} of the photos by number"


def _title(evaluation: Evaluation) -> str:
    language = "" if evaluation.language is None else f", {evaluation.language}"
    return (
        f"{evaluation.model} ({evaluation.precision}): {evaluation.n_images} photos, "
        f"{evaluation.n_texts} texts{language}"
    )
