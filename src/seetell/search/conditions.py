"""Which photos of an index a search may give: conditions for dates and cameras, and what is wrong with one
that somebody wrote."""

from __future__ import annotations

import difflib
import re
from datetime import datetime

from seetell.core.errors import UsageError
from seetell.search.columns import COLUMNS

_DATE = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:[ T](\d\d):(\d\d)(?::(\d\d))?)?)?)?")
_DATES_LIKE = "give one like 2025, 2025-06, 2025-06-01 or '2025-06-01 14:30'"

_TEXT = re.compile(r"'(?:[^']|'')*'")
# A name in double quotes, a word, a number, or one sign.
_TOKEN = re.compile(r'"[^"]*"|[^\W\d]\w*|\d+(?:\.\d+)?|<=|>=|<>|!=|==|\S')
_COMPARED = {"=", "==", "<", ">", "<=", ">=", "<>", "!=", "like", "ilike", "in", "between", "is"}
# What is compared stands after these.
_BEFORE_VALUES = _COMPARED - {"is"}
# Stands for a text that has been cut out, which itself may hold anything.
_CUT = "\0"
_KNOWN_WORDS = _COMPARED | {"and", "or", "not", "null", "true", "false", "escape", "date", "timestamp"}
_KNOWN_WORDS |= {"cast", "as", "case", "when", "then", "else", "end", "interval", "similar", "to"}
_NUMBERS = {name for name, kind in COLUMNS.items() if kind in (int, int | None, float | None)}

_NO_FUNCTION = re.compile(r"Invalid function '([^']+)'")


def condition(
    where: str | None = None,
    *,
    after: str | None = None,
    before: str | None = None,
    camera: str | None = None,
) -> str | None:
    """The condition, for ``where`` of a search, under which all of these hold; None for none.

    Args:
        where: a condition in SQL.
        after: a date from which on photos are taken: ``2025``, ``2025-06``, ``2025-06-01`` or with a time.
        before: a date before which they are.
        camera: part of a camera's name, in upper or lower case.

    Raises UsageError for what is no date, dates between which nothing lies, and no name.
    """
    parts = []
    earliest, end = (_date(text, name) for text, name in ((after, "--after"), (before, "--before")))
    if earliest is not None and end is not None and earliest >= end:
        raise UsageError(f"no photo was taken after {after} and before {before}; the earlier is for --after")
    if earliest is not None:
        parts.append(f"taken >= '{earliest}'")
    if end is not None:
        parts.append(f"taken < '{end}'")
    if camera is not None:
        if not camera.strip():
            raise UsageError("--camera is empty; give a maker or a model, such as Canon or 'Pixel 8'")
        quoted = camera.strip().lower().replace("'", "''")
        parts.append(f"contains(lower(camera), '{quoted}')")
    if where is not None:
        # A line of its own: it may end in a comment.
        parts.append(f"({where}\n)" if parts else where)
    return " and ".join(parts) or None


def _date(text: str | None, name: str) -> str | None:
    """A date as the index writes it, as far as it is given: an earlier one is the lesser text."""
    if text is None:
        return None
    given = _DATE.fullmatch(text.strip().replace("/", "-"))
    if given is None:
        raise UsageError(f"{name} {text!r} is no date; {_DATES_LIKE}")
    year, month, day, hour, minute, second = (int(one) if one else None for one in given.groups())
    try:
        datetime(year or 0, month or 1, day or 1, hour or 0, minute or 0, second or 0)
    except ValueError:
        raise UsageError(f"{name} {text!r} is no day of the calendar; {_DATES_LIKE}") from None
    return given[0].replace("T", " ")


def what_is_wrong(where: str, refused: str) -> str:
    """Why a condition is none, in words for whoever wrote it. refused: what the database said."""
    if not where.strip():
        return "the condition is empty"
    if any(quote in where for quote in "‘’“”"):
        return "quotes in a condition are straight: 'Canon'"
    left = _TEXT.sub(f" {_CUT} ", where)
    if "'" in left:
        return "a quote is opened and not closed"
    for wrong, right in (("&&", "and"), ("||", "or")):
        if wrong in left:
            return f"write {right} for {wrong}"
    if left.count("(") != left.count(")"):
        return "there are not as many brackets opened as closed"
    tokens = _TOKEN.findall(left)
    missing = _NO_FUNCTION.search(refused)
    return (
        _wrong_name(tokens)
        or (f"there is no function {missing[1]}" if missing else None)
        or _wrong_kind(tokens)
        or (None if {one.lower() for one in tokens} & _COMPARED else "it compares nothing")
        or "it cannot be read as a condition"
    )


def _wrong_name(tokens: list[str]) -> str | None:
    for before, name, after in zip(["", *tokens], tokens, [*tokens[1:], ""], strict=False):
        word = name.strip('"')
        if not re.fullmatch(r"\w+", word) or word[0].isdigit() or after == "(":
            continue
        if word.lower() in COLUMNS or (word == name and word.lower() in _KNOWN_WORDS):
            continue
        if before.lower() == "is":
            return "after is stands null or not null"
        near = difflib.get_close_matches(word.lower(), COLUMNS, 1, 0.7)
        if not near and (before.lower() in _BEFORE_VALUES or word != name):
            return f"a text stands in single quotes: '{word}'"
        return f"there is no column {word}" + (f"; did you mean {near[0]}?" if near else "")
    return None


def _wrong_kind(tokens: list[str]) -> str | None:
    """A number compared with a text."""
    for column, sign, value in zip(tokens, tokens[1:], tokens[2:], strict=False):
        name = column.lower()
        if name not in COLUMNS or sign.lower() not in _COMPARED:
            continue
        if name in _NUMBERS and value == _CUT:
            return f"{name} is a number, which stands without quotes"
        if name not in _NUMBERS and value[0].isdigit():
            return f"{name} is a text, which stands in single quotes: '{value}'"
    return None
