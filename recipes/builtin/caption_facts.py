"""What the captions of a photo state, as facts that questions can be made of.

A caption leaves out most of what is to be seen, so that a fact needs two captions that state it, and what is
said to be absent has no word in any caption, in either language, that states or implies it or leaves it open.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import yaml
from PIL import Image, ImageStat

from seetell.data.records import CaptionRecord

HERE = Path(__file__).parent
WORDS: dict[str, Any] = yaml.safe_load((HERE / "question_words.yaml").read_text(encoding="utf-8"))
KINDS: dict[str, Any] = yaml.safe_load((HERE / "question_kinds.yaml").read_text(encoding="utf-8"))

# Captions that must state what is taken for true.
_AGREED = 2
# Mean grey value of 0..255 above which a photo taken outdoors is no night's.
_DAYLIGHT = 100
# What ends the stretch of words that go with a noun, read backwards.
_ENDS = frozenset(
    word
    for words in (
        "and with in on at of to is are the his her their its by through over from near for while as wearing",
        "holding has have that who behind under after into against beside across around off up down out onto",
        "an a one two three four five six",
    )
    for word in words.split()
)


@dataclass(frozen=True, slots=True)
class Fact:
    """What a question can be asked about.

    kind: of question. word: what it is about. answer: the key of the right one. draw: what chooses among
    wordings; both sides of a balanced pair share it, so that the wording tells nothing.
    """

    photo: Photo
    kind: str
    word: str
    answer: str
    draw: int


class Photo:
    """A photo with its captions: the English ones as words apart by blanks, the Chinese ones as they are."""

    def __init__(self, record: CaptionRecord) -> None:
        self.path = record.photo
        self.number = record.photo_id
        self.english = tuple(plain(text) for text in record.texts("en"))
        self.chinese = record.texts("zh")

    @cached_property
    def affirmed(self) -> tuple[str, ...]:
        """The English captions without what they say is not there ("without a shirt")."""
        return tuple(
            re.sub(r"\b(?:no|without)(?: (?:a|an|any|his|her|their))? \w+", "", text) for text in self.english
        )

    @cached_property
    def brightness(self) -> float:
        """Mean grey value, 0..255."""
        with Image.open(self.path) as image:
            return float(ImageStat.Stat(image.convert("L")).mean[0])

    @cached_property
    def _stated(self) -> tuple[tuple[frozenset[str], str], ...]:
        return tuple(map(_padded, self.affirmed))

    @cached_property
    def _whole(self) -> tuple[frozenset[str], str]:
        return _padded(" | ".join(self.english))

    def says(self, words: str, unless: str = "") -> int:
        """How many English captions state one of these, other than as part of a phrase of ``unless``."""
        stated = self._stated
        if unless:
            stated = tuple(map(_padded, (pattern(unless).sub("", text) for text in self.affirmed)))
        return sum(_holds(one, words) for one in stated)

    def hints(self, words: str) -> bool:
        """Whether any English caption holds one of these."""
        return _holds(self._whole, words)

    def says_chinese(self, parts: str, less: str = "") -> int:
        """How many Chinese captions hold one of these, without those of ``less``."""
        texts = self.chinese
        for one in less.split():
            texts = tuple(text.replace(one, "") for text in texts)
        return sum(any(part in text for part in parts.split()) for text in texts)


def _padded(text: str) -> tuple[frozenset[str], str]:
    """A text as its words, and between blanks."""
    return frozenset(text.split()), f" {text} "


def plain(text: str) -> str:
    """Lower-case words apart by single blanks."""
    return " ".join(re.findall(r"[a-z0-9']+", text.lower().replace("-", " ")))


def plural(name: str) -> str:
    """The plural of a noun, of a phrase's last word."""
    lead, _, last = name.rpartition(" ")
    found = WORDS["plurals"].get(last)
    if found is None:
        if re.search(r"(?:s|x|ch|sh)$", last):
            found = last + "es"
        elif re.search(r"[^aeiou]y$", last):
            found = last[:-1] + "ies"
        else:
            found = last + "s"
    return f"{lead} {found}".strip()


