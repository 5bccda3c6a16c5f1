"""Captions as words, the way coco-caption scores them, without its Java program.

coco-caption runs the Penn Treebank tokenizer of Stanford CoreNLP 3.4.1, in lower case, and drops the tokens
``'' ' `` ` . ? ! , : - -- ... ;``. This module does the same with regular expressions, including what
surprises: brackets stay (as ``-lrb-`` and ``-rrb-``, because the drop list is in upper case), and so do
``&``, ``%`` and runs such as ``!!``. Both gave the same tokens for every one of Flickr8k's 35,000 English
training and dev captions and of DAQUAR's 6,795 questions, which together are 430,142 tokens. Known to differ:
abbreviations outside the lists below, web addresses, names that end in a number after a hyphen, markup,
currencies other than the dollar.

Chinese has no blanks: every character is a token, and what is not Chinese in between is read as above.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from seetell.core.chinese import HAN

_CHINESE_PIECES = re.compile(f"([{HAN}])|([^{HAN}]+)")

_TYPOGRAPHY = str.maketrans(
    {
        "\u2018": "'",
        "\u2019": "'",
        "\u201c": '"',
        "\u201d": '"',
        "\u2013": " -- ",
        "\u2014": " -- ",
        "\u2026": " ... ",
        "(": " -lrb- ",
        ")": " -rrb- ",
        "[": " -lsb- ",
        "]": " -rsb- ",
        "{": " -lcb- ",
        "}": " -rcb- ",
    }
)
_BRACKETS = "-[lr][rsc]b-"
# They keep their full stop; the second ones before a number only.
_ABBREVIATIONS = (
    "mr mrs ms dr prof st mt jr sr vs etc jan feb mar apr jun jul aug sep sept oct nov dec mon tue wed thu "
    "fri adm al assn ave bldg blvd bros calif capt cf cmdr co col corp ct dept esq est fla ft gen gov hon "
    "inc lt ltd maj messrs mlle mme pres rd rep rev sen sgt univ va"
)
_BEFORE_A_NUMBER = "ca fig no nos pp"
# Tried in this order at each place.
_TOKEN = re.compile(
    rf"""
      (?P<bracket> {_BRACKETS} )
    | (?P<abbreviation>
          (?<![\w.]) (?: [a-z] \. )+ (?! \w )
        | (?<!\w) (?: {_ABBREVIATIONS.replace(" ", "|")} ) \. (?! \w )
        | (?<!\w) (?: {_BEFORE_A_NUMBER.replace(" ", "|")} ) \. (?= \ * \d )
        | (?<!\w) (?: '\d0s | 'n' ) (?! \w ) )
    | (?P<number> \d+ (?: [.,:/] \d+ )+ (?! \w ) )
    | (?P<word> [^\W_]+ (?: [-./'_@]* [^\W_]+ )* )
    | (?P<clitic> '(?: s | d | m | ll | re | ve | tis | twas ) (?! \w ) | (?<!\w) n't (?! \w ) )
    | (?P<run> [!?]{{2,}} )
    | (?P<symbol> [^\w\s] | _ )
    """,
    re.VERBOSE,
)
_CLITIC = re.compile(r"(?<=\w)(n't|'(?:s|d|m|ll|re|ve))$")
# Written as one, read as two.
_SPLIT = {
    "cannot": ("can", "not"),
    "gimme": ("gim", "me"),
    "gonna": ("gon", "na"),
    "gotta": ("got", "ta"),
    "lemme": ("lem", "me"),
    "'tis": ("'t", "is"),
    "'twas": ("'t", "was"),
    "wanna": ("wan", "na"),
    "y'all": ("y'", "all"),
}
_DROPPED = frozenset("\"'`.?!,:-;")


def caption_tokens(text: str, language: str) -> list[str]:
    """The tokens of a caption, in lower case and without punctuation.

    ``language`` ``zh`` (or ``zh-...``) is split per character; any other as coco-caption splits English.
    """
    if language.partition("-")[0].lower() == "zh":
        return list(_chinese(text))
    return list(_english(text))


def _english(text: str) -> Iterator[str]:
    for found in _TOKEN.finditer(text.lower().translate(_TYPOGRAPHY)):
        token = found.group()
        if found.lastgroup in {"word", "clitic"}:
            yield from _words(token)
        elif found.lastgroup != "symbol" or token not in _DROPPED:
            yield token


def _words(token: str) -> Iterator[str]:
    if token in _SPLIT:
        yield from _SPLIT[token]
        return
    clitics: list[str] = []
    while found := _CLITIC.search(token):
        clitics.append(found.group())
        token = token[: found.start()]
    yield token
    yield from reversed(clitics)


def _chinese(text: str) -> Iterator[str]:
    # Full-width letters and digits are the same letters and digits: "Ｔ恤" is "T恤".
    for found in _CHINESE_PIECES.finditer(unicodedata.normalize("NFKC", text)):
        character, other = found.groups()
        if character:
            yield character
            continue
        # Words and numbers only: coco-caption's list knows no Chinese punctuation. -lrb- is no word either.
        yield from (one for one in _english(other) if any(map(str.isalnum, one)) and one[0] != "-")
