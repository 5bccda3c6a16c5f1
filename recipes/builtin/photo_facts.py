"""What captions say of one thing on a photo: how many there are, its colour, what somebody does."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence

from photo_words import KINDS, Fact, Photo, expanded, pattern, plural

# Captions that must state a colour or an action.
_AGREED = 2
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
    tokens = text.split()
    found: list[tuple[str, ...]] = []
    nouns = pattern(words, plurals=False)
    odd = set(KINDS["colour_words"].split()) - {"light", "dark", "bright"}
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