def expanded(words: str) -> list[str]:
    """The words of an entry, groups in the place of their names, blanks in the place of "_"."""
    found: list[str] = []
    for word in str(words).split():
        if word.startswith("@"):
            found.extend(expanded(WORDS["groups"][word[1:]]))
        else:
            found.append(re.sub(r"[_-]", " ", word))
    return found


def _with_plurals(words: str) -> set[str]:
    return {
        one
        for word in expanded(words)
        for one in ((word[1:],) if word.startswith("=") else (word, plural(word)))
    }


@cache
def pattern(words: str, plurals: bool = True) -> re.Pattern[str]:
    """Any of an entry's words, whole, with their plurals. No word, and it never matches."""
    found = _with_plurals(words) if plurals else set(expanded(words))
    longest_first = sorted(found, key=lambda one: (-len(one), one))
    return re.compile(rf"\b(?:{'|'.join(map(re.escape, longest_first))})\b" if found else r"(?!)")


@cache
def _sought(words: str) -> tuple[frozenset[str], tuple[str, ...]]:
    """An entry's single words and its phrases, with their plurals."""
    found = _with_plurals(words)
    return frozenset(one for one in found if " " not in one), tuple(f" {one} " for one in found if " " in one)


def _holds(text: tuple[frozenset[str], str], words: str) -> bool:
    """Whether a text, as its words and as itself between blanks, holds any of an entry's words."""
    tokens, padded = text
    singles, phrases = _sought(words)
    return not singles.isdisjoint(tokens) or any(phrase in padded for phrase in phrases)


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


def count_facts(photo: Photo, rng: random.Random) -> list[Fact]:
    """How many of a thing there are, where captions say one number and no other."""
    found: list[Fact] = []
    for word, says in KINDS["counted"].items():
        totals = [_total(text, says) for text in photo.english]
        number = _agreed_number(photo, totals, 3 if word == "person" else 2)
        if number is not None:
            kind = "count_one" if number == 1 else "count_more"
            found.append(Fact(photo, kind, word, str(number), rng.randrange(1 << 30)))
    return found


_MANY = 99
_SINGLE_NO_MORE = "another other others each both them they their between couple family group crowd team pair"


def _agreed_number(photo: Photo, totals: Sequence[int | None], agreed: int) -> int | None:
    """None stands for a caption that does not mention the thing, ``_MANY`` for one that says "dogs"."""
    exact = Counter(total for total in totals if total is not None and total != _MANY)
    if not exact:
        return None
    number = max(exact)
    if number == 1:
        alone = exact[1] >= 4 and _MANY not in totals and not photo.hints(_SINGLE_NO_MORE)
        return 1 if alone and not photo.says_chinese("两 三 四 群 们 几 对 和 多 一起 双 侣") else None
    if any(total == _MANY for total in totals) and agreed > 2:
        return None
    rivals = sum(times for total, times in exact.items() if 1 < total < number)
    several = photo.hints("group crowd several many bunch pack flock team some family couple")
    chinese = {"两": 2, "三": 3, "四": 4, "五": 5}
    contrary = any(sign in text for sign, said in chinese.items() if said != number for text in photo.chinese)
    return number if exact[number] >= agreed and not rivals and not several and not contrary else None


def _total(text: str, words: str) -> int | None:
    tokens, total = text.split(), 0
    single, several = pattern(words, plurals=False), pattern(" ".join(_plurals(words)), plurals=False)
    for place, token in enumerate(tokens):
        if several.fullmatch(token):
            number = _numeral(tokens[:place])
            if number is None:
                return _MANY
            total += number
        elif single.fullmatch(token):
            total += 1
    return total or None


def _plurals(words: str) -> list[str]:
    return [plural(word) for word in expanded(words)]


def _numeral(before: Sequence[str]) -> int | None:
    """The number just before a plural, at most two other words away."""
    for token in reversed(before[-3:]):
        if token in KINDS["numerals"]:
            number = int(KINDS["numerals"][token])
            return number if number > 1 else None
        if token in _ENDS and token != "of":
            return None
    return None


