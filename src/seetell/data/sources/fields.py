"""What the fields of a row, of a JSON file beside a photo or of a parquet column mean.

The names are those in use: open_clip's (``filepath``, ``title``), BLIP's (``image``, ``caption``,
``question``, ``answer``), Hugging Face's (``file_name``, ``text``), LAION's (``TEXT``). Upper and lower case
are one.
"""

from __future__ import annotations

import ast
import json
import math
import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seetell.core.errors import DataError, UsageError
from seetell.data.records import AskedQuestion, BrokenRecord

PHOTO_FIELDS = (
    "filepath",
    "file_name",
    "filename",
    "image",
    "image_path",
    "img_path",
    "photo",
    "path",
    "img",
    "file",
    "image_name",
)
TEXT_FIELDS = (
    *("caption", "captions", "text", "texts", "title", "description", "sentences", "alt_text"),
    *("comment", "raw"),
)
LANGUAGE_FIELDS = ("language", "lang")
QUESTION_FIELDS = ("question",)
QUESTION_ID_FIELDS = ("question_id",)
ANSWER_FIELDS = ("answers", "answer")
MAJORITY_FIELDS = ("multiple_choice_answer", "majority")
LABEL_FIELDS = ("label", "class_name", "class", "category")
SPLIT_FIELDS = ("split",)
# One of several columns that hold a caption each: ``caption_0``, ``caption 1``, ``text2``.
_NUMBERED_TEXT = re.compile(rf"(?:{'|'.join(TEXT_FIELDS)})[_ ]?\d+")
# A list as Python or numpy prints it, the latter without commas.
_PRINTED_TEXT = r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
_PRINTED_LIST = re.compile(rf"\[\s*{_PRINTED_TEXT}(?:[\s,]+{_PRINTED_TEXT})*\s*,?\s*\]", re.DOTALL)
# A text inside a list: Hugging Face's and Karpathy's forms.
_NESTED_TEXT = ("text", "caption", "raw", "answer")

SPLIT_NAMES = frozenset({"train", "training", "val", "valid", "validation", "dev", "test"})


