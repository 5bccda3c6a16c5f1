"""VQA accuracy and answer normalisation: the official code's cases, and its formula written out."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seetell.core.errors import UsageError
from seetell.evaluation import answer_normalisation
from seetell.evaluation.answer_normalisation import (
    normalise_answer,
    normalise_punctuation,
    normalise_words,
)
from seetell.evaluation.vqa import exact_match, score_answers, vqa_accuracy

# input, processPunctuation, processDigitArticle, both in turn: printed by the official code.
OFFICIAL = [
    ("A dog.", "A dog", "dog.", "dog"),
    ("the Red, blue", "the Red blue", "red, blue", "red blue"),
    ("Two dogs", "Two dogs", "2 dogs", "2 dogs"),
    ("1,000", "1000", "1,000", "1000"),
    ("1.5", "1.5", "1.5", "1.5"),
    ("yes!", "yes ", "yes!", "yes"),
    ("dont", "dont", "don't", "don't"),
    ("a/b", "a b", "a/b", "b"),
    ("left-hand side", "left hand side", "left-hand side", "left hand side"),
    ("left - hand", "left  hand", "left - hand", "left hand"),
    ("none", "none", "0", "0"),
    ("10:30", "10:30", "10:30", "10:30"),
    ("$5", "$5", "$5", "$5"),
    ("Mr. Smith", "Mr Smith", "mr. smith", "mr smith"),
    ("The", "The", "", ""),
    ("", "", "", ""),
    ("  ten  ", "  ten  ", "10", "10"),
    ("wheres the cat?", "wheres the cat ", "where's cat?", "where's cat"),
    ("3.14.", "3.14", "3.14.", "3.14"),
    ("U.S.A.", "USA", "u.s.a.", "usa"),
    ("red;blue", "red blue", "red;blue", "red blue"),
    ("über", "über", "über", "über"),
]

answer = st.sampled_from(["yes", "no", "2", "two", "a dog", "dog", "Dog!", "the", "t-shirt", ""])


def officially(said: str, people: list[str]) -> float:
    """The official loop over the people left out, with people told apart by their place."""
    if len(set(people)) > 1:
        people = [normalise_answer(one) for one in people]
        said = normalise_answer(said)
    each = []
    for left_out in range(len(people)):
        others = [one for place, one in enumerate(people) if place != left_out]
        each.append(min(1.0, others.count(said) / 3))
    return sum(each) / len(each)


@pytest.mark.parametrize(("given_", "punctuation", "words", "both"), OFFICIAL)
def test_official_normalisation(given_: str, punctuation: str, words: str, both: str) -> None:
    assert normalise_punctuation(given_) == punctuation
    assert normalise_words(given_) == words
    assert normalise_answer(given_) == both


def test_all_official_cases_and_tables(reference: Any) -> None:
    data = reference("vqa_normalise.json")
    for case in data["cases"]:
        assert normalise_punctuation(case["input"]) == case["punct"], case
        assert normalise_words(case["input"]) == case["digit_article"], case
        assert normalise_answer(case["input"]) == case["both"], case
    assert data["contractions"] == answer_normalisation.CONTRACTIONS
    assert set(data["articles"]) == answer_normalisation.ARTICLES
    assert data["punct"] == list(answer_normalisation.PUNCTUATION)
    # The official table grows as it is used; its own entries come first.
    assert dict(list(data["manualMap"].items())[:12]) == answer_normalisation.NUMBERS


def test_only_the_first_32_full_stops_go() -> None:
    assert normalise_punctuation("x" + "." * 40) == "x" + "." * 8


@given(st.text(max_size=30))
def test_a_normalised_answer_has_no_marks_articles_or_capitals(text: str) -> None:
    found = normalise_answer(text)
    assert not set(found) & set(answer_normalisation.PUNCTUATION)
    assert not set(found.split()) & {"a", "an", "the"}
    assert found == found.strip()


def test_the_example_of_the_official_authors() -> None:
    # 8 people said yes, 2 no: "no" gets 1/10 * (8 * 2/3 + 2 * 1/3) = 0.6 (their answer to a question).
    people = ["yes"] * 8 + ["no"] * 2
    assert vqa_accuracy("no", people) == pytest.approx(0.6)
    assert vqa_accuracy("yes", people) == 1
    assert vqa_accuracy("perhaps", people) == 0


@pytest.mark.parametrize(("matches", "accuracy"), [(0, 0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1), (9, 1)])
def test_of_ten_people(matches: int, accuracy: float) -> None:
    people = ["red"] * matches + [f"other {place}" for place in range(10 - matches)]
    assert vqa_accuracy("Red.", people) == pytest.approx(accuracy)


@pytest.mark.parametrize(("people", "accuracy"), [(1, 0), (2, 1 / 3), (3, 2 / 3), (4, 1)])
def test_with_fewer_people_the_official_formula_stays_below_one(people: int, accuracy: float) -> None:
    assert vqa_accuracy("red", ["red"] * people) == pytest.approx(accuracy)


@given(answer.filter(bool), st.lists(answer, min_size=1, max_size=12))
def test_accuracy_is_the_official_loop(said: str, people: list[str]) -> None:
    assert vqa_accuracy(said, people) == pytest.approx(officially(said, people))


def test_unanimous_people_are_compared_to_the_letter() -> None:
    assert vqa_accuracy("t-shirt", ["t-shirt"] * 10) == 1
    assert vqa_accuracy("t shirt", ["t-shirt"] * 10) == 0
    assert vqa_accuracy("t shirt", ["t-shirt"] * 9 + ["shirt"]) == 1
    assert vqa_accuracy(" red\n", ["red\t"] * 10) == 1


@pytest.mark.parametrize(
    ("said", "people", "majority", "right"),
    [
        ("Red.", ["red"], None, True),
        ("two", ["2"], "2", True),
        ("a table", ["table"], "table", True),
        ("blue", ["red", "red", "blue"], None, False),
        ("red", ["Red!", "red", "blue"], None, True),
        ("red", ["red", "blue"], "blue", False),
        ("table, chair", ["table", "chair"], "table, chair", True),
        ("table", ["table", "chair"], "table, chair", False),
        ("", [""], None, False),
        ("", ["the"], None, False),
        ("a", ["A"], None, True),
        ("a", ["the"], None, False),
    ],
)
def test_exact_match(said: str, people: list[str], majority: str | None, right: bool) -> None:
    assert exact_match(said, people, majority) is right


def test_questions_of_one_photo_are_resampled_together() -> None:
    people = [["yes"] * 10] * 40
    answers = ["yes"] * 20 + ["no"] * 20
    two_photos = score_answers(answers, people, [None] * 40, [0] * 20 + [1] * 20)
    forty = score_answers(answers, people, [None] * 40, list(range(40)))
    assert two_photos["accuracy"].value == forty["accuracy"].value == 50
    assert (two_photos["exact_match"].low, two_photos["exact_match"].high) == (0, 100)
    assert 30 < forty["exact_match"].low < forty["exact_match"].high < 70


def test_photos_with_many_questions_weigh_by_their_questions() -> None:
    found = score_answers(["yes", "no", "no"], [["yes"]] * 3, [None] * 3, ["a", "b", "b"])
    assert found["exact_match"].value == pytest.approx(100 / 3)


def test_what_cannot_be_scored_is_refused() -> None:
    with pytest.raises(UsageError):
        vqa_accuracy("red", [])
    with pytest.raises(UsageError):
        exact_match("red", [])
    with pytest.raises(UsageError):
        score_answers([], [], [], [])
    with pytest.raises(UsageError):
        score_answers(["red"], [["red"]], [None], [])