def colour_facts(photo: Photo, rng: random.Random) -> list[Fact]:
    """The colour of a thing, where two captions say it and none says another."""
    found: list[Fact] = []
    for word, thing in KINDS["coloured"].items():
        stated = [_colours(text, thing["says"]) for text in photo.english]
        told = Counter(one for own in stated for one in own)
        if len(told) == 1 and all(len(own) <= 1 for own in stated):
            ((colours, times),) = told.items()
            if times >= _AGREED and colours and len(colours) <= 2:
                found.append(Fact(photo, "colour", word, " and ".join(colours), rng.randrange(1 << 30)))
    return found


def _colours(text: str, words: str) -> list[tuple[str, ...]]:
    """The colours of each mention of a thing that has any; an empty one where they are no plain colours."""
    tokens, found = text.split(), []
    nouns, odd = (
        pattern(words, plurals=False),
        set(str(KINDS["colour_words"]).split()) - {"light", "dark", "bright"},
    )
    for match in nouns.finditer(text):
        place = len(text[: match.start()].split())
        own: list[str] = []
        strange = False
        for at in range(place - 1, max(-1, place - 6), -1):
            token = tokens[at]
            colour = _COLOUR_OF.get(token)
            if colour is not None:
                own.append(colour)
            elif token in odd:
                strange = True
            elif token in _ENDS and not (token == "and" and own and at and tokens[at - 1] in _COLOUR_OF):
                break
        # "A white dog with brown spots" is neither white nor brown.
        beside = tokens[place + 1 : place + 5]
        strange |= "with" in beside and any(token in _COLOUR_OF for token in beside[beside.index("with") :])
        if strange:
            found.append(())
        elif own:
            found.append(tuple(sorted(set(own))))
    return found


_COLOUR_OF: dict[str, str] = {
    word: colour for colour, (_, words) in KINDS["colours"].items() for word in words.split()
}

# Whoever else may be named first in a caption about the same one.
_SAME_ONE = {
    "man": {"person"},
    "woman": {"person"},
    "boy": {"child", "person"},
    "girl": {"child", "person"},
    "child": {"boy", "girl", "person"},
    "children": {"people"},
    "person": {"man", "woman", "boy", "girl"},
}


def doing_facts(photo: Photo, rng: random.Random) -> list[Fact]:
    """What the one that captions begin with does, where two captions say it."""
    firsts = [_first_doer(text) for text in photo.english]
    doers = Counter(doer for doer, _ in firsts if doer is not None)
    if not doers:
        return []
    doer, times = doers.most_common(1)[0]
    if times < _AGREED or set(doers) - _SAME_ONE.get(doer, set()) - {doer}:
        return []
    said = Counter(action for _, rest in firsts for action in _actions(rest))
    passive = {one.replace("_", " ") for one in KINDS["passive"].split()}
    active = {action: times for action, times in said.items() if action not in passive}
    for candidates in (active, said):
        best = max(candidates.values(), default=0)
        if best >= _AGREED:
            # Of equals the one that stands first in the table, which says more.
            action = next(one for one in KINDS["doing"] if candidates.get(one) == best)
            return [Fact(photo, "doing", doer, action, rng.randrange(1 << 30))]
    return []


def _first_doer(text: str) -> tuple[str | None, str]:
    """Who is named first, and the caption from there to whom it names next."""
    named = sorted(
        (match.start(), doer)
        for doer, known in KINDS["doers"].items()
        for match in pattern(known["says"], plurals=False).finditer(text)
    )
    if not named:
        return None, ""
    begin, doer = named[0]
    end = next((place for place, other in named if other not in (doer, "person")), len(text))
    return doer, text[begin:end]


def _actions(text: str) -> Iterable[str]:
    for action, (_, words, *needs) in KINDS["doing"].items():
        if pattern(words, plurals=False).search(text) and all(
            pattern(need, plurals=False).search(text) for need in needs
        ):
            yield action


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
