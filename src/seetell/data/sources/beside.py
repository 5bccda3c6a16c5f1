"""A folder of photos with their texts beside them: ``photo.jpg`` with ``photo.txt`` or ``photo.json``."""

from __future__ import annotations

import json
from collections.abc import Iterator
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
_MAX_TEXT_BYTES = 1 << 20


def read_beside(root: Path, columns: Columns, skipped: Skipped | None = None) -> Iterator[Item]:
    """The photos in ``root`` and below, in sorted order, each line of its ``.txt`` a caption.

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


def _beside(photo: Path, columns: Columns) -> Said:
    listed = photo.with_suffix(".json")
    content = Said()
    if listed.is_file():
        text = read_text(listed)
        content = said_in_json(text, columns, str(listed))
    written = photo.with_suffix(".txt")
    if written.is_file():
        lines = read_text(written).splitlines() or [""]
        captions = tuple((line, "") for line in lines if line.strip()) or (("", ""),)
        return Said((*captions, *content.captions), content.questions, content.label, content.split)
    return content


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
            data = file.read(_MAX_TEXT_BYTES + 1)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    if len(data) > _MAX_TEXT_BYTES:
        raise DataError(f"{path}: over {_MAX_TEXT_BYTES:,} bytes, which is no caption")
    return decoded_text(data, str(path))


def decoded_text(data: bytes, where: str) -> str:
    """UTF-8, with or without a byte order mark. Raises DataError."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: not UTF-8 text") from error
