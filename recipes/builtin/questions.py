"""Questions about everyday photos, English and Chinese, made from captions, boxes and labels.

    python recipes/builtin/questions.py DATA OUT

reads ``DATA/flickr8k``, ``DATA/voc_traffic`` and ``DATA/labelled`` and writes folders in the recipe format
``vqa``: ``flickr8k_en``, ``flickr8k_zh``, ``voc_traffic``, ``voc_traffic_zh``, ``labelled``, ``labelled_zh``.
In each are ``questions_train.json``, ``annotations_train.json``, the same for ``dev``, and ``images``, a link
to the photos. Every annotation says its kind of question (``question_type``) and what it is about (``word``).

Held out as ``dev``: Flickr8k's dev photos, the last fifth of voc_traffic by number, every tenth photo of a
label. The same seed writes the same files.
"""

from __future__ import annotations

import argparse
import random
import re
import zlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from caption_facts import KINDS, Fact, Photo, caption_facts, pairs
from question_forms import Name, thing_name, worded

from seetell.data.coco import read_coco_captions
from seetell.data.holdout import Holdout, split_holdout, split_labelled_holdout
from seetell.data.imagefolder import read_imagefolder
from seetell.data.records import CaptionRecord, LabelRecord, QuestionRecord
from seetell.data.vqa import read_vqa, write_vqa

LANGUAGES = ("en", "zh")
# Photos with a thing, and as many without, of which it is asked whether it is there.
MOST = 900
# Questions that end in no mark, as people type.
_UNMARKED = 0.06

Split = dict[str, list[QuestionRecord]]


def asked(facts: Sequence[Fact], language: str, names: Any = thing_name) -> list[QuestionRecord]:
    """The facts as questions in one language, numbered from 0 photo by photo."""
    records = []
    for fact in sorted(facts, key=lambda one: (int(one.photo.number), one.kind, one.word)):
        text, answer = worded(fact, language, names)
        # By the pair's draw: what was left out tells nothing either.
        if fact.draw // 101 % 1000 < 1000 * _UNMARKED:
            text = text.rstrip("?？")
        records.append(
            QuestionRecord(
                fact.photo.path,
                text,
                (answer,),
                len(records),
                fact.photo.number,
                answer,
                fact.kind,
                fact.word,
            )
        )
    return records


def flickr8k(data: Path, seed: int) -> dict[str, Split]:
    """Language -> split -> questions from the captions of both languages."""
    found: dict[str, Split] = {language: {} for language in LANGUAGES}
    for split in ("train", "dev"):
        records = read_coco_captions(data / f"captions_{split}.json", data / "images")
        photos = [Photo(record) for record in records]
        facts = caption_facts(photos, MOST, _rng(seed, "flickr8k", split))
        for language in LANGUAGES:
            found[language][split] = asked(facts, language)
    return found


_VOC_PRESENCE = re.compile(r"is there an? (\w+) in the picture\?")
_VOC_COUNT = re.compile(r"how many (\w+) are in the picture\?")
_VOC_SIDE = re.compile(r"is the (\w+) on the left or on the right\?")
_VOC_BESIDE = re.compile(r"is the (\w+) to the left or to the right of the (\w+)\?")
_VOC_VEHICLE, _VOC_ANIMAL = "what vehicle is this?", "what animal is this?"
_VOC_ZH = {
    "person": "人",
    "car": "汽车",
    "cat": "猫",
    "bus": "公交车",
    "train": "火车",
    "left": "左边",
    "right": "右边",
}
_VOC_MEASURE = {"person": "个", "car": "辆", "cat": "只", "bus": "辆", "train": "列"}
_VOC_ONE = {"people": "person", "cars": "car", "cats": "cat", "buses": "bus", "trains": "train"}
_SIDE = (
    "is the {x} on the left or on the right?",
    "is the {x} on the left or right?",
    "which side is the {x} on, left or right?",
)
_SIDE_ZH = ("{x}在左边还是右边？", "{x}在图的左边还是右边？", "图里{x}在左边还是右边？")
_BESIDE = ("is the {x} to the left or to the right of the {y}?", "is the {x} left or right of the {y}?")
_BESIDE_ZH = ("{x}在{y}的左边还是右边？", "{x}是在{y}的左边还是右边？")


