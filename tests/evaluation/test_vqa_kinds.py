"""Answers by the kind of question."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from seetell.core.errors import UsageError
from seetell.core.results import Answer
from seetell.data.records import QuestionRecord
from seetell.evaluation.predictors import Predictors
from seetell.evaluation.report import as_dict, measurement_rows, rows
from seetell.evaluation.runner import evaluate_questions
from seetell.evaluation.vqa_kinds import score_kinds


def test_balanced_is_the_mean_of_yes_and_no() -> None:
    """Eight yes and two no, all answered with yes: 80% right, and half of it balanced."""
    majorities = ["yes"] * 8 + ["no"] * 2
    right = [True] * 8 + [False] * 2
    found = score_kinds(["presence"] * 10, ["dog"] * 10, majorities, right, [False] * 10, range(10))
    own = found["presence"]
    assert own.n == 10
    assert own.scores["exact_match"].value == 80
    assert own.scores["balanced"].value == 50
    assert own.words == {"dog": (10, 80.0)}
    assert "abstained" not in own.scores


def test_kinds_are_told_apart_and_those_without_one_left_out() -> None:
    found = score_kinds(
        ["count", None, "colour", "count"],
        ["dog", None, None, "cat"],
        ["2", "yes", "红色", "3"],
        [True, True, False, False],
        [False, True, False, True],
        [0, 0, 1, 2],
    )
    assert list(found) == ["colour", "count"]
    assert found["colour"].scores["exact_match"].value == 0
    count = found["count"]
    assert set(count.scores) == {"exact_match", "abstained", "accuracy_answered"}
    assert (count.scores["abstained"].value, count.scores["accuracy_answered"].value) == (50, 100)
    assert count.words == {"cat": (1, 0.0), "dog": (1, 100.0)}


def test_chinese_yes_and_no_are_balanced_too() -> None:
    said = score_kinds(
        ["presence"] * 4,
        [None] * 4,
        ["有", "没有", "是", "不是"],
        [True, False, True, True],
        [False] * 4,
        range(4),
    )
    assert said["presence"].scores["balanced"].value == 75
    assert said["presence"].words == {}


def test_intervals_resample_photos() -> None:
    """Twenty questions about one photo are one piece of evidence."""
    kinds, words = ["count"] * 20, [None] * 20
    right = [True, False] * 10
    alone = score_kinds(kinds, words, ["2"] * 20, right, [False] * 20, [0] * 20)["count"].scores[
        "exact_match"
    ]
    assert (alone.low, alone.value, alone.high) == (50, 50, 50)
    apart = score_kinds(kinds, words, ["2"] * 20, right, [False] * 20, range(20))["count"].scores[
        "exact_match"
    ]
    assert apart.low < 40 < 60 < apart.high


def test_lists_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UsageError, match="give all of each question"):
        score_kinds(["a"], [None], ["yes"], [True, False], [False], [0])


def record(number: int, kind: str | None, answer: str, word: str | None = None) -> QuestionRecord:
    return QuestionRecord(Path(f"{number}.png"), "what?", (answer,), number, number, answer, kind, word)


def says(text: str, abstains: bool = False) -> Predictors:
    def ask(pairs: Iterable[tuple[Path, str]]) -> Iterator[Any]:
        for _ in pairs:
            yield Answer(text, 0.7, (), abstains, "m", "fp32")

    return Predictors("m", "fp32", ask=ask)


def test_an_evaluation_reports_each_kind() -> None:
    records = [record(0, "presence", "yes", "dog"), record(1, "presence", "no", "cat"), record(2, "a.b", "2")]
    found = evaluate_questions(says("yes", abstains=True), records)
    document = as_dict(found)
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    presence = document["vqa_kinds"]["presence"]
    assert (presence["n"], presence["balanced"], presence["abstained"]) == (2, 50, 100)
    assert presence["words"]["dog"] == {"n": 1, "exact_match": 100}
    assert document["vqa_kinds"]["a.b"]["exact_match"] == 0
    assert "words" not in document["vqa_kinds"]["a.b"]
    assert any(part == "answers: presence" and "balanced" in name for part, name, _, _ in rows(found))
    written = measurement_rows(found, "everyday", "dev", machine="here")
    assert {"vqa_kinds.presence.balanced", "vqa.exact_match"} <= {one["metric"] for one in written}
    assert {one["task"] for one in written} == {"ask"}


def test_without_kinds_there_is_no_such_part() -> None:
    assert "vqa_kinds" not in as_dict(evaluate_questions(says("yes"), [record(0, None, "yes")]))
