"""POPE: its files, its questions, and its figures against the reference's arithmetic."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seetell.core.errors import DataError, UsageError
from seetell.evaluation.bootstrap import Bootstrap
from seetell.evaluation.objects import ObjectRecord
from seetell.evaluation.pope import (
    SETTINGS,
    PopeQuestion,
    build_pope,
    is_clear,
    question_text,
    read_pope,
    says_yes,
    score_pope,
    setting_of,
    write_pope,
)

FEW = Bootstrap(samples=3)


@pytest.mark.parametrize(
    ("answer", "yes"),
    [
        ("yes", True),
        ("no", False),
        ("No", False),
        ("No, there is not.", False),
        ("Yes. There is no dog.", True),
        ("There is not a dog", False),
        ("there is no dog, I think", False),
        ("nothing", True),
        ("NO", True),  # the reference knows three spellings
        ("no!", True),  # and takes no other sign than commas and full stops away
        ("", True),
        ("chair", True),
    ],
)
def test_answers_are_read_as_the_reference_reads_them(answer: str, yes: bool) -> None:
    assert says_yes(answer) is yes


def test_what_is_neither_yes_nor_no() -> None:
    assert [is_clear(answer) for answer in ("Yes, a dog", "no.", "There is not", "chair", "", "nobody")] == [
        True,
        True,
        True,
        False,
        False,
        False,
    ]


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 3)), min_size=1, max_size=40))
def test_figures_are_the_references(rows: list[tuple[bool, bool, int]]) -> None:
    said, labels, photos = zip(*rows, strict=True)
    found = {name: one.value for name, one in score_pope(said, labels, photos, FEW).items()}
    tp = sum(yes and label for yes, label, _ in rows)
    fp = sum(yes and not label for yes, label, _ in rows)
    tn = sum(not yes and not label for yes, label, _ in rows)
    fn = sum(not yes and label for yes, label, _ in rows)
    precision = tp / (tp + fp) if tp + fp else 0.0
    recall = tp / (tp + fn) if tp + fn else 0.0
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    assert found == pytest.approx(
        {
            "accuracy": 100 * (tp + tn) / len(rows),
            "precision": 100 * precision,
            "recall": 100 * recall,
            "f1": 100 * f1,
            "yes_ratio": 100 * (tp + fp) / len(rows),
        }
    )


def test_an_input_that_failed_is_wrong_and_says_nothing() -> None:
    found = {
        name: one.value for name, one in score_pope([None, None, True], [True, False, True], "abc").items()
    }
    assert found["accuracy"] == pytest.approx(100 / 3)
    assert (found["recall"], found["precision"]) == (50, 50)
    assert found["yes_ratio"] == pytest.approx(100 / 3)


def test_intervals_resample_photos() -> None:
    found = score_pope([True] * 50 + [False] * 50, [True] * 100, [0] * 50 + [1] * 50)["accuracy"]
    assert (found.low, found.value, found.high) == (0, 50, 100)


@pytest.mark.parametrize(
    ("said", "labels", "photos"), [([], [], []), ([True], [], [1]), ([True], [True], [])]
)
def test_lists_that_do_not_fit(said: list[bool], labels: list[bool], photos: list[int]) -> None:
    with pytest.raises(UsageError):
        score_pope(said, labels, photos)


names = st.sampled_from(["person", "dog", "orange", "hot dog", "umbrella", "bus", "Apple"])
object_records = st.lists(st.lists(names, unique=True, max_size=7), min_size=1, max_size=8).map(
    lambda several: [ObjectRecord(Path(f"{n}.jpg"), tuple(one)) for n, one in enumerate(several)]
)


@given(object_records, st.sampled_from(SETTINGS), st.integers(1, 3), st.integers(0, 3))
def test_questions_are_true_to_the_photos(
    records: list[ObjectRecord], setting: str, per_photo: int, seed: int
) -> None:
    if all(len(record.objects) < per_photo for record in records):
        with pytest.raises(DataError, match="objects or more"):
            build_pope(records, setting, per_photo=per_photo, seed=seed)
        return
    found = build_pope(records, setting, per_photo=per_photo, seed=seed)
    assert found == build_pope(records, setting, per_photo=per_photo, seed=seed)
    everything = {name for record in records if len(record.objects) >= per_photo for name in record.objects}
    for record in records:
        mine = [question for question in found if question.photo == record.photo]
        if len(record.objects) < per_photo:
            assert not mine
            continue
        yes = [question.text for question in mine if question.label]
        no = [question.text for question in mine if not question.label]
        assert yes == [question_text(name) for name in record.objects[:per_photo]]
        absent = everything - set(record.objects)
        assert len(no) == len(set(no)) == min(per_photo, len(absent))
        assert set(no) <= {question_text(name) for name in absent}


def test_which_objects_are_asked_about() -> None:
    def photo(number: int, *objects: str) -> ObjectRecord:
        return ObjectRecord(Path(f"{number}.jpg"), objects)

    records = [
        photo(0, "fork"),
        *(photo(number, "fork", "knife") for number in range(1, 4)),
        *(photo(number, "person", "car") for number in range(4, 14)),
    ]

    def asked(setting: str, seed: int = 0) -> str:
        found = build_pope(records, setting, per_photo=1, seed=seed)
        [text] = [one.text for one in found if one.photo == Path("0.jpg") and not one.label]
        return text

    assert asked("popular") == "Is there a car in the image?", "most frequent, by name of equal ones"
    assert asked("adversarial") == "Is there a knife in the image?", "most often seen beside a fork"
    assert len({asked("random", seed) for seed in range(30)}) == 3


def test_photos_are_drawn_and_the_same_in_every_setting() -> None:
    records = [ObjectRecord(Path(f"{n}.jpg"), ("a", "b", f"c{n}")) for n in range(50)]
    chosen = [{one.photo for one in build_pope(records, setting, photos=10)} for setting in SETTINGS]
    assert chosen[0] == chosen[1] == chosen[2] and len(chosen[0]) == 10
    assert chosen[0] != {one.photo for one in build_pope(records, "random", photos=10, seed=1)}
    with pytest.raises(UsageError, match="random, popular, adversarial"):
        build_pope(records, "hard")


def test_the_published_article() -> None:
    assert question_text("orange") == "Is there an orange in the image?"
    assert question_text("dining table") == "Is there a dining table in the image?"
    assert question_text("umbrella") == "Is there a umbrella in the image?", "as the reference has it"


def test_a_published_file_and_ours(tmp_path: Path) -> None:
    path = tmp_path / "coco_pope_random.json"
    path.write_text(
        '{"question_id": 0, "image": "COCO_val2014_000000548882.jpg", "image_id": 548882, '
        '"text": "Is there a dining table in the image?", "label": "yes"}\n'
        '{"question_id": 3, "image": "COCO_val2014_000000548882.jpg", "image_id": 548882, '
        '"text": "Is there a tv in the image?", "label": "no"}\n'
    )
    photo = Path("images/COCO_val2014_000000548882.jpg")
    expected = [
        PopeQuestion(photo, "Is there a dining table in the image?", True),
        PopeQuestion(photo, "Is there a tv in the image?", False),
    ]
    assert read_pope(path, Path("images")) == expected
    again = tmp_path / "again.json"
    write_pope(again, expected, Path("images"))
    assert read_pope(again, Path("images")) == expected
    assert json.loads(again.read_text().splitlines()[1])["label"] == "no"
    with pytest.raises(DataError, match="outside the image folder"):
        write_pope(again, expected, Path("elsewhere"))


@pytest.mark.parametrize(
    "line",
    [
        "{}",
        '{"image": "a.jpg", "text": "x", "label": "maybe"}',
        '{"image": "a.jpg", "label": "yes"}',
        "[]",
        "",
    ],
)
def test_a_broken_file(tmp_path: Path, line: str) -> None:
    path = tmp_path / "pope.json"
    path.write_text(line)
    with pytest.raises(DataError, match=r"pope\.json"):
        read_pope(path, Path("images"))


def test_the_setting_of_a_file() -> None:
    assert setting_of(Path("coco_pope_POPULAR.json")) == "popular"
    assert setting_of(Path("mine.v2.json")) == "mine_v2"
