"""Pictures put together from others: what is asked about them is true of what can be seen."""

from __future__ import annotations

import random
from pathlib import Path

import mosaics
import numpy as np
import pytest
from PIL import Image

from seetell.data.records import QuestionRecord
from seetell.data.vqa import read_vqa, write_vqa

RED, BLUE = (220, 20, 20), (20, 20, 220)


def one(folder: Path, name: str, colour: tuple[int, int, int], **counts: int) -> mosaics.Known:
    Image.new("RGB", (120, 80), colour).save(folder / name)
    return mosaics.Known(folder / name, counts, ())


def answers(made: list[tuple[QuestionRecord, str]], kind: str) -> dict[str, str]:
    return {str(record.word): record.answers[0] for record, one_kind in made if one_kind == kind}


def test_what_questions_tell_of_a_photo() -> None:
    asked = (
        ("is there a cat in the picture?", "no"),
        ("is there a car in the picture?", "yes"),
        ("how many buses are in the picture?", "2"),
        ("is the car on the left or on the right?", "left"),
    )
    (found,) = mosaics.known(
        [
            QuestionRecord(Path("a.jpg"), text, (answer,), number, 1)
            for number, (text, answer) in enumerate(asked)
        ]
    )
    assert found.counts == {"cat": 0, "bus": 2}, "that there is a car does not say how many"
    assert [record.word for record in found.sides] == ["car"]


def test_side_by_side(tmp_path: Path) -> None:
    some = [
        one(tmp_path, "a.png", RED, cat=1, car=0, bus=2),
        one(tmp_path, "b.png", BLUE, cat=0, car=1, bus=1),
    ]
    made = mosaics.mosaic(some, 1, 2, tmp_path, "m.jpg", random.Random(1))
    pixels = np.asarray(Image.open(tmp_path / "m.jpg"))
    assert pixels[20, 5, 0] > 150 > pixels[20, 5, 2], "the first is on the left"
    assert pixels[20, -5, 2] > 150 > pixels[20, -5, 0]
    sides = answers(made, "side")
    assert sides.pop("cat") == "left" and sides.pop("car") == "right"
    assert sides in ({"cat|car": "left"}, {"car|cat": "right"})
    assert answers(made, "count_more") == {"bus": "3"}
    assert answers(made, "count_one") == {"cat": "1", "car": "1"}


def test_what_is_not_known_of_all_is_not_asked(tmp_path: Path) -> None:
    some = [one(tmp_path, "a.png", RED, cat=1), one(tmp_path, "b.png", BLUE, car=1)]
    assert not mosaics.mosaic(some, 1, 2, tmp_path, "m.jpg", random.Random(1))


@pytest.mark.parametrize(
    ("rows", "columns", "place", "side"),
    [(1, 3, 0, "left"), (1, 3, 1, None), (1, 3, 2, "right"), (2, 1, 0, None), (2, 2, 2, "left")],
)
def test_what_is_in_the_middle_has_no_side(
    tmp_path: Path, rows: int, columns: int, place: int, side: str | None
) -> None:
    some = [
        one(tmp_path, f"{number}.png", BLUE, cat=int(number == place)) for number in range(rows * columns)
    ]
    made = mosaics.mosaic(some, rows, columns, tmp_path, "m.jpg", random.Random(1))
    assert answers(made, "side").get("cat") == side


def test_a_mirrored_photo_has_the_other_answer(tmp_path: Path) -> None:
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:, :30] = RED
    Image.fromarray(pixels).save(tmp_path / "a.png")
    record = QuestionRecord(tmp_path / "a.png", "is the car on the left or on the right?", ("left",), 0, 0)
    known = mosaics.known([record])[0]
    ((found, kind),) = mosaics.mirrored(known, tmp_path, "m.jpg")
    assert kind == "side" and found.answers == ("right",) and found.question == record.question
    assert np.asarray(Image.open(found.photo))[20, -5, 0] > 150


def test_the_script_writes_both_languages_and_nothing_held_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    voc = tmp_path / "voc_traffic"
    (voc / "images").mkdir(parents=True)
    asked = []
    for number in range(20):
        # What is held out, the last fifth, is blue.
        name = voc / "images" / f"{number:02d}.png"
        Image.new("RGB", (60, 40), RED if number < 16 else BLUE).save(name)
        there = number % 2
        asked.append(
            QuestionRecord(
                name,
                "how many cats are in the picture?" if there else "is there a cat in the picture?",
                ("1" if there else "no",),
                number,
                number,
            )
        )
    write_vqa(asked, voc / "questions_train.json", voc / "annotations_train.json", voc / "images")
    monkeypatch.setattr(mosaics, "_PICTURES", 12)
    monkeypatch.setattr("sys.argv", ["mosaics.py", str(tmp_path), str(tmp_path / "made")])
    mosaics.main()
    made = tmp_path / "made" / "mosaics"
    records = read_vqa(made / "questions_train.json", made / "annotations_train.json", made / "images")
    assert {record.photo for record in records} == set((made / "images").iterdir())
    assert {any(ord(letter) > 1000 for letter in record.question) for record in records} == {True, False}
    assert all(record.question and record.answers[0] for record in records)
    for path in (made / "images").iterdir():
        assert np.asarray(Image.open(path))[..., 2].max() < 150, "nothing of the last fifth"
