"""Questions about photos that show one labelled thing each."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from caption_facts import pairs
from photo_words import KINDS, Fact, Photo
from question_forms import LANGUAGES, MOST, Name, Split, asked, generator

from seetell.data.holdout import Holdout, split_labelled_holdout
from seetell.data.imagefolder import read_imagefolder
from seetell.data.records import CaptionRecord, LabelRecord

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

# Each photo of an animal is asked about so often, beside as many others.
_AGAIN = 3


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
        rng = generator(seed, "labelled", split)
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


def animals(data: Path, seed: int) -> dict[str, Split]:
    """Language -> split -> whether a cat, a dog or a bird is there, of photos of any single thing: that a cup
    is no cat is not learned from streets and parks. Those with one are asked about as often as others."""
    found: dict[str, Split] = {language: {} for language in LANGUAGES}
    sets = [
        (name, *split_labelled_holdout(read_imagefolder(data / name), Holdout(modulo=10, remainder=9)))
        for name in (*KINDS["labels"], "tiny_imagenet")
    ]
    first = 0
    for split, number in (("train", 1), ("dev", 2)):
        photos = [photo for one in sets for photo in _numbered([(one[0], one[number])], first)[0][1]]
        first += len(photos)
        rng = generator(seed, "animals", split)
        facts = animal_facts(photos, rng)
        for language in LANGUAGES:
            found[language][split] = asked(facts, language)
    return found


def animal_facts(photos: Sequence[tuple[Photo, str]], rng: random.Random) -> list[Fact]:
    """Facts of each animal of the table, as many of photos with it as of others."""
    found: list[Fact] = []
    for word, labels in KINDS["shown"].items():
        with_it = [photo for photo, label in photos if label in labels["shows"]]
        without = [photo for photo, label in photos if label not in labels["shows"] + labels["may"]]
        again = with_it * _AGAIN
        found += pairs("presence", word, {"yes": again, "no": without}, len(again), rng)
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
