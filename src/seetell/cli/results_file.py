"""``--out``: the results of a command as one file, a CSV for spreadsheets or JSON lines for programs.

The file stands under its name only when the command has gone through: a run that was stopped leaves the old
one. Inputs that failed have a row, too, so that nothing is missing unseen.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, BinaryIO

from seetell.cli.keeper import Keeper
from seetell.cli.options import option
from seetell.cli.output import json_line

# Without a mark at its beginning, spreadsheets take a file of UTF-8 for one of the system's old encoding.
_MARK = "\N{BYTE ORDER MARK}"

# What begins so is a formula to a spreadsheet, and what it does is not ours to run. An apostrophe before it
# says that it is a text.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")

_ERROR = "error"

ResultsOption = Annotated[
    Path | None,
    option(
        "--out",
        metavar="F.csv|F.jsonl",
        help="Also write the results to this file; its ending says how.",
        show_default="none",
    ),
]


@contextmanager
def results_file(path: Path, columns: Sequence[str]) -> Iterator[Keeper]:
    """A file of results that appears when the block has ended well.

    Args:
        columns: the fields that are columns of a CSV, in their order; one for errors comes last.

    Raises UsageError for an ending that is neither, before anything is done, and StorageError.
    """
    from seetell.core.errors import UsageError
    from seetell.core.files import atomic_file

    ending = path.suffix.lower()
    if ending not in (".csv", ".jsonl"):
        raise UsageError(f"--out {path}: the ending says what to write; name a file .csv or .jsonl")
    with atomic_file(path) as file:
        yield _Csv(path, file, columns) if ending == ".csv" else _JsonLines(path, file)


class _JsonLines:
    """The lines that ``--json`` prints."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path = path
        self._file = file

    def result(self, fields: Mapping[str, Any], cells: Sequence[str]) -> None:
        self._file.write((json_line(fields, "utf-8") + "\n").encode())

    def failure(self, name: str, fields: Mapping[str, Any], error: BaseException) -> None:
        self.result(fields, ())


class _Csv:
    """One row per result."""

    def __init__(self, path: Path, file: BinaryIO, columns: Sequence[str]) -> None:
        self.path = path
        self._file = file
        self._columns = columns
        self._put(_MARK + _row([*columns, _ERROR]))

    def result(self, fields: Mapping[str, Any], cells: Sequence[str]) -> None:
        self._put(_row([*(_cell(fields.get(name)) for name in self._columns), ""]))

    def failure(self, name: str, fields: Mapping[str, Any], error: BaseException) -> None:
        message = fields[_ERROR]["message"]
        self._put(_row([*(_cell(fields.get(column)) for column in self._columns), _cell(message)]))

    def _put(self, text: str) -> None:
        # Bytes of file names that are no UTF-8 appear as escapes.
        self._file.write(text.encode("utf-8", "backslashreplace"))


def _row(cells: Sequence[str]) -> str:
    line = io.StringIO(newline="")
    csv.writer(line).writerow(cells)
    return line.getvalue()


def _cell(value: Any) -> str:
    """A field as text; of what has parts each is named with its number: ``cat 0.9; dog 0.1``."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"'{value}" if value.startswith(_FORMULA) else value
    if isinstance(value, Mapping):
        return " ".join(_part(one) for one in value.values())
    if isinstance(value, Sequence):
        return "; ".join(_cell(one) for one in value)
    return str(value)


def _part(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else _cell(value)
