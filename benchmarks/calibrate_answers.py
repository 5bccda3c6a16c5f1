"""Fit how sure a bundle is of its answers, for each kind of question: `score.answer_kinds` of its manifest.

    python benchmarks/calibrate_answers.py BUNDLE --set QUESTIONS ANNOTATIONS IMAGES [--set ...] [--keep]

The temperature divides the answers' logits (Guo et al. 2017, section 4.2); it minimises the log loss of the
confidence of the answer given, as it is that confidence which is shown. The threshold is the one under which
it is best to abstain: it makes the number of right answers less that of wrong ones largest. Where two answers
are offered a guess is right half the time, and a wrong one counts twice; and `--answered 30` of 100 questions
are answered at the least. The kind `given` is fitted by asking once more with the commonest right answers to
each sort of question as `--answers`.

Both are fitted on the photos of even number and measured on the others, which is printed, a JSON object for
each kind. Kinds with fewer than `--least 30` questions on either side are left out: for them holds what the
manifest says for all. `--keep` writes the fit into the manifest; one that is there already has no part in a
new fit.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seetell.bundle.manifest import (
    FORMAT,
    MANIFEST_NAME,
    AnswerKind,
    ScoreSpec,
    manifest_json,
    read_manifest,
)
from seetell.bundle.store import resolve
from seetell.core.errors import UsageError
from seetell.core.files import atomic_write_text
from seetell.core.results import Answer
from seetell.data.records import QuestionRecord
from seetell.data.vqa import read_vqa
from seetell.evaluation.caption_confidence import equal_mass_ece
from seetell.evaluation.vqa import exact_match
from seetell.runtime.select import choose_engine
from seetell.tasks.model import Model
from seetell.tasks.question_kinds import GIVEN, absence, read_question

TEMPERATURES = np.exp(np.linspace(np.log(0.25), np.log(8.0), 21))
ANSWERED_PERCENT, LEAST = 30.0, 30
# What a wrong answer costs, in right ones: of two answers one is right half the time without a look.
COSTS = {"yes_no": 2.0, "choice": 2.0}
# Of a list given to choose from.
_FEWEST_GIVEN, _MOST_GIVEN = 2, 8


@dataclass(slots=True)
class Asked:
    """Questions of one kind that were asked, before any calibration.

    odds: of each question the log-probabilities of its answers, best first; probabilities that sum to less
    than 1 are those of written answers. right: whether the best is. even: whether the photo's number is.
    """

    odds: list[NDArray[np.float64]] = field(default_factory=list)
    right: list[bool] = field(default_factory=list)
    even: list[bool] = field(default_factory=list)

    def add(self, answer: Answer, right: bool, even: bool) -> None:
        """One more question."""
        chances = np.array([one.confidence for one in answer.alternatives])
        self.odds.append(np.log(np.maximum(chances, 1e-12)))
        self.right.append(right)
        self.even.append(even)

    def confidences(self, temperature: float) -> NDArray[np.float64]:
        """Of the answer given to each question, at this temperature."""
        odds = np.full((len(self.odds), max(map(len, self.odds))), -np.inf)
        for row, own in enumerate(self.odds):
            odds[row, : len(own)] = own
        written = np.exp(odds).sum(axis=1) < 0.999
        scaled = np.exp(odds / temperature)
        return np.asarray(scaled[:, 0] / np.where(written, 1.0, scaled.sum(axis=1)))


def fit_temperature(asked: Asked, rows: NDArray[np.bool_]) -> float:
    """The temperature with the least log loss of the confidence in the answer given, over these questions."""
    right = np.array(asked.right)[rows]

    def loss(temperature: float) -> float:
        chance = np.clip(asked.confidences(temperature)[rows], 1e-6, 1 - 1e-6)
        return float(-np.where(right, np.log(chance), np.log(1 - chance)).mean())

    # Once over the whole range, once more around the best.
    width = np.log(TEMPERATURES[1] / TEMPERATURES[0])
    best = min(TEMPERATURES, key=loss)
    return float(min(best * np.exp(np.linspace(-width, width, 17)), key=loss))


def pick_threshold(
    confidences: NDArray[np.float64], right: NDArray[np.bool_], cost: float, answered: float
) -> float:
    """The confidence to answer from, so that right answers less ``cost`` times wrong ones are most.

    Of all thresholds that leave ``answered`` (0..1) of the questions or more; midway between two confidences,
    so that rounding moves nothing over it. 0 where it is best to answer everything.
    """
    order = np.argsort(-confidences, kind="stable")
    ranked, hits = confidences[order], right[order]
    gains = np.cumsum(np.where(hits, 1.0, -cost))
    # Equal confidences are answered together, or none of them.
    stops = np.flatnonzero(np.append(ranked[:-1] > ranked[1:], True))
    stops = stops[(stops + 1) >= answered * len(ranked)]
    # Of equals the one that answers most.
    best = int(stops[::-1][np.argmax(gains[stops[::-1]])])
    return 0.0 if best + 1 == len(ranked) else float((ranked[best] + ranked[best + 1]) / 2)


def fit_kind(
    kind: str, asked: Asked, *, answered: float = ANSWERED_PERCENT / 100, least: int = LEAST
) -> tuple[AnswerKind, dict[str, Any]] | None:
    """What is fitted on photos of even number and how it does on the others; None for too few questions."""
    even, right = np.array(asked.even, bool), np.array(asked.right, bool)
    if min(even.sum(), (~even).sum()) < least:
        return None
    temperature = round(fit_temperature(asked, even), 3)
    confidences = asked.confidences(temperature)
    threshold = pick_threshold(confidences[even], right[even], COSTS.get(kind, 1.0), answered)
    fitted = AnswerKind(temperature=temperature, abstain_below=round(threshold, 4))
    report = {
        "kind": kind,
        **fitted.model_dump(),
        "fitted_on": int(even.sum()),
        **_judged(confidences[~even], right[~even], fitted.abstain_below),
        "ece_before": round(equal_mass_ece(asked.confidences(1.0)[~even].tolist(), right[~even].tolist()), 1),
    }
    return fitted, report


def _judged(
    confidences: NDArray[np.float64], right: NDArray[np.bool_], threshold: float
) -> dict[str, float | None]:
    shown = confidences >= threshold
    return {
        "n": len(right),
        "right": round(100 * float(right.mean()), 1),
        "abstained": round(100 * float((~shown).mean()), 1),
        "right_of_answered": round(100 * float(right[shown].mean()), 1) if shown.any() else None,
        "right_of_abstained": round(100 * float(right[~shown].mean()), 1) if not shown.all() else None,
        "ece": round(equal_mass_ece(confidences.tolist(), right.tolist()), 1),
    }


def ask_everything(model: Model, records: Sequence[QuestionRecord]) -> dict[str, Asked]:
    """Kind -> its questions, as a model without any calibration answers them; and those of ``given``."""
    found: dict[str, Asked] = {}
    evens = _even(records)
    count = max(len(model.manifest.answers), 25)
    pairs = [(record.photo, record.question) for record in records]
    answers: Iterable[Answer] = model.stream("ask", pairs, top=count)
    for record, answer, even in zip(records, answers, evens, strict=True):
        question = read_question(record.question)
        if question.thing is not None and answer.answer == absence(question):
            # That it is not there was said by the answer to another question.
            continue
        right = exact_match(answer.answer, record.answers, record.majority)
        found.setdefault(question.kind, Asked()).add(answer, right, even)
    found[GIVEN] = _ask_given(model, records, evens)
    return found


def _ask_given(model: Model, records: Sequence[QuestionRecord], evens: Sequence[bool]) -> Asked:
    """The same questions with the commonest right answers to their sort to choose from."""
    found = Asked()
    sorts: dict[tuple[str, str], list[int]] = {}
    for place, record in enumerate(records):
        question = read_question(record.question)
        if question.kind != "choice":
            sorts.setdefault((record.kind or question.kind, question.language), []).append(place)
    for places in sorts.values():
        counts = Counter(records[place].majority or records[place].answers[0] for place in places)
        offered = [answer for answer, _ in counts.most_common(_MOST_GIVEN)]
        own = [place for place in places if (records[place].majority or records[place].answers[0]) in offered]
        if len(offered) < _FEWEST_GIVEN:
            continue
        try:
            ask = partial(model.stream, "ask", answers=offered, top=len(offered))
            answers = list(ask([(records[place].photo, records[place].question) for place in own]))
        except UsageError:
            # A closed list that lacks one of them.
            continue
        for place, answer in zip(own, answers, strict=True):
            record = records[place]
            found.add(answer, exact_match(answer.answer, record.answers, record.majority), evens[place])
    return found


def _even(records: Sequence[QuestionRecord]) -> list[bool]:
    """Whether the number of each record's photo is even; photos without numbers are numbered as they come."""
    numbers = {photo: place for place, photo in enumerate(dict.fromkeys(one.photo_id for one in records))}
    return [
        (int(one.photo_id) if str(one.photo_id).isdecimal() else numbers[one.photo_id]) % 2 == 0
        for one in records
    ]


