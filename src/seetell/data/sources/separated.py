"""CSV and its kin, row by row: a quote that is never closed costs its own line and no other."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from seetell.core.errors import DataError
from seetell.data.records import BrokenRecord
from seetell.data.sources.fields import PHOTO_FIELDS, Row, find_field
from seetell.media.listing import has_photo_ending

# A field longer than this is no caption, and csv's own limit of 131,072 raises a bare error.
_MAX_FIELD = 1 << 24
# Nothing anybody wrote about one photo has more lines.
_MAX_LINES = 200
_SEPARATORS = (",", "\t", ";", "|")


def read_separated(path: Path) -> Iterator[Row]:
    """(where it stands, the row) of a table whose first line names the columns. Raises DataError."""
    csv.field_size_limit(_MAX_FIELD)
    try:
        # utf-8-sig: spreadsheets put a byte order mark in front.
        with open(path, encoding="utf-8-sig", newline="") as file:
            yield from _rows(file, path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text; convert it first (iconv -t UTF-8)") from error
    except csv.Error as error:
        raise DataError(f"{path}: not a table ({error})") from error


def _rows(file: Iterable[str], path: Path) -> Iterator[Row]:
    lines = enumerate(file, 1)
    first = next((line for _, line in lines if line.strip()), "")
    separator = "\t" if path.suffix.lower() in (".tsv", ".tab") and "\t" in first else separator_of(first)
    names = column_names(first, separator)
    if not names:
        raise DataError(f"{path}: empty; expected a first line that names the columns")
    for number, fields in _records(lines, separator, len(names)):
        where = f"{path}: line {number}"
        if fields is None:
            message = (
                "a quote is opened and not closed; close it, or write it twice where it is part of a text"
            )
            yield where, BrokenRecord(where, f"{where}: {message}")
        elif len(fields) > len(names):
            yield where, BrokenRecord(where, f"{where}: more fields than the first line names")
        else:
            yield where, dict(zip(names, [*fields, *[None] * (len(names) - len(fields))], strict=True))


def separator_of(first: str) -> str:
    """What separates the columns in a first line: what makes one of them a photo's, else what is there most
    often. open_clip's CSV files are tab-separated by default, whatever they are called."""
    return max(
        _SEPARATORS,
        key=lambda one: (find_field(column_names(first, one), PHOTO_FIELDS) is not None, first.count(one)),
    )


def column_names(first: str, separator: str) -> list[str]:
    """The names in a table's first line."""
    return _fields([first], separator)[0]


def _records(
    lines: Iterator[tuple[int, str]], separator: str, width: int
) -> Iterator[tuple[int, list[str] | None]]:
    """(number of its first line, its fields) of each record; None for one whose quote is not closed.

    A record of several lines is taken only where it is one for sure, and else its first line stands alone:
    read on to the next quote, wherever that is, it would swallow the rows between.
    """
    waiting: deque[tuple[int, str]] = deque()
    while True:
        number, text = waiting.popleft() if waiting else next(lines, (0, ""))
        if not number:
            return
        fields, closed = _fields([text], separator)
        if not closed:
            waiting.extend(islice(lines, max(0, _MAX_LINES - len(waiting))))
            more = _lines_of_record(text, [following for _, following in waiting], separator, width)
            if more:
                fields, _ = _fields([text, *(waiting.popleft()[1] for _ in range(more))], separator)
            elif separator == "\t":
                # Of many such files no field is quoted, and a quote is a character like any other.
                fields = text.rstrip("\r\n").split(separator)
            else:
                yield number, None
                continue
        if fields:
            yield number, fields


def _lines_of_record(first: str, following: list[str], separator: str, width: int) -> int:
    """How many of the lines that follow belong to a record; 0 where its quote is not closed in them."""
    record = [first]
    for line in following:
        cells = line.split(separator)
        if len(cells) >= width and any(has_photo_ending(cell.strip().strip('"')) for cell in cells):
            return 0
        record.append(line)
        if '"' in line:
            try:
                fields = next(csv.reader(record, delimiter=separator, strict=True), [])
            except csv.Error as error:
                if "unexpected end of data" in str(error):
                    continue
                return 0
            return len(record) - 1 if len(fields) <= width else 0
    return 0


def _fields(lines: list[str], separator: str) -> tuple[list[str], bool]:
    """The fields of one record, and whether its last quote is closed."""
    # Only a record that is not complete takes a line more.
    reader = csv.reader([*lines, ""], delimiter=separator)
    return next(reader, []), reader.line_num == len(lines)
