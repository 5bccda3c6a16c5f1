"""How questions about facts are worded, in English and in Chinese, and what the answer is then."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from photo_words import HERE, KINDS, WORDS, Fact, plural

from seetell.data.records import QuestionRecord

LANGUAGES = ("en", "zh")
# Photos with a thing, and as many without, of which it is asked whether it is there.
MOST = 900
# Split -> questions.
Split = dict[str, list[QuestionRecord]]
# Questions that end in no mark, as people type.
_UNMARKED = 0.06

FORMS: dict[str, Any] = yaml.safe_load((HERE / "words" / "question_forms.yaml").read_text(encoding="utf-8"))
# Kind -> the answers that captions give to it; others are names of things.
_ANSWERS = {"where": KINDS["places"], "animal": KINDS["animals"], "sport": KINDS["sports"]}
_YES_NO = ("indoors_yes_no", "day_yes_no")
# Kinds whose wordings name nothing.
_PLAIN = ("where", "animal", "sport", "object", "vehicle")
_THERE_ZH = {"yes": "有", "no": "没有"}
_TRUE_ZH = {"yes": "是", "no": "不是"}


@dataclass(frozen=True, slots=True)
class Name:
    """What a thing is called.

    english: singular, or plural where ``form`` is. measure: its Chinese measure word. form: empty, mass or
    plural. wear: the Chinese verb for having it on. proper: whether its name takes no article.
    """

    english: str
    chinese: str
    measure: str = ""
    form: str = ""
    wear: str = ""
    proper: bool = False

    @property
    def article(self) -> str:
        """ "a ", "an " or nothing."""
        if self.form or self.proper:
            return ""
        return "an " if self.english[0].lower() in "aeiou" else "a "

    @property
    def one(self) -> str:
        """With its article."""
        return self.article + self.english


Names = Callable[[str], Name]


def thing_name(word: str) -> Name:
    """Of a thing of question_words.yaml."""
    thing = WORDS["things"][word]
    return Name(word, thing["zh"], thing.get("measure", ""), thing.get("form", ""), thing.get("wear", ""))


def worded(fact: Fact, language: str, names: Names = thing_name) -> tuple[str, str]:
    """(question, answer). ``names`` says what the things of presence and choice questions are called."""
    return (_english if language == "en" else _chinese)(fact, names)


def _picked(forms: Sequence[str], draw: int) -> str:
    # The first twice as often as any other.
    return ((forms[0], *forms))[draw % (len(forms) + 1)]


def _order(draw: int) -> int:
    return draw // 1009 % 2


def _english(fact: Fact, names: Names) -> tuple[str, str]:
    draw, kind, own = fact.draw, fact.kind, FORMS["en"]
    if kind == "presence":
        name = names(fact.word)
        forms = own["presence"][name.form or "one"] + (own["worn"] if name.wear else [])
        if name.proper:
            forms = [form for form in forms if "{xs}" not in form and "any" not in form]
        text = _picked(forms, draw)
        if not name.article:
            text = text.replace("{a} ", "")
        return (
            text.format(a=name.article.strip(), x=name.english, xs=plural(name.english), ax=name.one),
            fact.answer,
        )
    if kind in ("count_one", "count_more"):
        return _picked(own["count"], draw).format(xs=plural(fact.word)), fact.answer
    if kind == "colour":
        verb = "are" if KINDS["coloured"][fact.word].get("form") else "is"
        return _picked(own["colour"], draw).format(x=fact.word, **{"is": verb}), fact.answer
    if kind == "doing":
        who = _picked(KINDS["doers"][fact.word]["asked"], draw // 7)
        several = fact.word in ("dogs", "people", "children") or who == "they"
        return _picked(own["doing"], draw).format(x=who, **{"is": "are" if several else "is"}), fact.answer
    if kind in _PLAIN:
        known = _ANSWERS.get(kind, {})
        answer = fact.answer if fact.answer in known else names(fact.answer).english
        return _picked(own[kind], draw), answer
    if kind in _YES_NO:
        text, right = own[kind][draw % len(own[kind])]
        return text, "yes" if fact.answer == right else "no"
    if kind == "indoors":
        words, forms = own[kind][draw // 13 % len(own[kind])]
        called = dict(zip(("indoors", "outdoors"), words, strict=True))
        return _either(forms, called, fact), called[fact.answer]
    if kind == "day":
        called = {"day": "day", "night": "night"}
        return _either(own[kind], called, fact), called[fact.answer]
    if kind == "gender":
        one = next(pair for pair in KINDS["genders"] if pair["one"] == fact.word)
        called = {one["one"]: f"a {one['one']}", one["other"]: f"a {one['other']}"}
        return _either(own[kind], called, fact), fact.answer
    assert kind == "choice", kind
    called = {word: names(word).one for word in fact.word.split("|")}
    return _either(own[kind], called, fact), names(fact.answer).english


def _chinese(fact: Fact, names: Names) -> tuple[str, str]:
    draw, kind, own = fact.draw, fact.kind, FORMS["zh"]
    if kind == "presence":
        name = names(fact.word)
        forms = (
            own["presence"] + (own["measured"] if name.measure else []) + (own["worn"] if name.wear else [])
        )
        text = _picked(forms, draw).format(x=name.chinese, m=name.measure, v=name.wear)
        return text, _THERE_ZH[fact.answer]
    if kind in ("count_one", "count_more"):
        name = names(fact.word)
        return _picked(own["count"], draw).format(x=name.chinese, m=name.measure), fact.answer
    if kind == "colour":
        colours = "和".join(KINDS["colours"][one][0] for one in fact.answer.split(" and "))
        return _picked(own["colour"], draw).format(x=KINDS["coloured"][fact.word]["zh"]), colours
    if kind == "doing":
        who = _picked(KINDS["doers"][fact.word]["zh"], draw // 7)
        return _picked(own["doing"], draw).format(x=who), KINDS["doing"][fact.answer][0]
    if kind in _PLAIN:
        named = _ANSWERS.get(kind, {}).get(fact.answer)
        return _picked(own[kind], draw), named[0] if named else names(fact.answer).chinese
    if kind in _YES_NO:
        text, right = own[kind][draw % len(own[kind])]
        return text, _TRUE_ZH["yes" if fact.answer == right else "no"]
    if kind == "indoors":
        called = {"indoors": "室内", "outdoors": "户外" if draw // 13 % 3 == 0 else "室外"}
        return _either(own[kind], called, fact), called[fact.answer]
    if kind == "day":
        called = {"day": "白天", "night": "晚上"}
        return _either(own[kind], called, fact), called[fact.answer]
    if kind == "gender":
        one = next(pair for pair in KINDS["genders"] if pair["one"] == fact.word)
        called = dict(zip((one["one"], one["other"]), one["zh"], strict=True))
        return _either(own["choice"], called, fact), called[fact.answer]
    assert kind == "choice", kind
    called = {word: names(word).chinese for word in fact.word.split("|")}
    return _either(own["choice"], called, fact), called[fact.answer]


def _either(forms: Sequence[str], called: Mapping[str, str], fact: Fact) -> str:
    first, second = called.values()
    if _order(fact.draw):
        first, second = second, first
    return _picked(forms, fact.draw).format(a=first, b=second)


def asked(facts: Sequence[Fact], language: str, names: Names = thing_name) -> list[QuestionRecord]:
    """The facts as questions in one language, numbered from 0 photo by photo."""
    records: list[QuestionRecord] = []
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


def generator(seed: int, *names: str) -> random.Random:
    """Random numbers of a seed and of what they are for."""
    return random.Random(zlib.crc32(" ".join((str(seed), *names)).encode()))