def uncalibrated(folder: Path, precision: str) -> Model:
    """The bundle's model without any calibration of answers."""
    bundle = resolve(folder)
    plain = {"answer_temperature": 1.0, "abstain_below": 0.0, "answer_kinds": {}}
    score = bundle.manifest.score.model_copy(update=plain)
    manifest = bundle.manifest.model_copy(update={"score": score})
    return Model(manifest, bundle.tokenizer(), choose_engine(bundle, precision=precision))


def fit_bundle(
    folder: Path,
    sets: Sequence[Sequence[Path]],
    *,
    precision: str = "auto",
    answered: float = ANSWERED_PERCENT / 100,
    least: int = LEAST,
    keep: bool = False,
) -> list[dict[str, Any]]:
    """Fit every kind on the sets (questions, annotations, images); with ``keep`` into the manifest. The
    reports."""
    kinds: dict[str, Asked] = {}
    with uncalibrated(folder, precision) as model:
        for questions, annotations, images in sets:
            for kind, asked in ask_everything(model, read_vqa(questions, annotations, images)).items():
                whole = kinds.setdefault(kind, Asked())
                for name in ("odds", "right", "even"):
                    getattr(whole, name).extend(getattr(asked, name))
    fitted: dict[str, AnswerKind] = {}
    reports = []
    for kind, asked in sorted(kinds.items()):
        found = fit_kind(kind, asked, answered=answered, least=least)
        if found is not None:
            fitted[kind], report = found
            reports.append(report)
    if keep:
        keep_fitted(folder, fitted)
    return reports


