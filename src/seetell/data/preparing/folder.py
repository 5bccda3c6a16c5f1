"""The folder that data is prepared in: one process at a time, and what is kept there between runs.

OUT/prepared.json            written last: what there is, and that it is complete
OUT/train-000000.tar         a shard
OUT/train-000000.parquet     what is in it, row by row
OUT/dropped.parquet          what was left out, and why
OUT/report.html
OUT/.work/                   measurements and scores, kept so that another threshold costs no decoding
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from seetell.core.errors import StorageError
from seetell.core.files import atomic_write_text, storage_error
from seetell.core.locking import locked

SUMMARY_NAME = "prepared.json"
REPORT_NAME = "report.html"
DROPPED_NAME = "dropped.parquet"
FORMAT = "seetell-prepared"
FORMAT_VERSION = 2

_WORK = ".work"
_LOCK = "lock"
_SHARD = re.compile(r"[\w-]+-\d{6,}\.(?:tar|parquet)")
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}\.tmp")


def digest_of(value: Any) -> str:
    """A digest of anything JSON can hold, the same in every run."""
    text = json.dumps(value, ensure_ascii=True, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def check_places(source: Path, out: Path) -> None:
    """Raises StorageError where ``out`` is not ours to write into."""
    here, there = source.resolve(), out.resolve()
    if there == here or (here.is_dir() and there.is_relative_to(here)):
        raise StorageError(f"{out} lies inside {source}, which is only read; choose another folder")
    if here.is_relative_to(there):
        raise StorageError(f"{out} holds {source} itself; choose another folder")
    if not out.exists():
        return
    if not out.is_dir():
        raise StorageError(f"{out} is a file; choose another name for the folder")
    try:
        names = set(os.listdir(out))
    except OSError as error:
        raise StorageError(f"{out} cannot be listed ({error.strerror or error})") from error
    if names and not names & {SUMMARY_NAME, _WORK}:
        raise StorageError(f"{out} holds other files; choose an empty folder or a new one")


@contextmanager
def held_folder(out: Path) -> Iterator[None]:
    """Make ``out`` and keep it for this process until the block ends, or the process dies.

    What a killed process left half written is removed. Raises StorageError where another process has it.
    """
    work = out / _WORK

    def busy(holder: str) -> str:
        return (
            f"{out} is being prepared by another process (number {holder}); wait for it, or choose another "
            "folder"
        )

    with locked(work / _LOCK, busy):
        _sweep(out)
        _sweep(work)
        yield


def _sweep(folder: Path) -> None:
    with suppress(OSError):
        for entry in os.scandir(folder):
            if _TEMPORARY.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                os.unlink(entry.path)


def remove_shards(out: Path, keep: set[str]) -> None:
    """Remove shards and sidecars of an earlier run but those named. Raises StorageError."""
    try:
        for entry in os.scandir(out):
            if _SHARD.fullmatch(entry.name) and entry.name not in keep:
                os.unlink(entry.path)
    except OSError as error:
        raise storage_error(error, out) from error


def begun(out: Path) -> bool:
    """Whether data were prepared in ``out``, to the end or not."""
    return (out / SUMMARY_NAME).exists() or (out / _WORK).is_dir()


def read_summary(out: Path) -> dict[str, Any] | None:
    """What ``prepared.json`` says; None where there is none or it is damaged."""
    try:
        document = json.loads((out / SUMMARY_NAME).read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) and document.get("format") == FORMAT else None


def write_json(path: Path, document: Any) -> None:
    """Write ``document``, whole or not at all. Raises StorageError."""
    atomic_write_text(path, json.dumps(document, ensure_ascii=False, indent=1) + "\n")


def remove_summary(out: Path) -> None:
    """From here on the folder is not complete. Raises StorageError."""
    try:
        (out / SUMMARY_NAME).unlink(missing_ok=True)
    except OSError as error:
        raise storage_error(error, out / SUMMARY_NAME) from error


class KeptWork:
    """Pieces of finished work, each under a number with a digest of what it was made from.

    A piece whose digest is another's is not there: so that a source that has changed is looked at anew, and
    nothing else is.
    """

    def __init__(self, out: Path, kind: str) -> None:
        self._folder = out / _WORK
        self._kind = kind

    def load(self, number: int, digest: str) -> list[Any] | None:
        """The piece's rows, if they were made from the same."""
        try:
            document = json.loads(self._path(number).read_bytes())
        except (OSError, ValueError, RecursionError):
            return None
        if not isinstance(document, dict) or document.get("digest") != digest:
            return None
        rows = document.get("rows")
        return rows if isinstance(rows, list) else None

    def save(self, number: int, digest: str, rows: list[Any]) -> None:
        """Keep a piece. Raises StorageError."""
        text = json.dumps({"digest": digest, "rows": rows}, ensure_ascii=True)
        atomic_write_text(self._path(number), text)

    def forget_from(self, count: int) -> None:
        """Remove the pieces numbered ``count`` and above: the source has become shorter."""
        with suppress(OSError):
            for entry in os.scandir(self._folder):
                name, _, rest = entry.name.rpartition("-")
                number = rest.partition(".")[0]
                if name == self._kind and number.isdecimal() and int(number) >= count:
                    os.unlink(entry.path)

    def _path(self, number: int) -> Path:
        return self._folder / f"{self._kind}-{number:06d}.json"
