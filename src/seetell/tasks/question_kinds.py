"""What sort of answer a question takes, by its wording: English and Chinese.

The wording bounds the answer: yes or no to "is there a dog?", one of two to "day or night?", a number to "how
many?", a colour to "what colour?". What bounds nothing is told apart too, where a model is not equally sure
of all its answers. Written in rules: they are to be read, and need no model.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from seetell.core.chinese import has_chinese
from seetell.tasks.question import Kind, Language, Question
from seetell.tasks.question_chinese import read_chinese
from seetell.tasks.question_english import read_english

GIVEN = "given"
"""What stands for the kind where the caller gives the answers to choose from."""

# fmt: off
_NUMBERS = frozenset({
    "none", "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty",
})
_COLOURS = frozenset({
    "red", "blue", "green", "yellow", "orange", "pink", "purple", "white", "black", "brown", "gray", "grey",
    "tan", "beige", "silver", "gold", "maroon", "navy", "teal", "turquoise", "violet", "cream", "golden",
    "blond", "blonde", "bronze", "burgundy", "lavender",
})
_SHADES = frozenset({"light", "dark", "bright", "pale", "hot", "neon", "deep", "lime", "sky", "royal"})
_SPELLED_COLOURS: dict[Language, tuple[str, ...]] = {
    "en": (
        "red", "blue", "green", "yellow", "orange", "pink", "purple", "white", "black", "brown", "gray",
        "tan", "silver", "gold", "black and white", "brown and white", "black and brown", "red and white",
        "blue and white",
    ),
    "zh": (
        "红色", "蓝色", "绿色", "黄色", "橙色", "粉色", "紫色", "白色", "黑色", "棕色", "灰色", "金色",
        "银色",
    ),
}
# fmt: on
_MASS = frozenset(
    ("water", "snow", "grass", "sand", "food", "hair", "fur", "smoke", "furniture", "clothing", "mud")
)
_MEASURES = "个只条匹头辆艘架位名把张件顶块棵朵座本台部根支双群"
_COLOURS_ZH = "红蓝绿黄橙粉紫白黑棕灰褐青金银米"


def read_question(text: str) -> Question:
    """What sort of question this is; ``other`` where no rule knows it."""
    return read_chinese(text) if has_chinese(text) else read_english(text)


def is_number(answer: str, language: Language) -> bool:
    """Whether an answer is a number and nothing else, in digits or words."""
    plain = answer.strip().casefold()
    if plain.isdecimal():
        return True
    if language == "en":
        return plain in _NUMBERS
    return re.fullmatch(rf"[零一二两三四五六七八九十]+[{_MEASURES}]?|\d+[{_MEASURES}]", plain) is not None


def is_colour(answer: str, language: Language) -> bool:
    """Whether an answer is a colour, or several ("black and white"), and nothing else."""
    plain = answer.strip().casefold()
    if language == "en":
        parts = [part.split() for part in re.split(r",| and |&|/", plain) if part.strip()]
        return bool(parts) and all(
            part[-1] in _COLOURS and all(word in _SHADES or word in _COLOURS for word in part[:-1])
            for part in parts
        )
    one = f"(?:[{_COLOURS_ZH}深浅]|咖啡)+色?"
    return re.fullmatch(f"{one}(?:[和与、]{one})*", plain) is not None


def spelled(question: Question) -> tuple[str, ...]:
    """The answers a decoder is to choose from; none where nothing bounds them."""
    if question.kind == "count":
        # Nobody counts more on a photo, and no model does.
        return tuple(map(str, range(21)))
    if question.kind == "colour":
        return _SPELLED_COLOURS[question.language]
    return question.options


def fitting(question: Question, answers: Sequence[str]) -> tuple[int, ...]:
    """The places of the answers of a closed list that this question takes: in the order of its options, else
    in the list's. None where the list lacks an option, or has fewer than two numbers or colours."""
    if question.options:
        places = _places(tuple(answers))
        found = [places.get(option.casefold()) for option in question.options]
        return tuple(place for place in found if place is not None) if None not in found else ()
    return _taken(question.kind, question.language, tuple(answers))


# A list may hold thousands of answers, and stays the same from question to question.
@lru_cache(maxsize=8)
def _places(answers: tuple[str, ...]) -> dict[str, int]:
    return {answer.strip().casefold(): place for place, answer in enumerate(answers)}


@lru_cache(maxsize=32)
def _taken(kind: Kind, language: Language, answers: tuple[str, ...]) -> tuple[int, ...]:
    takes = {"count": is_number, "colour": is_colour}.get(kind)
    if takes is None:
        return ()
    own = tuple(place for place, answer in enumerate(answers) if takes(answer, language))
    return own if len(own) > 1 else ()


def presence_question(question: Question) -> str | None:
    """Asks whether there is what the question takes for given; None where it takes nothing for given."""
    thing = question.thing
    if thing is None:
        return None
    if question.language == "zh":
        return f"图里有{thing}吗？"
    if question.several or thing in _MASS:
        return f"are there any {thing}?" if question.several else f"is there any {thing}?"
    return f"is there {_article(thing)} {thing}?"


def absence(question: Question) -> str:
    """Says that there is no such thing."""
    if question.language == "zh":
        return f"没有{question.thing}"
    return f"there {'are' if question.several else 'is'} no {question.thing}"


def _article(thing: str) -> str:
    return "an" if thing[0] in "aeiou" else "a"
