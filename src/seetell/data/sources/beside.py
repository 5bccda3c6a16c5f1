"""A folder of photos with their texts beside them: ``photo.jpg`` with ``photo.txt``, ``photo.en.txt``,
``photo.caption`` or ``photo.json``."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

from seetell.core.errors import DataError
from seetell.data.records import Sample
from seetell.data.sources.fields import (
    SPLIT_NAMES,
    BrokenRecord,
    Columns,
    Item,
    Said,
    relative_key,
    said,
)
from seetell.media.listing import Skipped, list_photos

# Nothing anybody wrote about one photo is larger.
MAX_TEXT_BYTES = 1 << 20
TEXT_ENDINGS = ("caption", "text", "txt")

_LANGUAGE = re.compile(r"[a-z]{2}(?:[-_][a-z]{2,4})?", re.IGNORECASE)


def read_beside(root: Path, columns: Columns, skipped: Skipped | None = None) -> Iterator[Item]:
    """The photos in ``root`` and below, in sorted order, each line of its ``.txt`` a caption; of its
    ``.en.txt`` one in English.

    A ``.json`` holds an object with the fields of a table's row. The split is the name of the first folder
    below ``root`` where that is a split's (``train``, ``val``). A photo without a text has none. skipped:
    takes up what the walk leaves out.
    """
    for photo in list_photos([root], skipped):
        key = relative_key(photo, root)
        first = key.partition("/")[0].lower()
        split = first if first in SPLIT_NAMES and "/" in key else None
        try:
            content = _beside(photo, columns)
        except DataError as error:
            yield BrokenRecord(str(photo), str(error))
            continue
        yield Sample(key, photo, content.captions, content.questions, content.label, content.split or split)


def has_text_beside(photo: Path) -> bool:
    """Whether a text lies beside a photo."""
    return bool(_names_beside(photo))


def _beside(photo: Path, columns: Columns) -> Said:
    contents = []
    for name in _names_beside(photo):
        path = photo.with_name(name)
        text = read_text(path)
        if name.endswith(".json"):
            contents.append(said_in_json(text, columns, str(path)))
            continue
        language = language_in(name[len(photo.stem) :])
        lines = tuple((line, language) for line in text.splitlines() if line.strip())
        contents.append(Said(lines or (("", language),)))
    return together(contents)


def _names_beside(photo: Path) -> list[str]:
    """The files that say something about a photo, its JSON last."""
    texts = _texts_in(photo.parent).get(photo.stem, [])
    return sorted(texts, key=lambda name: (name.endswith(".json"), name))


# One folder at a time is walked through, and then the next.
@lru_cache(maxsize=1)
def _texts_in(folder: Path) -> dict[str, list[str]]:
    """The names of the texts in a folder by what the photos are called that they may belong to."""
    found: dict[str, list[str]] = {}
    for entry in os.scandir(folder):
        stem, _, ending = entry.name.rpartition(".")
        if stem and (ending == "json" or ending in TEXT_ENDINGS) and entry.is_file():
            found.setdefault(stem, []).append(entry.name)
            name, _, language = stem.rpartition(".")
            if name and ending != "json" and _LANGUAGE.fullmatch(language):
                found.setdefault(name, []).append(entry.name)
    return found


def language_in(ending: str) -> str:
    """The language in ``.en.txt``; nothing where there is none."""
    word = ending.strip(".").rpartition(".")[0]
    return word.lower() if _LANGUAGE.fullmatch(word) else ""


def together(contents: Iterable[Said]) -> Said:
    """What several files say about one photo."""
    captions: list[tuple[str, str]] = []
    questions: list[AskedQuestion] = []
    label = split = None
    for one in contents:
        # Most writers repeat the text in the JSON, ours among them; there it may be one of several.
        ...
    return Said(tuple(captions), tuple(questions), label, split)


def said_in_json(text: str, columns: Columns, where: str) -> Said:
    """What a JSON document about one photo says. Raises DataError."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not JSON") from error
    if isinstance(document, str | list):
        document = {"captions": document}
    if not isinstance(document, dict):
        raise DataError(f"{where}: expected an object, found {type(document).__name__}")
    return said(document, columns, where=where)


def read_text(path: Path) -> str:
    """A small text file. Raises DataError."""
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_TEXT_BYTES + 1)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    if len(data) > MAX_TEXT_BYTES:
        raise DataError(f"{path}: over {MAX_TEXT_BYTES:,} bytes, which is no caption")
    return decoded_text(data, str(path))


def decoded_text(data: bytes, where: str) -> str:
    """UTF-8, with or without a byte order mark. Raises DataError."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: not UTF-8 text") from error