def keep_fitted(folder: Path, fitted: Mapping[str, AnswerKind]) -> ScoreSpec:
    """Write into a bundle's manifest what was fitted, in place of all that was for kinds of questions."""
    manifest = read_manifest(folder)
    score = manifest.score.model_copy(update={"answer_kinds": dict(fitted)})
    # What an earlier format does not know makes it this one.
    updated = manifest.model_copy(update={"format": FORMAT, "score": score})
    atomic_write_text(folder / MANIFEST_NAME, manifest_json(updated))
    return score


def main() -> None:
    """Print a report for each kind."""
    parser = argparse.ArgumentParser(description="Fit how sure a bundle is of its answers, kind by kind.")
    parser.add_argument("bundle", type=Path)
    parser.add_argument(
        "--set",
        dest="sets",
        nargs=3,
        type=Path,
        action="append",
        required=True,
        metavar=("QUESTIONS", "ANNOTATIONS", "IMAGES"),
        help="held-out questions; may be given several times",
    )
    parser.add_argument("--answered", type=float, default=ANSWERED_PERCENT, help="of 100 questions at least")
    parser.add_argument("--least", type=int, default=LEAST, help="questions of a kind on either side")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--keep", action="store_true", help="write into the manifest")
    given = parser.parse_args()
    reports = fit_bundle(
        given.bundle,
        given.sets,
        precision=given.precision,
        answered=given.answered / 100,
        least=given.least,
        keep=given.keep,
    )
    for report in reports:
        print(json.dumps(report, ensure_ascii=False))


if __name__ == "__main__":
    main()
