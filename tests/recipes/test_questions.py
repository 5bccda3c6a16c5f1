"""Questions made of captions, boxes and labels: true of their photos, balanced, the same every time."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from box_questions import voc_traffic
from caption_facts import caption_facts, flattened, named_facts, pairs, presence, shows, sides_of
from label_questions import label_facts, label_name
from photo_facts import colour_facts, count_facts, doing_facts
from photo_words import KINDS, WORDS, Fact, Photo, pattern, plural
from PIL import Image
from question_forms import asked, thing_name, worded
from questions import blind

from seetell.data.records import CaptionRecord, QuestionRecord
from seetell.data.vqa import read_vqa, write_vqa
from seetell.tasks.question_kinds import read_question


def photo(*english: str, chinese: tuple[str, ...] = (), number: int = 0) -> Photo:
    captions = [(text, "en") for text in english] + [(text, "zh") for text in chinese]
    return Photo(CaptionRecord(Path(f"{number}.jpg"), tuple(captions), number))


DOG = ("A brown dog runs on the beach .", "Brown dog running", "The puppy runs through sand .")
RNG = random.Random


def only(facts: list[Fact]) -> Fact:
    assert len(facts) == 1, facts
    return facts[0]


# --- what captions state ---------------------------------------------------------------------------------


def test_two_captions_state_a_thing_and_synonyms_count() -> None:
    assert shows(photo("A poodle sits .", "The puppy waits .", "An animal ."), "dog") is True
    assert shows(photo("A dog sits .", "Something waits .", "Nothing ."), "dog") is None


@pytest.mark.parametrize(
    ("caption", "word"),
    [
        ("A small animal runs .", "dog"),
        ("A player kicks .", "man"),
        ("A boy jumps .", "man"),
        ("A canoe race .", "person"),
        ("Kids wade by a pier .", "water"),
        ("A kayaker paddles .", "boat"),
        ("People walk in the park .", "tree"),
        ("A man without a hat smiles .", "hat"),
    ],
)
def test_what_a_caption_leaves_open_is_no_absence(caption: str, word: str) -> None:
    assert shows(photo(caption, caption), word) is None


def test_absence_in_both_languages() -> None:
    assert shows(photo("A woman reads .", "A lady with a book ."), "dog") is False
    assert shows(photo("A woman reads .", "A lady with a book .", chinese=("女人和狗。",)), "dog") is None
    assert (
        shows(photo("A woman reads .", "A lady with a book .", chinese=("一个女人在看书。",)), "man") is False
    )


@pytest.mark.parametrize(
    ("caption", "word"),
    [
        ("He swings a baseball bat .", "ball"),
        ("He sticks his tongue out .", "stick"),
        ("They smile for the camera .", "camera"),
        ("A mountain biker jumps .", "mountain"),
        ("She flashes a peace sign .", "sign"),
        ("She eats a hot dog .", "dog"),
        ("A girl with no dog .", "dog"),
    ],
)
def test_phrases_that_are_no_mention(caption: str, word: str) -> None:
    assert shows(photo(*[caption] * 5), word) is not True


def test_presence_has_as_many_yes_as_no_in_the_same_words() -> None:
    photos = [photo(*DOG, number=number) for number in range(30)]
    photos += [photo("A woman reads .", "A lady reads .", number=100 + number) for number in range(12)]
    facts = [fact for fact in presence(photos, 10, RNG(1)) if fact.word == "dog"]
    assert Counter(fact.answer for fact in facts) == {"yes": 10, "no": 10}
    for language in ("en", "zh"):
        by_text: dict[str, Counter[str]] = {}
        for record in asked(facts, language):
            by_text.setdefault(record.question, Counter())[record.answers[0]] += 1
        assert all(len(set(counts.values())) == 1 and len(counts) == 2 for counts in by_text.values())


def test_the_colour_two_captions_say() -> None:
    fact = only(colour_facts(photo(*DOG), RNG(1)))
    assert (fact.word, fact.answer) == ("dog", "brown")
    both = only(colour_facts(photo("A black and white dog .", "White and black dog runs ."), RNG(1)))
    assert both.answer == "black and white"
    assert colour_facts(photo("A brown dog .", "A brown dog .", "A black dog ."), RNG(1)) == []
    assert colour_facts(photo("A brown dog and a black dog .", "A brown dog ."), RNG(1)) == []
    assert colour_facts(photo("A white dog with brown spots .", "A white dog ."), RNG(1)) == []
    assert colour_facts(photo("A striped red shirt .", "A red shirt .", "A shirt ."), RNG(1)) == []


def test_how_many() -> None:
    def counted(*captions: str, chinese: tuple[str, ...] = ()) -> dict[str, str]:
        return {fact.word: fact.answer for fact in count_facts(photo(*captions, chinese=chinese), RNG(1))}

    assert counted("Two dogs play .", "Two brown dogs run .", "Dogs in snow .") == {"dog": "2"}
    assert counted("A dog chases another dog .", "Two dogs run .") == {"dog": "2"}
    assert counted("Two dogs play .", "Three dogs run .", "Two dogs .") == {}
    assert counted("Two dogs play .", "A group of dogs .", "Two dogs .") == {}
    assert counted("Two dogs .", "Two dogs .", chinese=("三只狗。",)) == {}
    assert counted(*["A dog runs ."] * 4) == {"dog": "1"}
    assert counted(*["A dog runs ."] * 4, chinese=("两只狗。",)) == {}
    assert counted(*["A dog runs ."] * 4, "A dog and its friends .") == {"dog": "1"}
    assert counted("A man and two boys .", "A man and two kids .", "Three people .")["person"] == "3"


def test_what_somebody_does() -> None:
    def doing(*captions: str) -> tuple[str, str] | None:
        found = doing_facts(photo(*captions), RNG(1))
        return (found[0].word, found[0].answer) if found else None

    assert doing(*DOG) == ("dog", "running")
    assert doing("A man rides a bike .", "Man riding a bicycle .", "A person on a hill .") == (
        "man",
        "riding a bike",
    )
    assert doing("A man stands by a bike .", "A man standing near a bicycle .") == ("man", "standing")
    # What another one does is not what he does.
    assert doing("A girl sits while a man is fishing .", "Girl sitting near a man fishing .") == (
        "girl",
        "sitting",
    )
    assert doing("A boy jumps .", "A girl jumps .") is None


def test_where_which_animal_and_which_sport() -> None:
    def named(*captions: str) -> dict[str, str]:
        return {fact.kind: fact.answer for fact in named_facts(photo(*captions), RNG(1))}

    assert named("A dog on the beach .", "A dog by the sea , on a beach .") == {
        "where": "beach",
        "animal": "dog",
    }
    assert named("Men playing soccer .", "A soccer game .", "Soccer players .")["sport"] == "soccer"
    assert named("A dog and a cat .", "A cat and a dog .") == {}


def test_indoors_and_night(tmp_path: Path) -> None:
    for name, grey in (("bright", 200), ("dim", 30)):
        Image.new("L", (8, 8), grey).save(tmp_path / f"{name}.png")

    def at(name: str, *captions: str) -> Photo:
        texts = tuple((text, "en") for text in captions)
        return Photo(CaptionRecord(tmp_path / f"{name}.png", texts, 0))

    park = at("bright", "Grass in a park .", "A field of grass .")
    dim = at("dim", "Grass in a park .", "A field of grass .")
    street = at("dim", "A street at night .", "A street .")
    kitchen = at("bright", "A kitchen .", "A man in his kitchen .")
    found = sides_of([park, dim, street, kitchen])
    assert found["day"] == {"day": [park], "night": [street]}
    assert found["indoors"]["indoors"] == [kitchen]
    assert found["indoors"]["outdoors"] == [park, dim, street]


def test_answers_are_flattened() -> None:
    facts = [Fact(photo(), "colour", "dog", "brown", 0)] * 50 + [Fact(photo(), "colour", "dog", "red", 0)] * 9
    assert Counter(fact.answer for fact in flattened(facts, RNG(1))) == {"brown": 9, "red": 9}
    assert flattened(facts[:50], RNG(1)) == []


# --- their wording ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_wording_is_read_as_what_it_is(language: str) -> None:
    """What the model is taught to answer is what its wording bounds the answer to."""
    wanted = {
        **dict.fromkeys(("presence", "day_yes_no", "indoors_yes_no"), "yes_no"),
        **dict.fromkeys(("choice", "gender", "day", "indoors"), "choice"),
        "count_more": "count",
        "colour": "colour",
    }
    facts = [
        *(("presence", word, "yes") for word in WORDS["things"]),
        *(("count_more", word, "3") for word in KINDS["counted"]),
        *(("colour", word, "red") for word in KINDS["coloured"]),
        *(("choice", f"{one}|{other}", one) for one, other in KINDS["choices"]),
        *(("gender", pair["one"], pair["other"]) for pair in KINDS["genders"]),
        *((kind, kind, "night") for kind in ("day", "day_yes_no")),
        *((kind, kind, "indoors") for kind in ("indoors", "indoors_yes_no")),
    ]
    draws = RNG(3)
    for kind, word, answer in facts:
        for _ in range(20):
            text, said = worded(Fact(photo(), kind, word, answer, draws.randrange(1 << 30)), language)
            read = read_question(text)
            assert read.kind == wanted[kind], text
            assert "{" not in text
            if read.options:
                assert said in read.options, (text, said)


def test_names() -> None:
    assert [plural(one) for one in ("dog", "bus", "baby", "woman", "beach", "swimming pool", "person")] == [
        "dogs", "buses", "babies", "women", "beaches", "swimming pools", "people",
    ]  # fmt: skip
    assert (thing_name("animal").one, thing_name("dog").one, thing_name("sunglasses").one) == (
        "an animal",
        "a dog",
        "sunglasses",
    )
    assert label_name("clothing/pants").one == "pants"
    assert label_name("caltech101/garfield").one == "Garfield"
    assert label_name("caltech101/airplanes").one == "an airplane"
    assert pattern("hot_dog cat").search("two hot dogs") is not None
    assert pattern("").search("anything") is None


def test_the_tables_are_whole() -> None:
    assert len(WORDS["things"]) >= 40
    for word, thing in WORDS["things"].items():
        assert {"zh", "says", "hints", "zh_says", "zh_hints"} <= set(thing), word
    for one, other in KINDS["choices"]:
        assert {one, other} <= set(WORDS["things"])
    assert set(KINDS["counted"]) <= set(WORDS["things"])
    assert set(KINDS["passive"].split()) <= {one.replace(" ", "_") for one in KINDS["doing"]}


# --- boxes and labels ------------------------------------------------------------------------------------


def test_template_questions(tmp_path: Path) -> None:
    records, number = [], 0
    for place in range(40):
        for text, answer in (
            ("is there a car in the picture?", "yes" if place % 3 else "no"),
            ("how many cars are in the picture?", "1" if place % 4 else "3"),
            ("is the car on the left or on the right?", "left"),
            ("what animal is this?", "cat"),
        ):
            path = tmp_path / "images" / f"{place}.jpg"
            records.append(QuestionRecord(path, text, (answer,), number, place, answer))
            number += 1
    files = tmp_path / "questions_train.json", tmp_path / "annotations_train.json"
    write_vqa(records, *files, tmp_path / "images")
    found = voc_traffic(tmp_path, 1)
    dev = found["en"]["dev"]
    assert {int(one.photo_id) for one in dev} == set(range(32, 40))
    assert {one.question for one in dev} <= {one.question for one in records}
    for language in ("en", "zh"):
        for split in ("train", "dev"):
            own = [one for one in found[language][split] if one.kind == "presence"]
            assert len(set(Counter(one.answers[0] for one in own).values())) == 1
    train = Counter(one.kind for one in found["en"]["train"])
    assert train["count_one"] == train["count_more"] == 8
    assert {one.answers[0] for one in found["zh"]["dev"]} == {"有", "没有", "1", "3", "左边", "猫"}
    assert len({one.question for one in found["en"]["train"]}) > 8


def test_labelled_photos() -> None:
    labels = ["dalmatian", "emu", "flamingo", "flamingo head", "pizza", "crayfish", "lobster"]
    photos = [(photo(number=number), labels[number % 7]) for number in range(70)]
    facts = label_facts("caltech101", photos, RNG(1))
    label_of = {shown.number: label for shown, label in photos}
    for fact in facts:
        label = label_of[fact.photo.number]
        if fact.kind == "object":
            assert fact.answer == f"caltech101/{label}"
        if fact.kind == "presence" and fact.word == "bird":
            assert (fact.answer == "yes") == (label in ("emu", "flamingo", "flamingo head"))
        if fact.kind == "presence" and fact.word == "caltech101/crayfish":
            # Both are called lobster.
            assert (fact.answer == "yes") == (label in ("crayfish", "lobster"))
        if fact.kind == "choice":
            assert len({label_name(one).english for one in fact.word.split("|")}) == 2
    said = {record.answers[0] for record in asked(facts, "en", label_name)}
    assert {"dog", "emu", "flamingo", "pizza", "lobster", "yes", "no"} == said
    assert "龙虾" in {record.answers[0] for record in asked(facts, "zh", label_name)}


# --- the whole -------------------------------------------------------------------------------------------


def test_what_the_text_alone_gives() -> None:
    def record(text: str, answer: str, kind: str = "presence") -> QuestionRecord:
        return QuestionRecord(Path("a.jpg"), text, (answer,), 0, 0, answer, kind)

    train = [record("a?", "yes")] * 3 + [record("a?", "no")] + [record("b?", "2", "count")]
    dev = [record("a?", "yes"), record("a?", "no"), record("b?", "2", "count"), record("c?", "2", "count")]
    dev.append(record("d?", "3", "count"))
    # Texts that were not seen get the commonest answer to their kind.
    assert blind(train, dev) == {"count": (1, 3, pytest.approx(200 / 3)), "presence": (4, 2, 50.0)}


def test_ids_are_unique_and_the_seed_decides() -> None:
    photos = [photo("A brown dog runs .", "A brown dog .", number=number) for number in range(20)]
    photos += [photo("A woman reads .", "A lady reads .", number=30 + number) for number in range(20)]
    first, again, other = (asked(caption_facts(photos, 50, RNG(seed)), "en") for seed in (1, 1, 2))
    assert first == again != other
    assert len({record.question_id for record in first}) == len(first) > 40
    assert all(record.kind and record.word for record in first)


def test_pairs_draw_no_photo_twice() -> None:
    photos = [photo(number=number) for number in range(9)]
    facts = pairs("day", "day", {"day": photos[:6], "night": photos[6:]}, None, RNG(1))
    assert len({(fact.answer, fact.photo.number) for fact in facts}) == len(facts) == 6


def test_the_script(tmp_path: Path) -> None:
    """A clean folder becomes folders that a recipe reads."""
    data = tmp_path / "data"
    for split in ("train", "dev"):
        images, annotations = [], []
        for number in range(12):
            name = f"{split}{number}.png"
            path = data / "flickr8k" / "images" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (200, 200, 200)).save(path)
            images.append({"id": number, "file_name": name})
            texts = DOG if number % 2 else ("A woman reads a book .", "A lady with a book .")
            annotations += [{"image_id": number, "caption": text} for text in texts]
            annotations.append({"image_id": number, "caption": "好。", "language": "zh"})
        document: dict[str, Any] = {"images": images, "annotations": annotations}
        (data / "flickr8k" / f"captions_{split}.json").write_text(json.dumps(document), encoding="utf-8")
    voc = data / "voc_traffic"
    (voc / "images").mkdir(parents=True)
    asked_of_voc = [
        QuestionRecord(voc / "images" / f"{n}.jpg", "is there a cat in the picture?", (a,), n, n, a)
        for n, a in enumerate(["yes", "no"] * 10)
    ]
    write_vqa(asked_of_voc, voc / "questions_train.json", voc / "annotations_train.json", voc / "images")
    for name, own in (
        ("imagenette", ["church", "tench"]),
        ("caltech101", ["cup", "emu"]),
        ("clothing", ["hat", "dress"]),
        ("tiny_imagenet", ["tabby", "espresso", "lion"]),
    ):
        for label in own:
            folder = data / "labelled" / name / label
            folder.mkdir(parents=True)
            for number in range(20):
                (folder / f"{number:02}.jpg").touch()
    script = Path(__file__).parents[2] / "recipes" / "builtin" / "questions.py"
    done = subprocess.run(
        [sys.executable, str(script), str(data), str(tmp_path / "out")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "by text alone" in done.stdout
    made = sorted(path.name for path in (tmp_path / "out").iterdir())
    sets = ["flickr8k", "labelled", "voc_traffic", "animals"]
    asked_about = ["flickr8k_en", *sets[1:], *(f"{name}_zh" for name in sets)]
    assert made == sorted([*asked_about, "drawn", "nothing", "nothing_zh"])
    for name in asked_about:
        for split in ("train", "dev"):
            own_folder = tmp_path / "out" / name
            records = read_vqa(
                own_folder / f"questions_{split}.json",
                own_folder / f"annotations_{split}.json",
                own_folder / "images",
            )
            assert records
            assert all(record.kind and record.photo.exists() for record in records if name[:3] != "voc")
    # A cat is asked for in photos of single things, and never where it is open whether one is there.
    for split, count in (("train", 18), ("dev", 2)):
        own_folder = tmp_path / "out" / "animals_zh"
        records = read_vqa(
            own_folder / f"questions_{split}.json",
            own_folder / f"annotations_{split}.json",
            own_folder / "images",
        )
        of_cats = [record for record in records if record.word == "cat"]
        shown = Counter((record.photo.parent.name == "tabby", record.answers[0]) for record in of_cats)
        assert shown == {(True, "有"): 3 * count, (False, "没有"): 3 * count}
        assert not any(record.photo.parent.name == "lion" for record in of_cats)
