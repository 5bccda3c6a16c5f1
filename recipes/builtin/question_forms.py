"""How questions about facts are worded, in English and in Chinese, and what the answer is then."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from caption_facts import KINDS, WORDS, Fact, plural

# Wordings of which the first is the commonest, as people ask.
_PRESENCE = {
    "": (
        "is there {a} {x}?",
        "is there {a} {x} in the picture?",
        "is there {a} {x} in the photo?",
        "do you see {a} {x}?",
        "can you see {a} {x}?",
        "can you see any {xs}?",
        "are there any {xs}?",
        "are there any {xs} in the picture?",
        "are there {xs} in this photo?",
        "do you see any {xs} here?",
        "does the picture show {a} {x}?",
        "is {a} {x} in the image?",
    ),
    "mass": (
        "is there any {x}?",
        "is there {x}?",
        "is there {x} in the picture?",
        "is there any {x} in the photo?",
        "do you see {x}?",
        "can you see any {x}?",
        "does the picture show {x}?",
    ),
    "plural": (
        "are there {x}?",
        "are there any {x}?",
        "are there {x} in the picture?",
        "do you see {x}?",
        "can you see any {x}?",
        "does the photo show any {x}?",
    ),
}
_WORN = ("is anyone wearing {ax}?", "is someone wearing {ax}?", "does anybody wear {ax}?")
_PRESENCE_ZH = (
    "有{x}吗？",
    "图里有{x}吗？",
    "图里有没有{x}？",
    "有没有{x}？",
    "图中有{x}吗？",
    "照片里有{x}吗？",
    "照片里有没有{x}？",
    "画面里有{x}吗？",
    "能看到{x}吗？",
    "这张照片里有{x}吗？",
)
_MEASURED_ZH = ("照片里有一{m}{x}吗？", "图里有没有一{m}{x}？", "有一{m}{x}吗？")
_WORN_ZH = ("有人{v}{x}吗？", "有没有人{v}{x}？")

_COUNT = (
    "how many {xs} are there?",
    "how many {xs} are in the picture?",
    "how many {xs} do you see?",
    "how many {xs} can you see?",
    "how many {xs} are in this photo?",
)
_COUNT_ZH = ("有几{m}{x}？", "图里有几{m}{x}？", "照片里有多少{m}{x}？", "图中有几{m}{x}？", "有多少{x}？")
_COLOUR = (
    "what colour {is} the {x}?",
    "what color {is} the {x}?",
    "what is the color of the {x}?",
    "what is the colour of the {x}?",
    "which color {is} the {x}?",
)
_COLOUR_ZH = ("{x}是什么颜色的？", "{x}是什么颜色？", "{x}的颜色是什么？", "图里的{x}是什么颜色的？")
_DOING = ("what {is} {x} doing?", "what {is} {x} doing?", "what {is} {x} doing in the picture?")
_DOING_ZH = ("{x}在做什么？", "{x}在干什么？", "{x}正在做什么？", "{x}在干嘛？")

# Kind -> its wordings where they name nothing.
_PLAIN: Mapping[str, tuple[Sequence[str], Sequence[str]]] = {
    "where": (
        (
            "where is this?",
            "where was this photo taken?",
            "where was this taken?",
            "what place is this?",
            "where are they?",
            "where is this picture taken?",
        ),
        ("这是哪里？", "这是在哪里？", "这张照片是在哪里拍的？", "这是什么地方？", "在哪里？"),
    ),
    "animal": (
        (
            "what animal is this?",
            "which animal is this?",
            "which animal is in the picture?",
            "what animal is in the photo?",
            "what kind of animal is it?",
            "what animal do you see?",
        ),
        ("这是什么动物？", "图里是什么动物？", "照片里是什么动物？", "图中有什么动物？"),
    ),
    "sport": (
        (
            "what sport is this?",
            "which sport is this?",
            "what sport is being played?",
            "what sport is shown?",
        ),
        ("这是什么运动？", "图里是什么运动？", "他们在做什么运动？"),
    ),
    "object": (
        (
            "what is this?",
            "what is in the picture?",
            "what's this?",
            "what is shown in the photo?",
            "what do you see?",
            "what object is this?",
        ),
        ("这是什么？", "图里是什么？", "照片里是什么？", "这是什么东西？"),
    ),
    "vehicle": (
        (
            "what vehicle is this?",
            "which vehicle is this?",
            "what kind of vehicle is this?",
            "what vehicle do you see?",
        ),
        ("这是什么车？", "这是什么交通工具？", "图里是什么交通工具？"),
    ),
}
# Kind -> the answers that captions give to it; others are names of things.
_ANSWERS = {"where": KINDS["places"], "animal": KINDS["animals"], "sport": KINDS["sports"]}
# Two answers to choose between: {a} and {b} stand in either order.
_CHOICE = (
    "is it {a} or {b}?",
    "is this {a} or {b}?",
    "is there {a} or {b} in the picture?",
    "do you see {a} or {b}?",
)
_CHOICE_ZH = ("是{a}还是{b}？", "这是{a}还是{b}？", "图里是{a}还是{b}？", "照片里的是{a}还是{b}？")
_GENDER = (
    "is it {a} or {b}?",
    "is this {a} or {b}?",
    "is the person {a} or {b}?",
    "is there {a} or {b} in the picture?",
)
_INSIDE = (
    (
        ("indoors", "outdoors"),
        ("is this {a} or {b}?", "is it {a} or {b}?", "are they {a} or {b}?", "was this taken {a} or {b}?"),
    ),
    (("inside", "outside"), ("is this {a} or {b}?", "is it {a} or {b}?", "was this photo taken {a} or {b}?")),
    (("indoor", "outdoor"), ("is this {a} or {b}?", "is this an {a} or an {b} scene?")),
)
_INSIDE_ZH = ("是{a}还是{b}？", "这是在{a}还是{b}？", "照片是在{a}还是{b}拍的？")
_DAY = (
    "is it {a} or {b}?",
    "is it {a} or {b} in the picture?",
    "was this taken during the {a} or the {b}?",
    "{a} or {b}?",
)
_DAY_ZH = ("是{a}还是{b}？", "现在是{a}还是{b}？", "图里是{a}还是{b}？")
_DAY_NAMES = {"day": ("day", "白天"), "night": ("night", "晚上")}
# Kind -> (wording, the answer that is "yes").
_YES_NO = {
    "indoors_yes_no": (
        ("is this indoors?", "indoors"),
        ("is this outdoors?", "outdoors"),
        ("is it inside?", "indoors"),
        ("is it outside?", "outdoors"),
        ("was this taken outside?", "outdoors"),
        ("was this taken indoors?", "indoors"),
    ),
    "day_yes_no": (
        ("is it night?", "night"),
        ("is it daytime?", "day"),
        ("is it dark outside?", "night"),
        ("is it day?", "day"),
    ),
}
_YES_NO_ZH = {
    "indoors_yes_no": (
        ("这是在室内吗？", "indoors"),
        ("这是在室外吗？", "outdoors"),
        ("是室内吗？", "indoors"),
        ("是户外吗？", "outdoors"),
    ),
    "day_yes_no": (("是晚上吗？", "night"), ("是白天吗？", "day"), ("天黑了吗？", "night")),
}
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
        # "unicycle" would need a rule of its own, "umbrella" has the common one.
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
    draw, kind = fact.draw, fact.kind
    if kind == "presence":
        name = names(fact.word)
        forms = _PRESENCE[name.form] + (_WORN if name.wear else ())
        if name.proper:
            forms = tuple(form for form in forms if "{xs}" not in form and "any" not in form)
        text = _picked(forms, draw)
        if not name.article:
            text = text.replace("{a} ", "")
        return (
            text.format(a=name.article.strip(), x=name.english, xs=plural(name.english), ax=name.one),
            fact.answer,
        )
    if kind in ("count_one", "count_more"):
        return _picked(_COUNT, draw).format(xs=plural(fact.word)), fact.answer
    if kind == "colour":
        verb = "are" if KINDS["coloured"][fact.word].get("form") else "is"
        return _picked(_COLOUR, draw).format(x=fact.word, **{"is": verb}), fact.answer
    if kind == "doing":
        who = _picked(KINDS["doers"][fact.word]["asked"], draw // 7)
        several = fact.word in ("dogs", "people", "children") or who == "they"
        return _picked(_DOING, draw).format(x=who, **{"is": "are" if several else "is"}), fact.answer
    if kind in _PLAIN:
        known = _ANSWERS.get(kind, {})
        answer = fact.answer if fact.answer in known else names(fact.answer).english
        return _picked(_PLAIN[kind][0], draw), answer
    if kind in _YES_NO:
        text, right = _YES_NO[kind][draw % len(_YES_NO[kind])]
        return text, "yes" if fact.answer == right else "no"
    if kind == "indoors":
        words, forms = _INSIDE[draw // 13 % len(_INSIDE)]
        called = dict(zip(("indoors", "outdoors"), words, strict=True))
        return _either(forms, called, fact), called[fact.answer]
    if kind == "day":
        called = {"day": "day", "night": "night"}
        return _either(_DAY, called, fact), called[fact.answer]
    if kind == "gender":
        one = next(pair for pair in KINDS["genders"] if pair["one"] == fact.word)
        called = {one["one"]: f"a {one['one']}", one["other"]: f"a {one['other']}"}
        return _either(_GENDER, called, fact), fact.answer
    assert kind == "choice", kind
    called = {word: names(word).one for word in fact.word.split("|")}
    return _either(_CHOICE, called, fact), names(fact.answer).english


def _chinese(fact: Fact, names: Names) -> tuple[str, str]:
    draw, kind = fact.draw, fact.kind
    if kind == "presence":
        name = names(fact.word)
        forms = _PRESENCE_ZH + (_MEASURED_ZH if name.measure else ()) + (_WORN_ZH if name.wear else ())
        text = _picked(forms, draw).format(x=name.chinese, m=name.measure, v=name.wear)
        return text, _THERE_ZH[fact.answer]
    if kind in ("count_one", "count_more"):
        name = names(fact.word)
        return _picked(_COUNT_ZH, draw).format(x=name.chinese, m=name.measure), fact.answer
    if kind == "colour":
        called = "和".join(KINDS["colours"][one][0] for one in fact.answer.split(" and "))
        return _picked(_COLOUR_ZH, draw).format(x=KINDS["coloured"][fact.word]["zh"]), called
    if kind == "doing":
        who = _picked(KINDS["doers"][fact.word]["zh"], draw // 7)
        return _picked(_DOING_ZH, draw).format(x=who), KINDS["doing"][fact.answer][0]
    if kind in _PLAIN:
        named = _ANSWERS.get(kind, {}).get(fact.answer)
        return _picked(_PLAIN[kind][1], draw), named[0] if named else names(fact.answer).chinese
    if kind in _YES_NO_ZH:
        text, right = _YES_NO_ZH[kind][draw % len(_YES_NO_ZH[kind])]
        return text, _TRUE_ZH["yes" if fact.answer == right else "no"]
    if kind == "indoors":
        called = {"indoors": "室内", "outdoors": "户外" if draw // 13 % 3 == 0 else "室外"}
        return _either(_INSIDE_ZH, called, fact), called[fact.answer]
    if kind == "day":
        called = {"day": "白天", "night": "晚上"}
        return _either(_DAY_ZH, called, fact), called[fact.answer]
    if kind == "gender":
        one = next(pair for pair in KINDS["genders"] if pair["one"] == fact.word)
        called = dict(zip((one["one"], one["other"]), one["zh"], strict=True))
        return _either(_CHOICE_ZH, called, fact), called[fact.answer]
    assert kind == "choice", kind
    called = {word: names(word).chinese for word in fact.word.split("|")}
    return _either(_CHOICE_ZH, called, fact), called[fact.answer]


def _either(forms: Sequence[str], called: Mapping[str, str], fact: Fact) -> str:
    first, second = called.values()
    if _order(fact.draw):
        first, second = second, first
    return _picked(forms, fact.draw).format(a=first, b=second)