# Where it stands, and what it says.
Row = tuple[str, Mapping[str, Any] | BrokenRecord]


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns the user named; None takes the first known name that is there."""

    photo: str | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Said:
    """What one row says about its photo."""

    captions: tuple[tuple[str, str], ...] = ()
    questions: tuple[AskedQuestion, ...] = ()
    label: str | None = None
    split: str | None = None


def find_field(names: Iterable[str], wanted: Iterable[str]) -> str | None:
    """The name, as it is written in ``names``, of the first of ``wanted``."""
    written = {name.strip().lower(): name for name in reversed(list(names))}
    return next((written[name] for name in wanted if name in written), None)


def chosen_field(names: Iterable[str], named: str | None, wanted: Iterable[str], where: str) -> str | None:
    """The field the user named, or the first known one. Raises UsageError if the named one is not there."""
    listed = list(names)
    if named is None:
        return find_field(listed, wanted)
    if named not in listed:
        raise UsageError(f"{where}: has no column {named!r}; it has: {', '.join(map(repr, listed))}")
    return named


def said(row: Mapping[str, Any], columns: Columns, *, where: str, number: int = 0) -> Said:
    """What ``row`` says. ``number`` names a question that has no id of its own. Raises DataError."""
    # A named column that a row lacks is an empty caption of that row: JSON lines need not be alike.
    text_field = find_field(row, TEXT_FIELDS) if columns.text is None else columns.text
    language = _plain(_value(row, LANGUAGE_FIELDS))
    text = None if text_field is None else row.get(text_field)
    captions = captions_of(text, language, f"{where}: {text_field}")
    if columns.text is None:
        captions += _numbered(row, language, where)
    # Our own shards list their questions.
    listed = _value(row, ("questions",))
    entries = (
        [row, *(one for one in listed if isinstance(one, Mapping))] if isinstance(listed, list) else [row]
    )
    questions = tuple(asked for entry in entries for asked in _questions(entry, where, number))
    label = _value(row, LABEL_FIELDS)
    split = split_name(_plain(_value(row, SPLIT_FIELDS))) or None
    # A label may be a number; its name is what people see.
    return Said(captions, questions, None if _absent(label) else str(label).strip() or None, split)


def _questions(entry: Mapping[str, Any], where: str, number: int) -> tuple[AskedQuestion, ...]:
    question = _plain(_value(entry, QUESTION_FIELDS))
    if not question:
        return ()
    answers = captions_of(_value(entry, ANSWER_FIELDS), "", f"{where}: answers")
    identity = _value(entry, QUESTION_ID_FIELDS)
    given = identity if isinstance(identity, int | str) and not isinstance(identity, bool) else number
    texts = tuple(text.strip() for text, _ in answers if text.strip())
    return (AskedQuestion(question, texts, given, _plain(_value(entry, MAJORITY_FIELDS)) or None),)


def captions_of(value: Any, language: str, where: str) -> tuple[tuple[str, str], ...]:
    """A text, or a list of texts, or of objects that hold one; also a list that was printed into a text.
    Raises DataError."""
    if _absent(value):
        return ()
    if isinstance(value, str):
        printed = _printed_list(value)
        return ((value, language),) if printed is None else captions_of(printed, language, where)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return ((str(value), language),)
    if isinstance(value, list | tuple):
        return tuple(pair for entry in value for pair in _nested(entry, language, where))
    raise DataError(f"{where} is neither a text nor a list of texts but {type(value).__name__}")


def _numbered(row: Mapping[str, Any], language: str, where: str) -> tuple[tuple[str, str], ...]:
    """The captions in columns of their own; a photo with fewer of them leaves the others empty."""
    names = [name for name in row if _NUMBERED_TEXT.fullmatch(name.strip().lower())]
    found = [pair for name in names for pair in captions_of(row[name], language, f"{where}: {name}")]
    return tuple(pair for pair in found if pair[0].strip())


def _printed_list(text: str) -> list[Any] | None:
    """The texts of a list that was printed into a cell: ``["a dog"]``, ``['a dog', 'a cat']``, or numpy's
    ``['a dog' 'a cat']``; None for any other text."""
    text = text.strip()
    if not (text.startswith("[") and text.endswith("]")):
        return None
    try:
        found = json.loads(text)
        return found if all(isinstance(one, str | dict) for one in found) else None
    except (ValueError, RecursionError):
        pass
    if not _PRINTED_LIST.fullmatch(text):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an escape that Python does not know stays as it is written
            # One by one: beside one another Python takes two texts for one.
            return [ast.literal_eval(one) for one in re.findall(_PRINTED_TEXT, text, re.DOTALL)]
    except (ValueError, SyntaxError):
        return None


def _nested(entry: Any, language: str, where: str) -> tuple[tuple[str, str], ...]:
    if not isinstance(entry, Mapping):
        return captions_of(entry, language, where)
    text = _value(entry, _NESTED_TEXT)
    if not isinstance(text, str):
        raise DataError(f"{where}: an entry holds no text")
    return ((text, _plain(_value(entry, LANGUAGE_FIELDS)) or language),)


def _value(row: Mapping[str, Any], wanted: tuple[str, ...]) -> Any:
    name = find_field(row, wanted)
    return None if name is None else row[name]


def _absent(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _plain(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""


def split_name(name: str) -> str:
    """``Train`` and ``TRAIN`` as ``train``; a name that is not usual stays as it is written."""
    return name.lower() if name.lower() in SPLIT_NAMES else name


def split_in(name: str) -> str | None:
    """The split a file is named after: ``captions_train2017.json``, ``val-00000-of-00002.parquet``."""
    words = "".join(c if c.isalpha() else " " for c in name.rpartition(".")[0] or name).lower().split()
    return next((word for word in words if word in SPLIT_NAMES), None)


def relative_key(path: Path, root: Path) -> str:
    """A photo's key: its path within ``root``, with forward slashes."""
    try:
        return path.relative_to(root).as_posix()
    except ValueError:
        return path.as_posix()
