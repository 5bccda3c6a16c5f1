"""Captions of rooms, streets and single things, made from questions and labels, English and Chinese.

    python recipes/builtin/captions.py DATA OUT

People describe none of these photos, and a model that learns captions from Flickr alone puts a person or a
dog into every empty room. Written are folders in the recipe format ``coco_captions``: ``rooms`` (DAQUAR
without its last tenth), ``traffic`` (voc_traffic without its last fifth) and ``objects`` (the labelled photos
without every tenth of a label). Each has ``captions_train.json`` and ``images``, a link to the photos. In
``calibration`` are links to photos of all kinds, for int8, none of which is measured on. ``unsure`` is what
to fit the confidence of captions on beside Flickr8k's photos: some that are held out with what they show, and
drawn pictures of nothing, in ``names.json``; and in ``things.json`` what to ask about what a caption names.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from drawn import pictures_of_nothing
from label_questions import label_name
from photo_words import KINDS, WORDS, Fact, Photo, plural, with_plurals
from question_forms import Names, thing_name, worded

from seetell.core.files import atomic_write_text
from seetell.data.coco import read_coco_captions
from seetell.data.holdout import Holdout, split_holdout, split_labelled_holdout
from seetell.data.imagefolder import read_imagefolder
from seetell.data.records import CaptionRecord, QuestionRecord
from seetell.data.vqa import read_vqa

_HERE = Path(__file__).parent
_PER_PHOTO = 5
# Photos of each kind to calibrate int8 on.
_CALIBRATED = 60
_WHO = ("man", "woman", "boy", "girl", "child", "baby")
_NUMERALS = {"en": ("", "a", "two", "three", "four"), "zh": ("", "一", "两", "三", "四")}
# Photos of each set of labels, and drawn pictures of each kind, to learn on when to be unsure.
_UNSURE_PHOTOS, _UNSURE_PICTURES = 120, 20
# Nouns that take no article.
_PLAIN = re.compile(
    r"(books|shelves|blinds|clothes|sunglasses|binoculars|headphones|scissors|pants|shoes|shorts)"
)

Captioned = Mapping[Path, Mapping[str, Sequence[str]]]


def with_article(noun: str) -> str:
    """ "a cup", "an orange", "some books"."""
    if _PLAIN.fullmatch(noun):
        return f"some {noun}" if noun in ("books", "shelves", "clothes") else noun
    return f"an {noun}" if noun[0].lower() in "aeiou" else f"a {noun}"


def joined(parts: Sequence[str], last: str, comma: str) -> str:
    """ "one, two and three"."""
    return parts[0] if len(parts) == 1 else comma.join(parts[:-1]) + last + parts[-1]


def rooms(records: Iterable[QuestionRecord], words: Mapping[str, Any], rng: random.Random) -> Captioned:
    """What the questions and answers about each room name."""
    named: dict[Path, list[str]] = defaultdict(list)
    for record in records:
        for text in record.answers:
            answer = text.replace("_", " ").lower()
            if answer in words["rooms"]:
                named[record.photo].append(answer)
            named[record.photo].extend(f"={answer}" for _ in range(answer not in words["rooms"]))
    found: dict[Path, dict[str, list[str]]] = {}
    for photo, answers in named.items():
        things = [one for one in dict.fromkeys(answers) if not one.startswith("=")]
        # Two names of one thing say it once.
        things = list({words["rooms"][one][0]: one for one in things}.values())
        if not things:
            continue
        said = {one.lstrip("=").replace(" ", "_") for one in answers}
        kind = next(
            (name for name, one in words["kinds_of_room"].items() if said & set(one["with"].split())), "room"
        )
        zh_kind = words["kinds_of_room"][kind]["zh"] if kind != "room" else "房间"
        captions: dict[str, list[str]] = {"en": [], "zh": []}
        for _ in range(_PER_PHOTO):
            some = rng.sample(things, min(len(things), rng.randint(1, 3)))
            en = joined([with_article(words["rooms"][one][0]) for one in some], " and ", ", ")
            zh = joined([words["rooms"][one][1] for one in some], "和", "、")
            article = with_article(kind)
            captions["en"].append(rng.choice((f"{article} with {en} .", f"{en} in {article} .")))
            captions["zh"].append(rng.choice((f"{zh_kind}里有{zh}。", f"有{zh}的{zh_kind}。")))
        found[photo] = captions
    return found


def traffic(records: Iterable[QuestionRecord], words: Mapping[str, Any], rng: random.Random) -> Captioned:
    """What is in each street, and how many."""
    counts: dict[Path, dict[str, int]] = defaultdict(dict)
    plurals = {many: one for one, many, *_ in words["traffic"].values()}
    for record in records:
        there = re.match(r"is there an? (\w+)", record.question)
        many = re.match(r"how many (\w+)", record.question)
        if there and there[1] in words["traffic"] and record.answers[0] == "yes":
            counts[record.photo].setdefault(there[1], 0)
        if many and many[1] in plurals and record.answers[0].isdigit():
            counts[record.photo][plurals[many[1]]] = int(record.answers[0])
    found: dict[Path, dict[str, list[str]]] = {}
    for photo, seen in counts.items():
        captions: dict[str, list[str]] = {"en": [], "zh": []}
        for _ in range(_PER_PHOTO):
            order = rng.sample(sorted(seen), len(seen))
            en = joined([_counted(words["traffic"][one], seen[one], "en") for one in order], " and ", ", ")
            zh = joined([_counted(words["traffic"][one], seen[one], "zh") for one in order], "和", "、")
            captions["en"].append(rng.choice((f"{en} .", f"a photo of {en} .", f"{en} in the picture .")))
            captions["zh"].append(rng.choice((f"{zh}。", f"照片里有{zh}。")))
        found[photo] = captions
    return found


def _counted(word: Sequence[str], count: int, language: str) -> str:
    one, many, zh, measure = word
    numerals = _NUMERALS[language]
    if language == "zh":
        return f"{numerals[count] if 0 < count < len(numerals) else '几'}{measure}{zh}" if count else zh
    if not count:  # there, and nobody said how many
        return with_article(one) if one != "person" else "people"
    if count == 1:
        return with_article(one)
    return f"{numerals[count]} {many}" if count < len(numerals) else f"several {many}"


def objects(folder: Path, labels: Mapping[str, Sequence[str]], rng: random.Random) -> Captioned:
    """Each photo by its label."""
    records, _ = split_labelled_holdout(read_imagefolder(folder), Holdout(10, 9, None))
    found: dict[Path, dict[str, list[str]]] = {}
    for record in records:
        en, zh = labels.get(record.label, (record.label, ""))[:2]
        thing = with_article(en)
        captions = {"en": [f"{thing} .", f"a photo of {thing} .", f"a close up of {thing} ."]}
        if zh:
            captions["zh"] = [f"{zh}。", f"一张{zh}的照片。", f"{zh}的特写。"]
        found[record.photo] = {code: rng.sample(texts, len(texts)) for code, texts in captions.items()}
    return found


def write(out: Path, images: Path, captioned: Captioned) -> int:
    """One folder in the recipe format ``coco_captions``; how many photos it names."""
    out.mkdir(parents=True, exist_ok=True)
    link = out / "images"
    if link.is_symlink():
        link.unlink()
    link.symlink_to(images.resolve())
    document: dict[str, list[dict[str, Any]]] = {"images": [], "annotations": []}
    for number, (photo, texts) in enumerate(sorted(captioned.items())):
        document["images"].append({"id": number, "file_name": photo.relative_to(images).as_posix()})
        for language, captions in texts.items():
            for caption in captions:
                document["annotations"].append(
                    {
                        "id": len(document["annotations"]),
                        "image_id": number,
                        "caption": caption,
                        "language": language,
                    }
                )
    atomic_write_text(out / "captions_train.json", json.dumps(document, ensure_ascii=False))
    return len(document["images"])


def calibration(out: Path, photos: Iterable[Path]) -> None:
    """Links to the photos, in one folder."""
    if out.is_dir():
        shutil.rmtree(out)
    out.mkdir(parents=True)
    for number, photo in enumerate(photos):
        (out / f"{number:04d}{photo.suffix}").symlink_to(photo.resolve())


def held_out(folder: Path, labels: Mapping[str, Sequence[str]], rng: random.Random) -> Captioned:
    """Some of the photos that are held out, with all that their thing is called."""
    _, records = split_labelled_holdout(read_imagefolder(folder), Holdout(10, 9, None))
    found: dict[Path, dict[str, list[str]]] = {}
    for record in rng.sample(records, min(len(records), _UNSURE_PHOTOS)):
        en, zh, kinds = labels[record.label]
        broader = [kind.replace("_", " ") for kind in str(kinds).split()]
        found[record.photo] = {"en": [en, *broader], "zh": [zh]}
    return found


def asked_things() -> dict[str, list[dict[str, Any]]]:
    """Language -> questions whether a thing is there, with the words by which captions name it. Who somebody
    is stays unasked: by CHAIR's words a caption that says "a man" of a woman is right."""
    found: dict[str, list[dict[str, Any]]] = {"en": [], "zh": []}

    def ask(
        word: str, names: Names, words: Mapping[str, Iterable[str]], less: Mapping[str, Iterable[str]]
    ) -> None:
        fact = Fact(Photo(CaptionRecord(Path(), (), 0)), "presence", word, "yes", 0)
        for language, own in found.items():
            question = worded(fact, language, names)[0]
            own.append({"question": question, "words": [*words[language]], "unless": [*less[language]]})

    for word, thing in WORDS["things"].items():
        if word not in _WHO:
            said, less = sorted(with_plurals(thing["says"])), sorted(with_plurals(thing.get("unless", "")))
            ask(
                word,
                thing_name,
                {"en": said, "zh": str(thing["zh_says"]).split()},
                {"en": less, "zh": str(thing.get("zh_less", "")).split()},
            )
    # What the photos of single things are captioned with, where it is none of these.
    known = {word for thing in found["en"] for word in thing["words"]}
    for name, labels in KINDS["labels"].items():
        for label, (english, chinese, _) in labels.items():
            if english not in known:
                known.add(english)
                words = {"en": sorted({english, plural(english)}), "zh": [chinese]}
                ask(f"{name}/{label}", label_name, words, {"en": [], "zh": []})
    return found


