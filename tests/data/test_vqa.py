"""VQAv2 JSON: both ways of naming photos, missing answers, broken entries, and writing it back."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from seetell.core.errors import DataError
from seetell.data.records import BrokenRecord, QuestionRecord
from seetell.data.vqa import question_items, read_vqa, write_vqa

IMAGES = Path("photos")


def written(folder: Path, questions: object, annotations: object | None = None) -> tuple[Path, Path | None]:
    path = folder / "questions.json"
    path.write_text(json.dumps({"questions": questions}), encoding="utf-8")
    if annotations is None:
        return path, None
    answers = folder / "annotations.json"
    answers.write_text(json.dumps({"annotations": annotations}), encoding="utf-8")
    return path, answers


def question(number: int = 1, **changes: Any) -> dict[str, Any]:
    base = {"question_id": number, "image_id": 42, "image": "a.png", "question": "what?"}
    return {key: value for key, value in {**base, **changes}.items() if value is not None}


def answer(number: int = 1, **changes: Any) -> dict[str, Any]:
    base = {
        "question_id": number,
        "image_id": 42,
        "answers": [{"answer": "dog"}, {"answer": "puppy"}],
        "multiple_choice_answer": "dog",
    }
    return {key: value for key, value in {**base, **changes}.items() if value is not None}


def test_reads_answers_of_all_people_and_the_majority(tmp_path: Path) -> None:
    (record,) = read_vqa(*written(tmp_path, [question()], [answer()]), IMAGES)
    assert record == QuestionRecord(IMAGES / "a.png", "what?", ("dog", "puppy"), 1, 42, "dog")


def test_reads_what_sort_of_question_it_is_and_what_it_is_about(tmp_path: Path) -> None:
    answers = [answer(1, question_type="presence", word="dog"), answer(2, question_type="what is the")]
    first, second = read_vqa(*written(tmp_path, [question(1), question(2)], answers), IMAGES)
    assert (first.kind, first.word) == ("presence", "dog")
    assert (second.kind, second.word) == ("what is the", None)


@pytest.mark.parametrize("field", ["question_type", "word"])
def test_a_kind_that_is_no_text_is_refused(tmp_path: Path, field: str) -> None:
    with pytest.raises(DataError, match=f"answer to question 1: '{field}' is not a text"):
        read_vqa(*written(tmp_path, [question()], [answer(**{field: 3})]), IMAGES)


def test_answers_are_found_by_question_not_by_place(tmp_path: Path) -> None:
    answers = [answer(2, answers=None, multiple_choice_answer="two"), answer(1, multiple_choice_answer=None)]
    first, second = read_vqa(*written(tmp_path, [question(1), question(2)], answers), IMAGES)
    assert (first.answers, first.majority) == (("dog", "puppy"), None)
    assert (second.answers, second.majority) == (("two",), "two")


def test_without_annotations_there_are_no_answers(tmp_path: Path) -> None:
    (record,) = read_vqa(*written(tmp_path, [question()]), IMAGES)
    assert record.answers == ()


def test_photos_named_as_coco_does_are_found_by_number(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for name in ("COCO_val2014_000000000042.jpg", "000000000007.png", "notes.txt"):
        (images / name).touch()
    asked = [
        question(1, image=None),
        question(2, image=None, image_id=7),
        question(3, image=None, image_id=9),
    ]
    records = read_vqa(*written(tmp_path, asked), images)
    assert [record.photo.name for record in records] == [
        "COCO_val2014_000000000042.jpg",
        "000000000007.png",
        "000000000009.jpg",
    ]


@pytest.mark.parametrize(
    ("questions", "annotations", "expected"),
    [
        ([question(question=None)], None, "question 1: 'question' is missing"),
        ([question(question=["what?"])], None, "question 1: 'question' is not a text"),
        ([question(question_id=None)], None, "questions[0]: 'question_id' is missing"),
        ([question(), question()], None, "question 1: the id occurs twice"),
        ([question(image="../a.png")], None, "leaves the image folder"),
        ([question(image=None, image_id="seven")], None, "image_id 'seven' is no number"),
        ([question()], [], "question 1"),
        ([question()], [answer(), answer()], "answer to question 1: occurs twice"),
        ([question()], [answer(answers=["dog"])], "not a list of objects"),
        ([question()], [answer(answers=[{"answer": ""}])], "answer to question 1: 'answer'"),
        ([question()], [answer(answers=None, multiple_choice_answer=None)], "holds neither"),
    ],
)
def test_a_broken_entry_is_named(
    tmp_path: Path, questions: object, annotations: object | None, expected: str
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    with pytest.raises(DataError) as caught:
        read_vqa(*written(tmp_path, questions, annotations), images)
    assert expected in str(caught.value)
    assert ".json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_image_folder_is_only_listed_when_ids_need_it(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    assert read_vqa(*written(tmp_path, [question()]), missing)
    with pytest.raises(DataError, match="cannot be listed"):
        read_vqa(*written(tmp_path, [question(image=None)]), missing)


def test_written_questions_read_back_the_same(tmp_path: Path) -> None:
    images = tmp_path / "images"
    records = [
        QuestionRecord(images / "sub" / "a.png", "什么颜色?", ("红",), 5, 42, "红"),
        QuestionRecord(images / "b.png", "how many?", ("2", "two"), "q6", 43, None),
        QuestionRecord(images / "b.png", "is there a dog?", ("yes",), 7, 43, "yes", "presence", "dog"),
    ]
    questions, annotations = tmp_path / "q.json", tmp_path / "a.json"
    write_vqa(records, questions, annotations, images)
    again = read_vqa(questions, annotations, images)
    assert again[0] == records[0]
    assert (again[1].answers, again[1].majority) == (("2", "two"), "2")
    assert again[2] == records[2]
    with pytest.raises(DataError, match="outside the image folder"):
        write_vqa(records, questions, annotations, tmp_path / "other")


def test_a_broken_question_costs_itself_and_no_other(tmp_path: Path) -> None:
    questions = [question(1), question(2, question=7), question(3), question(1), question(4)]
    answers = [answer(1), answer(2), answer(3, answers="dog"), answer(4)]
    path, answered = written(tmp_path, questions, answers)
    read = list(question_items(path, answered, lambda _: IMAGES))
    assert [item.question_id for item in read if isinstance(item, QuestionRecord)] == [1, 4]
    told = [item.message for item in read if isinstance(item, BrokenRecord)]
    assert [message.removeprefix(f"{tmp_path}{os.sep}") for message in told] == [
        "questions.json: question 2: 'question' is not a text (7)",
        "annotations.json: answer to question 3: 'answers' is not a list of objects",
        "questions.json: question 1: the id occurs twice",
    ]
