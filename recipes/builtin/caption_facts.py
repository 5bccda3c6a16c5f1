"""What the captions of photos state, as facts that questions can be made of.

A caption leaves out most of what is to be seen, so that a fact needs two captions that state it, and what is
said to be absent has no word in any caption, in either language, that states or implies it or leaves it open.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence

from photo_facts import colour_facts, count_facts, doing_facts
from photo_words import KINDS, WORDS, Fact, Photo, expanded

# Captions that must state what is taken for true.
_AGREED = 2
# Mean grey value of 0..255 above which a photo taken outdoors is no night's.
_DAYLIGHT = 100


def shows(photo: Photo, word: str) -> bool | None:
    """Whether a thing of question_words.yaml is on the photo; None where the captions leave it open."""
    thing = WORDS["things"][word]
    says, chinese, unless = thing["says"], thing["zh_says"], thing.get("unless", "")
    stated = photo.says(says, unless)
    if stated >= _AGREED or (stated and photo.says_chinese(chinese) >= _AGREED):
        return True
    if photo.hints(f"{says} {thing['hints']}") or photo.says_chinese(
        f"{chinese} {thing['zh_hints']}", thing.get("zh_less", "")
    ):
        return None
    return False


def presence(photos: Sequence[Photo], most: int, rng: random.Random) -> list[Fact]:
    """As many photos with as without each thing, ``most`` of either at the most."""
    found: list[Fact] = []
    for word in WORDS["things"]:
        sides: dict[bool | None, list[Photo]] = {True: [], False: [], None: []}
        for photo in photos:
            sides[shows(photo, word)].append(photo)
        found.extend(pairs("presence", word, {"yes": sides[True], "no": sides[False]}, most, rng))
    return found


def pairs(
    kind: str, word: str, sides: Mapping[str, Sequence[Photo]], most: int | None, rng: random.Random
) -> list[Fact]:
    """Facts with every answer equally often, in the same wordings."""
    drawn = {answer: rng.sample(photos, len(photos)) for answer, photos in sides.items()}
    count = min(len(photos) for photos in drawn.values())
    found: list[Fact] = []
    for place in range(count if most is None else min(count, most)):
        draw = rng.randrange(1 << 30)
        found.extend(Fact(photos[place], kind, word, answer, draw) for answer, photos in drawn.items())
    return found


def flattened(facts: Sequence[Fact], rng: random.Random) -> list[Fact]:
    """The facts about each word with no answer more frequent than the second, or than half of all others
    together: where nearly every dog is brown, "brown" is learned without looking."""
    kept: list[Fact] = []
    groups: dict[tuple[str, str], list[Fact]] = {}
    for fact in facts:
        groups.setdefault((fact.kind, fact.word), []).append(fact)
    for own in groups.values():
        counts = Counter(fact.answer for fact in own).most_common()
        if len(counts) < 2:
            continue
        top = counts[0][0]
        room = max(counts[1][1], (len(own) - counts[0][1]) // 2)
        tops = [fact for fact in own if fact.answer == top]
        kept.extend(fact for fact in own if fact.answer != top)
        kept.extend(rng.sample(tops, min(room, len(tops))))
    return kept


def named_facts(photo: Photo, rng: random.Random) -> list[Fact]:
    """Where it is, which animal and which sport: the one answer that captions agree on."""
    found: list[Fact] = []
    for kind, answers in (
        ("where", KINDS["places"]),
        ("animal", KINDS["animals"]),
        ("sport", KINDS["sports"]),
    ):
        said = {answer: photo.says(own[1]) for answer, own in answers.items()}
        best, times = max(said.items(), key=lambda one: one[1])
        near = set(expanded(answers[best][2])) if len(answers[best]) > 2 else set()
        rivals = {
            answer for answer, number in said.items() if number and answer != best and times < number + 2
        }
        if times >= _AGREED and not any(
            not near.intersection(expanded(answers[rival][1])) for rival in rivals
        ):
            found.append(Fact(photo, kind, kind, best, rng.randrange(1 << 30)))
    return found


def sides_of(photos: Sequence[Photo]) -> dict[str, dict[str, list[Photo]]]:
    """Pair -> answer -> the photos it holds for: in- or outdoors, day or night, man or woman, boy or girl."""
    either = KINDS["either"]
    found: dict[str, dict[str, list[Photo]]] = {
        "indoors": {
            "indoors": _clear(photos, KINDS["indoors"], f"{KINDS['outdoors']} {either}"),
            "outdoors": _clear(photos, KINDS["outdoors"], f"{KINDS['indoors']} {either}"),
        },
        "day": {
            # Captions seldom say that it is day.
            "day": [
                photo
                for photo in _clear(photos, KINDS["outdoors"], KINDS["not_day"])
                if photo.brightness > _DAYLIGHT
            ],
            # Who says "at night" says it of the photo; one is enough.
            "night": _clear(photos, KINDS["night"], f"{KINDS['day']} sunset evening dusk", 1),
        },
    }
    chinese = {"man": "女", "woman": "男", "boy": "女", "girl": "男"}
    for pair in KINDS["genders"]:
        one, other = pair["one"], pair["other"]
        says = dict(zip((one, other), pair["says"], strict=True))
        found[one] = {
            answer: [
                photo
                for photo in _clear(photos, says[answer], f"{says[contrary]} {pair['open']}", 3)
                if not photo.says_chinese(chinese[answer])
            ]
            for answer, contrary in ((one, other), (other, one))
        }
    return found


def _clear(photos: Sequence[Photo], says: str, never: str, agreed: int = _AGREED) -> list[Photo]:
    return [photo for photo in photos if photo.says(says) >= agreed and not photo.hints(never)]


def choice_facts(photos: Sequence[Photo], rng: random.Random) -> list[Fact]:
    """Photos with one thing of a pair and without the other, both equally often."""
    found: list[Fact] = []
    for one, other in KINDS["choices"]:
        sides = {
            answer: [photo for photo in photos if shows(photo, answer) and shows(photo, contrary) is False]
            for answer, contrary in ((one, other), (other, one))
        }
        found.extend(pairs("choice", f"{one}|{other}", sides, 150, rng))
    return found


def caption_facts(photos: Sequence[Photo], most: int, rng: random.Random) -> list[Fact]:
    """Every fact that is asked about; of ``most`` photos with each thing it is asked whether it is there."""
    single = [
        fact
        for photo in photos
        for make in (count_facts, colour_facts, doing_facts, named_facts)
        for fact in make(photo, rng)
    ]
    ones = [fact for fact in single if fact.kind == "count_one"]
    rest = flattened([fact for fact in single if fact.kind != "count_one"], rng)
    more = Counter(fact.word for fact in rest if fact.kind == "count_more")
    for word in more:
        own = [fact for fact in ones if fact.word == word]
        rest.extend(rng.sample(own, min(len(own), max(1, more[word] // 2))))
    found = presence(photos, most, rng) + rest + choice_facts(photos, rng)
    for name, sides in sides_of(photos).items():
        if name in ("indoors", "day"):
            found.extend(pairs(name, name, sides, None, rng))
            found.extend(pairs(f"{name}_yes_no", name, sides, None, rng))
        else:
            found.extend(pairs("gender", name, sides, None, rng))
    return found
