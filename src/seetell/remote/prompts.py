"""What a server's model is told, in each language, and which of several choices its answer means.

What it may say stands apart from the question itself, which goes as it was asked.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Prompts:
    """caption and classify are asked; ask and answers say how to answer what is asked after them.
    ``{choices}`` is one choice a line."""

    caption: str
    ask: str
    answers: str
    classify: str


PROMPTS = {
    "en": Prompts(
        caption="Describe this photo in one sentence.",
        ask="Answer the question about the photo in a few words, with no sentence around them. Answer yes or "
        "no where the question is whether something is so.",
        answers="Answer the question about the photo with one of these lines, exactly as it stands here, and "
        "nothing else:\n{choices}",
        classify="Which of these lines fits the photo best? Answer with it exactly as it stands here, and "
        "nothing else:\n{choices}",
    ),
    "zh": Prompts(
        caption="请描述这张照片，只用一句话。",
        ask="请用几个字回答关于照片的问题，不要写成句子。是非问题只回答“是”或“不是”，“有”或“没有”。",
        answers="请回答关于照片的问题，只能从下面各行中选一行，照原样写出，不要写别的：\n{choices}",
        classify="下面哪一行最符合这张照片？照原样写出这一行，不要写别的：\n{choices}",
    ),
}

_AROUND = " \t\n\"'`*.,:;!?-–“”‘’「」。，：；！？"


def with_choices(prompt: str, choices: Sequence[str]) -> str:
    """The prompt with the choices, each on a line of its own."""
    return prompt.format(choices="\n".join(" ".join(one.split()) for one in choices))


def chosen(text: str, choices: Sequence[str]) -> tuple[str | None, bool]:
    """The choice that an answer means, None where it means none or several; and whether it is said as it
    stands, with nothing around it."""
    plain = _plain(text)
    for one in choices:
        if _plain(one) == plain:
            return one, True
    named = [one for one in choices if _names(plain, _plain(one))]
    # Who says "black cat" does not mean the choice "cat".
    longest = [
        one for one in named if not any(one is not other and _plain(one) in _plain(other) for other in named)
    ]
    return (longest[0], False) if len(longest) == 1 else (None, False)


def _plain(text: str) -> str:
    return " ".join(text.casefold().split()).strip(_AROUND)


def _names(plain: str, choice: str) -> bool:
    """Whether ``choice`` stands in it as words; Chinese has no blanks between them."""
    if not choice:
        return False
    if not choice.isascii():
        return choice in plain
    return re.search(rf"(?<![a-z0-9]){re.escape(choice)}(?![a-z0-9])", plain) is not None
