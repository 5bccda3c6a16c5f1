"""Tables of photos and texts: CSV, TSV, JSON lines, and JSON lists (BLIP's annotation files).

Rows that name the same photo are one sample: a table usually has a row per caption.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from seetell.core.errors import DataError
from seetell.data.records import AskedQuestion, Sample
from seetell.data.sources.fields import (
    PHOTO_FIELDS,
    BrokenRecord,
    Columns,
    Item,
    chosen_field,
    photo_in,
    relative_key,
    said,
    split_in,
)

# A field longer than this is no caption, and csv's own limit of 131,072 raises a bare error.
_MAX_FIELD = 1 << 24

Row = tuple[str, Mapping[str, Any] | BrokenRecord]


def read_table(path: Path, images: Path, columns: Columns) -> Iterator[Item]:
    """The photos of a table, in the order in which they first occur. ``images`` is their folder.

    A row that cannot be used is a BrokenRecord in its place. Raises DataError for a file that is no such
    table, and UsageError for a column that is not there.
    """
    split = split_in(path.name)
    yield from grouped(rows_of(path), images, images, columns, split)


def grouped(
    rows: Iterable[Row], folder: Path, root: Path, columns: Columns, split: str | None
) -> Iterator[Item]:
    """Samples of ``rows`` whose photos lie in ``folder``; keys are relative to ``root``."""
    found: dict[tuple[Path, str | None], _Group] = {}
    order: list[tuple[Path, str | None] | BrokenRecord] = []
    for number, (where, row) in enumerate(rows):
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


class _Group:
    """What the rows about one photo say."""

    __slots__ = ("captions", "label", "questions")

    def __init__(self) -> None:
        self.captions: list[tuple[str, str]] = []
        self.questions: list[AskedQuestion] = []
        self.label: str | None = None


def rows_of(path: Path) -> Iterator[Row]:
    """(where it stands, the row) of a table of any of the kinds. Raises DataError."""
    suffix = path.suffix.lower()
    if suffix in (".jsonl", ".ndjson"):
        return _json_lines(path)
    if suffix == ".json":
        return _json_list(path)
    return _separated(path, "\t" if suffix in (".tsv", ".tab") else None)


def _separated(path: Path, delimiter: str | None) -> Iterator[Row]:
    csv.field_size_limit(_MAX_FIELD)
    try:
        # utf-8-sig: spreadsheets put a byte order mark in front.
        with open(path, encoding="utf-8-sig", newline="") as file:
            if delimiter is None:
                first = file.readline()
                file.seek(0)
                # open_clip's CSV files are tab-separated by default, whatever they are called.
                delimiter = "\t" if first.count("\t") > first.count(",") else ","
            reader = csv.DictReader(file, delimiter=delimiter, restkey=None, strict=False)
            if not reader.fieldnames:
                raise DataError(f"{path}: empty; expected a first line that names the columns")
            for row in reader:
                where = f"{path}: line {reader.line_num}"
                if None in row:
                    yield where, BrokenRecord(where, f"{where}: more fields than the first line names")
                    continue
                yield where, row
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text; convert it first (iconv -t UTF-8)") from error
    except csv.Error as error:
        raise DataError(f"{path}: not a table ({error})") from error


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
                yield where, _as_row(row, where)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error


def _json_list(path: Path) -> Iterator[Row]:
    document = load_json(path)
    if not isinstance(document, list):
        raise DataError(f"{path}: expected a list of objects, found {type(document).__name__}")
    for number, row in enumerate(document):
        where = f"{path}: entry {number}"
        yield where, _as_row(row, where)


def _as_row(row: Any, where: str) -> Mapping[str, Any] | BrokenRecord:
    if isinstance(row, dict):
        return row
    return BrokenRecord(where, f"{where}: not an object but {type(row).__name__}")


def load_json(path: Path) -> Any:
    """Whatever JSON is in ``path``. Raises DataError."""
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else "broken or not UTF-8"
        raise DataError(f"{path}: not JSON ({reason})") from error