def unsure(out: Path, named: Captioned, rng: np.random.Generator) -> int:
    """Write ``names.json`` and the pictures beside it; how many."""
    names: dict[str, Mapping[str, Sequence[str]]] = {
        os.path.relpath(photo.resolve(), out.resolve()): called for photo, called in named.items()
    }
    for picture in pictures_of_nothing(out / "nothing", _UNSURE_PICTURES, rng):
        names[picture.relative_to(out).as_posix()] = {"en": [], "zh": []}
    atomic_write_text(out / "names.json", json.dumps(names, ensure_ascii=False))
    atomic_write_text(out / "things.json", json.dumps(asked_things(), ensure_ascii=False))
    return len(names)


def main() -> None:
    """Make every set and print how many photos it has."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "data", type=Path, metavar="DATA", help="folder with daquar, voc_traffic and labelled"
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to write to")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    words = yaml.safe_load((_HERE / "words" / "caption_words.yaml").read_text(encoding="utf-8"))
    labels = yaml.safe_load((_HERE / "words" / "question_kinds.yaml").read_text(encoding="utf-8"))["labels"]
    calibrated = [
        record.photo
        for name in ("flickr8k", "flickr8k_aspect")
        for record in read_coco_captions(
            asked.data / name / "captions_train.json", asked.data / name / "images"
        )[:_CALIBRATED]
    ]
    for name, source, make, held in (
        ("rooms", "daquar", rooms, Holdout(None, None, 0.1)),
        ("traffic", "voc_traffic", traffic, Holdout(None, None, 0.2)),
    ):
        folder = asked.data / source
        records = read_vqa(
            folder / "questions_train.json", folder / "annotations_train.json", folder / "images"
        )
        learned, _ = split_holdout(records, held)
        made = make(learned, words, random.Random(asked.seed))
        calibrated += sorted(made)[:_CALIBRATED]
        count = write(asked.out / name, folder / "images", made)
        print(f"{name:10}{count:8} photos")
    found: dict[Path, Mapping[str, Sequence[str]]] = {}
    for name in ("imagenette", "caltech101", "clothing", "tiny_imagenet"):
        known = words["tiny_imagenet"] if name == "tiny_imagenet" else labels[name]
        found.update(objects(asked.data / "labelled" / name, known, random.Random(asked.seed)))
    named: dict[Path, Mapping[str, Sequence[str]]] = {}
    for name in ("imagenette", "caltech101", "clothing"):
        named.update(held_out(asked.data / "labelled" / name, labels[name], random.Random(asked.seed)))
    count = unsure(asked.out / "unsure", named, np.random.default_rng(asked.seed))
    print(f"{'unsure':10}{count:8} photos")
    calibrated += random.Random(asked.seed).sample(sorted(found), _CALIBRATED)
    calibration(asked.out / "calibration", calibrated)
    print(f"{'objects':10}{write(asked.out / 'objects', asked.data / 'labelled', found):8} photos")


if __name__ == "__main__":
    main()
