"""Photos by what their captions say, and the tables of words that questions are made of."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import yaml
from PIL import Image, ImageStat

from seetell.data.records import CaptionRecord

HERE = Path(__file__).parent
WORDS: dict[str, Any] = yaml.safe_load((HERE / "words" / "question_words.yaml").read_text(encoding="utf-8"))
KINDS: dict[str, Any] = yaml.safe_load((HERE / "words" / "question_kinds.yaml").read_text(encoding="utf-8"))


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


def with_plurals(words: str) -> set[str]:
    """Any of an entry's words in any number."""
    return {
        one
        for word in expanded(words)
        for one in ((word[1:],) if word.startswith("=") else (word, plural(word)))
    }


@cache
def pattern(words: str, plurals: bool = True) -> re.Pattern[str]:
    """Any of an entry's words, whole, with their plurals. No word, and it never matches."""
    found = with_plurals(words) if plurals else set(expanded(words))
    longest_first = sorted(found, key=lambda one: (-len(one), one))
    return re.compile(rf"\b(?:{'|'.join(map(re.escape, longest_first))})\b" if found else r"(?!)")


@cache
def _sought(words: str) -> tuple[frozenset[str], tuple[str, ...]]:
    """An entry's single words and its phrases, with their plurals."""
    found = with_plurals(words)
    return frozenset(one for one in found if " " not in one), tuple(f" {one} " for one in found if " " in one)


def _holds(text: tuple[frozenset[str], str], words: str) -> bool:
    """Whether a text, as its words and as itself between blanks, holds any of an entry's words."""
    tokens, padded = text
    singles, phrases = _sought(words)
    return not singles.isdisjoint(tokens) or any(phrase in padded for phrase in phrases)


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