def voc_traffic(data: Path, seed: int) -> dict[str, Split]:
    """Language -> split -> the template questions, in other wordings too to learn from, and in Chinese."""
    records = read_vqa(data / "questions_train.json", data / "annotations_train.json", data / "images")
    learned, held = split_holdout(records, Holdout(last_fraction=0.2))
    found: dict[str, Split] = {language: {} for language in LANGUAGES}
    for split, own in (("train", learned), ("dev", held)):
        for language in LANGUAGES:
            rng = _rng(seed, "voc_traffic", split, language)
            known = [_voc_kind(record) for record in _voc_balanced(own, rng)]
            if split == "train":
                known = _voc_fewer_ones(known, rng)
            draws = _voc_draws(known, rng)
            put = [
                _voc_worded(record, draw, language, split) for record, draw in zip(known, draws, strict=True)
            ]
            found[language][split] = [
                replace(record, question_id=number)
                for number, record in enumerate(one for one in put if one is not None)
            ]
    return found


def _voc_kind(record: QuestionRecord) -> QuestionRecord:
    text = record.question
    for kind, form in (
        ("presence", _VOC_PRESENCE),
        ("count", _VOC_COUNT),
        ("side", _VOC_SIDE),
        ("beside", _VOC_BESIDE),
    ):
        match = form.fullmatch(text)
        if match:
            word = "|".join(_VOC_ONE.get(one, one) for one in match.groups())
            if kind == "count":
                kind = "count_one" if record.answers[0] == "1" else "count_more"
            return replace(record, kind="side" if kind == "beside" else kind, word=word)
    kind = {_VOC_VEHICLE: "vehicle", _VOC_ANIMAL: "animal"}.get(text, "which")
    return replace(record, kind=kind, word=kind)


def _voc_balanced(records: Sequence[QuestionRecord], rng: random.Random) -> list[QuestionRecord]:
    """Without presence questions of the answer that there are more of, kind by kind."""
    sides: dict[str, dict[str, list[QuestionRecord]]] = defaultdict(lambda: {"yes": [], "no": []})
    for record in records:
        if _VOC_PRESENCE.fullmatch(record.question):
            sides[record.question][record.answers[0]].append(record)
    dropped: set[int | str] = set()
    for own in sides.values():
        count = min(map(len, own.values()))
        for some in own.values():
            dropped.update(record.question_id for record in rng.sample(some, len(some) - count))
    return [record for record in records if record.question_id not in dropped]


def _voc_fewer_ones(records: Sequence[QuestionRecord], rng: random.Random) -> list[QuestionRecord]:
    """With no more single things to count than several: most photos show one."""
    ones = [record.question_id for record in records if record.kind == "count_one"]
    room = sum(record.kind == "count_more" for record in records)
    dropped = set(rng.sample(ones, max(0, len(ones) - room)))
    return [record for record in records if record.question_id not in dropped]


def _voc_draws(records: Sequence[QuestionRecord], rng: random.Random) -> list[int]:
    """One draw each; the n-th yes and the n-th no about a thing share theirs."""
    shared: dict[tuple[str | None, int], int] = {}
    turns: Counter[tuple[str | None, str]] = Counter()
    draws = []
    for record in records:
        turn = (record.word, record.answers[0])
        key = (record.word, turns[turn])
        turns[turn] += 1
        draw = rng.randrange(1 << 30)
        draws.append(shared.setdefault(key, draw) if record.kind == "presence" else draw)
    return draws


