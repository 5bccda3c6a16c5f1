"""Template questions about boxes, in more wordings and in Chinese."""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from photo_words import Fact, Photo
from question_forms import LANGUAGES, Name, Split, generator, worded

from seetell.data.holdout import Holdout, split_holdout
from seetell.data.records import CaptionRecord, QuestionRecord
from seetell.data.vqa import read_vqa

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
VOC_KINDS = ("person", "car", "cat", "bus", "train")
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
            rng = generator(seed, "voc_traffic", split, language)
            known = [voc_kind(record) for record in _voc_balanced(own, rng)]
            if split == "train":
                known = _voc_fewer_ones(known, rng)
            draws = _voc_draws(known, rng)
            put = [
                voc_worded(record, draw, language, split) for record, draw in zip(known, draws, strict=True)
            ]
            found[language][split] = [
                replace(record, question_id=number)
                for number, record in enumerate(one for one in put if one is not None)
            ]
    return found


def voc_kind(record: QuestionRecord) -> QuestionRecord:
    """With the kind of a template question, and what it is about: two things as ``one|other``."""
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


def voc_worded(record: QuestionRecord, draw: int, language: str, split: str) -> QuestionRecord | None:
    """In another wording or in Chinese, by ``draw``; None where there is none."""
    kind, word = str(record.kind), str(record.word)
    as_it_is = record.question and language == "en" and (split == "dev" or draw // 17 % 3 == 0)
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
