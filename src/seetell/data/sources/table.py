"""Tables of photos and texts: CSV, TSV, JSON lines, JSON lists (BLIP's annotation files) and published lists.

Rows that name the same photo are one sample: a table usually has a row per caption.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import chain, islice
from pathlib import Path
from typing import Any

from seetell.core.errors import DataError
from seetell.data.documents import photo_in
from seetell.data.photo_refs import check_no_pointer
from seetell.data.records import AskedQuestion, BrokenRecord, Item, Sample
from seetell.data.sources.fields import (
    PHOTO_FIELDS,
    TEXT_FIELDS,
    Columns,
    Row,
    chosen_field,
    find_field,
    relative_key,
    said,
    split_in,
)
from seetell.data.sources.photo_folders import FIRST_NAMES, PhotoFolders
from seetell.data.sources.published import (
    conversation_rows,
    is_karpathy,
    is_token_line,
    karpathy_rows,
    token_rows,
)
from seetell.data.sources.separated import column_names, read_separated, separator_of

# The first entry of a list is looked for among so many.
_FIRST_CHARACTERS = 1 << 16
_FIRST_ENTRY = re.compile(r"\s*(?:\[|(?P<listed>\{[^\[\]{}]*\"images\"\s*:\s*\[))\s*(?=\{)")


def read_table(path: Path, folders: PhotoFolders, columns: Columns) -> Iterator[Item]:
    """The photos of a table, in the order in which they first occur.

    A row that cannot be used is a BrokenRecord in its place. Raises DataError for a file that is no such
    table, and UsageError for a column that is not there.
    """
    split = split_in(path.name)
    yield from grouped(rows_of(path), folders, columns, split)


def grouped(
    rows: Iterable[Row],
    folders: PhotoFolders,
    columns: Columns,
    split: str | None,
    root: Path | None = None,
) -> Iterator[Item]:
    """Samples of ``rows`` whose photos lie in one of ``folders``; keys are relative to it, or to ``root``."""
    rows = iter(rows)
    first = list(islice(rows, FIRST_NAMES))
    folder = folders.holding([one for where, row in first if (one := _photo_name(row, columns, where))])
    root = folder if root is None else root
    found: dict[tuple[Path, str | None], _Group] = {}
    order: list[tuple[Path, str | None] | BrokenRecord] = []
    for number, (where, row) in enumerate(chain(first, rows)):
        if isinstance(row, BrokenRecord):
            order.append(row)
            continue
        name = chosen_field(row, columns.photo, PHOTO_FIELDS, where)
        try:
            if name is None:
                raise DataError(f"{where}: no column names the photo; say which with --photo-column")
            value = row[name]
            if not isinstance(value, str) or not value.strip():
                raise DataError(f"{where}: {name!r} names no photo ({value!r})")
            photo = photo_in(folder, value.strip(), where)
            content = said(row, columns, where=where, number=number)
        except DataError as error:
            order.append(BrokenRecord(where, str(error)))
            continue
        place = (photo, content.split or split)
        if place not in found:
            found[place] = _Group()
            order.append(place)
        group = found[place]
        if group.label and content.label and group.label != content.label:
            message = f"{where}: {value!r} has the label {group.label!r} already, and not {content.label!r}"
            order.append(BrokenRecord(where, message))
        group.captions.extend(content.captions)
        group.questions.extend(content.questions)
        group.label = group.label or content.label
    for entry in order:
        if isinstance(entry, BrokenRecord):
            yield entry
            continue
        photo, in_split = entry
        group = found[entry]
        key = relative_key(photo, root)
        yield Sample(key, photo, tuple(group.captions), tuple(group.questions), group.label, in_split)


def _photo_name(row: Mapping[str, Any] | BrokenRecord, columns: Columns, where: str) -> str:
    if isinstance(row, BrokenRecord):
        return ""
    name = chosen_field(row, columns.photo, PHOTO_FIELDS, where)
    value = None if name is None else row[name]
    return value.strip() if isinstance(value, str) else ""


class _Group:
    """What the rows about one photo say."""

    __slots__ = ("captions", "label", "questions")

    def __init__(self) -> None:
        self.captions: list[tuple[str, str]] = []
        self.questions: list[AskedQuestion] = []
        self.label: str | None = None


def is_text_table(path: Path) -> bool:
    """Whether a text file is a table by its first line, as Flickr8k's ``captions.txt`` and token file are."""
    first = _first_line(path)
    names = column_names(first, separator_of(first))
    both = find_field(names, PHOTO_FIELDS) is not None and find_field(names, TEXT_FIELDS) is not None
    return is_token_line(first) or both


def is_json_table(path: Path) -> bool:
    """Whether a JSON file lists photos, by its first entry: as rows of a table, or as Karpathy does. One that
    lists what is said about a photo beside it does not."""
    text = ""
    with suppress(OSError), open(path, encoding="utf-8-sig", errors="replace") as file:
        text = file.read(_FIRST_CHARACTERS)
    begins = _FIRST_ENTRY.match(text)
    if begins is None:
        return False
    try:
        entry, _ = json.JSONDecoder().raw_decode(text, begins.end())
    except (ValueError, RecursionError):
        return False
    if begins["listed"]:
        return is_karpathy({"images": [entry]})
    return isinstance(entry, dict) and find_field(entry, PHOTO_FIELDS) is not None


def _first_line(path: Path) -> str:
    with suppress(OSError, UnicodeDecodeError), open(path, encoding="utf-8-sig") as file:
        return file.readline(1000)
    return ""


def rows_of(path: Path) -> Iterator[Row]:
    """(where it stands, the row) of a table of any of the kinds. Raises DataError."""
    check_no_pointer(path)
    suffix = path.suffix.lower()
    if suffix in (".jsonl", ".ndjson"):
        return _json_lines(path)
    if suffix == ".json":
        return _json_list(path)
    if suffix in (".txt", ".token") and is_token_line(_first_line(path)):
        return token_rows(path)
    return read_separated(path)


def _json_lines(path: Path) -> Iterator[Row]:
    try:
        with open(path, "rb") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                where = f"{path}: line {number}"
                try:
                    row = json.loads(line)
                except (ValueError, RecursionError):
                    yield where, BrokenRecord(where, f"{where}: not JSON")
                    continue
                yield from _as_rows(row, where)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error


def _json_list(path: Path) -> Iterator[Row]:
    document = load_json(path)
    if is_karpathy(document):
        document = karpathy_rows(document)
    if not isinstance(document, list):
        raise DataError(f"{path}: expected a list of objects, found {type(document).__name__}")
    for number, row in enumerate(document):
        where = f"{path}: entry {number}"
        yield from _as_rows(row, where)


def _as_rows(row: Any, where: str) -> Iterator[Row]:
    if not isinstance(row, dict):
        yield where, BrokenRecord(where, f"{where}: not an object but {type(row).__name__}")
    elif isinstance(row.get("conversations"), list):
        yield from conversation_rows(row, where)
    else:
        yield where, row


def load_json(path: Path) -> Any:
    """Whatever JSON is in ``path``. Raises DataError."""
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else "broken or not UTF-8"
        raise DataError(f"{path}: not JSON ({reason})") from error