def _voc_worded(record: QuestionRecord, draw: int, language: str, split: str) -> QuestionRecord | None:
    kind, word = str(record.kind), str(record.word)
    as_it_is = language == "en" and (split == "dev" or draw // 17 % 3 == 0)
    if as_it_is or (kind == "which" and language == "en"):
        return record
    if kind == "which":
        return None
    answer = record.answers[0]
    if kind == "side":
        first, _, second = word.partition("|")
        if language == "zh":
            forms, first, second, answer = (
                _BESIDE_ZH if second else _SIDE_ZH,
                _VOC_ZH[first],
                _VOC_ZH.get(second, ""),
                _VOC_ZH[answer],
            )
        else:
            forms = _BESIDE if second else _SIDE
        text = forms[draw % len(forms)].format(x=first, y=second)
    else:
        photo = Photo(CaptionRecord(record.photo, (), record.photo_id))
        text, answer = worded(Fact(photo, kind, word, answer, draw), language, _voc_name)
    return replace(record, question=text, answers=(answer,), majority=answer)


def _voc_name(word: str) -> Name:
    return Name(word, _VOC_ZH[word], _VOC_MEASURE[word])


# In the balanced halves of labelled photos these are kinds whose members can be told apart.
_APART = frozenset(
    [
        "animal",
        "insect",
        "bird",
        "instrument",
        "vehicle",
        "building",
        "food",
        "furniture",
        "plant",
        "wild_cat",
        "dinosaur",
    ]
)


def labelled(data: Path, seed: int) -> dict[str, Split]:
    """Language -> split -> what a labelled photo shows, whether it shows something, which of two things."""
    held, learned = [], []
    for name in KINDS["labels"]:
        some, others = split_labelled_holdout(read_imagefolder(data / name), Holdout(modulo=10, remainder=9))
        learned.append((name, some))
        held.append((name, others))
    found: dict[str, Split] = {language: {} for language in LANGUAGES}
    first = 0
    for split, sets in (("train", learned), ("dev", held)):
        numbered = _numbered(sets, first)
        first += sum(len(records) for _, records in sets)
        rng = _rng(seed, "labelled", split)
        facts = [fact for name, photos in numbered for fact in label_facts(name, photos, rng)]
        for language in LANGUAGES:
            found[language][split] = asked(facts, language, label_name)
    return found


def _numbered(
    sets: Sequence[tuple[str, Sequence[LabelRecord]]], first: int
) -> list[tuple[str, list[tuple[Photo, str]]]]:
    found = []
    for name, records in sets:
        photos = []
        for record in records:
            photos.append((Photo(CaptionRecord(record.photo, (), first)), record.label))
            first += 1
        found.append((name, photos))
    return found


def label_name(key: str) -> Name:
    """Of a key ``set/label`` or of a word for what labelled photos are besides."""
    if key in KINDS["broader"]:
        english, chinese = key, KINDS["broader"][key]
    else:
        name, _, label = key.partition("/")
        english, chinese, _ = KINDS["labels"][name][label]
    bare = english in KINDS["no_article"].split()
    form = (
        "mass"
        if english in ("food", "money", "furniture")
        else "plural"
        if bare and english.endswith("s")
        else ""
    )
    return Name(english, chinese, form=form, proper=bare and not form)


def label_facts(name: str, photos: Sequence[tuple[Photo, str]], rng: random.Random) -> list[Fact]:
    """What can be asked about photos with one thing each: those of the set ``name`` with their labels."""
    labels = KINDS["labels"][name]
    kinds = {label: set(str(own[2]).split()) for label, own in labels.items()}
    called = {label: own[0] for label, own in labels.items()}

    def other(label: str, than: str) -> bool:
        """Whether a photo of one label is certainly none of the other."""
        shared = (kinds[label] & kinds[than]) - _APART
        return called[label] != called[than] and not shared

    by_label: dict[str, list[Photo]] = defaultdict(list)
    for photo, label in photos:
        by_label[label].append(photo)
    found = [
        Fact(photo, "object", "object", f"{name}/{label}", rng.randrange(1 << 30)) for photo, label in photos
    ]
    found += [
        Fact(photo, "animal", "animal", f"{name}/{label}", rng.randrange(1 << 30))
        for photo, label in photos
        if "animal" in kinds[label] and rng.random() < 0.5
    ]
    firsts: dict[str, str] = {}
    for label in by_label:
        firsts.setdefault(called[label], label)
    for word, label in firsts.items():
        with_it = [photo for one in by_label for photo in by_label[one] if called[one] == word]
        without = [photo for one in by_label for photo in by_label[one] if other(one, label)]
        found += pairs("presence", f"{name}/{label}", {"yes": with_it, "no": without}, MOST, rng)
    for word in KINDS["broader"]:
        if word not in firsts and any(word in own for own in kinds.values()):
            with_it = [photo for one in by_label for photo in by_label[one] if word in kinds[one]]
            without = [photo for one in by_label for photo in by_label[one] if word not in kinds[one]]
            found += pairs("presence", word, {"yes": with_it, "no": without}, MOST, rng)
    for photo, label in photos:
        rivals = [one for one in firsts.values() if other(one, label)]
        pair = [label, rng.choice(rivals)]
        rng.shuffle(pair)
        found.append(
            Fact(
                photo,
                "choice",
                "|".join(f"{name}/{one}" for one in pair),
                f"{name}/{label}",
                rng.randrange(1 << 30),
            )
        )
    return found


def blind(
    train: Sequence[QuestionRecord], dev: Sequence[QuestionRecord]
) -> dict[str, tuple[int, int, float]]:
    """Kind -> (questions to learn from, held out, percent of those that the commonest training answer to the
    same text gets right): what can be had without a look at the photo."""
    answers: dict[str, Counter[str]] = defaultdict(Counter)
    for record in train:
        answers[record.question][record.majority or record.answers[0]] += 1
    commonest = {text: counts.most_common(1)[0][0] for text, counts in answers.items()}
    learned = Counter(str(record.kind) for record in train)
    right: dict[str, list[bool]] = defaultdict(list)
    for record in dev:
        right[str(record.kind)].append(
            commonest.get(record.question) == (record.majority or record.answers[0])
        )
    return {kind: (learned[kind], len(own), 100 * sum(own) / len(own)) for kind, own in sorted(right.items())}


def _rng(seed: int, *names: str) -> random.Random:
    return random.Random(zlib.crc32(" ".join((str(seed), *names)).encode()))


def write(out: Path, images: Path, splits: Split) -> None:
    """One folder in the recipe format ``vqa``."""
    out.mkdir(parents=True, exist_ok=True)
    link = out / "images"
    if link.is_symlink():
        link.unlink()
    link.symlink_to(images.resolve())
    for split, records in splits.items():
        write_vqa(records, out / f"questions_{split}.json", out / f"annotations_{split}.json", images)


def main() -> None:
    """Make every set, write it, and print what the questions' texts alone give away."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "data", type=Path, metavar="DATA", help="folder with flickr8k, voc_traffic and labelled"
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to write to")
    parser.add_argument("--seed", type=int, default=1)
    asked_for = parser.parse_args()
    makers = {
        "flickr8k": (flickr8k, asked_for.data / "flickr8k", "images"),
        "voc_traffic": (voc_traffic, asked_for.data / "voc_traffic", "images"),
        "labelled": (labelled, asked_for.data / "labelled", ""),
    }
    print(f"{'set':16}{'kind':18}{'train':>8}{'dev':>7}{'by text alone':>15}")
    for name, (make, folder, images) in makers.items():
        for language, splits in make(folder, asked_for.seed).items():
            own = name if language == "en" and name != "flickr8k" else f"{name}_{language}"
            write(asked_for.out / own, folder / images, splits)
            for kind, (learned, held, share) in blind(splits["train"], splits["dev"]).items():
                print(f"{own:16}{kind:18}{learned:8}{held:7}{share:14.1f}%")


if __name__ == "__main__":
    main()
