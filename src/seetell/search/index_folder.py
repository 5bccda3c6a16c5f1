"""The folder an index lives in: one process writes at a time, and it knows which models made its vectors.

PLACE/index.json       the format, where the index lies, and one table per model
PLACE/NAME.lance       a table (table.py)
PLACE/NAME.json        what is remembered besides (remembered.py)
PLACE/writer.lock      held by the one process that writes
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from seetell.core.errors import StorageError, UsageError
from seetell.core.files import atomic_write_text
from seetell.core.locking import locked
from seetell.search.remembered import Remembered
from seetell.tasks.api import AnyModel

_SUMMARY = "index.json"
_LOCK = "writer.lock"
_KIND = "seetell-index"
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class ModelTable:
    """Which model a table's vectors are of. fingerprint: changes when the model's files do. S: shared_dim.

    unfinished: the photos of the model's other tables are still being embedded anew; the table named is the
    last complete one.
    """

    table: str
    name: str
    fingerprint: str
    shared_dim: int
    unfinished: str | None = None


def fingerprint_of(model: AnyModel) -> str:
    """A digest of the model's files: two models of one fingerprint give the same vectors."""
    return model.identity


def is_index(place: Path) -> bool:
    """Whether an index is there. A damaged one is, too."""
    return (place / _SUMMARY).is_file()


def require_index(place: Path) -> None:
    """Raises UsageError where no index is, and what :class:`IndexFolder` raises."""
    IndexFolder(place).tables()
    if not is_index(place):
        raise UsageError(f"{place}: no index is there; make one with seetell index FOLDER --index {place}")


class IndexFolder:
    """Reads and writes ``index.json`` and holds the lock.

    Raises StorageError where the folder holds other things, cannot be read, or is of a newer format.
    """

    def __init__(self, place: Path) -> None:
        self.place = place
        if not is_index(place) and place.exists():
            if not place.is_dir():
                raise StorageError(f"{place} is a file; an index is a folder")
            if any(name != _LOCK for name in os.listdir(place)):
                raise StorageError(f"{place} is no index and holds other files; choose a new folder")

    def tables(self) -> list[ModelTable]:
        """All models the index was made with; none yet for a new one. Raises StorageError."""
        return self._read()[0]

    def former_place(self) -> Path | None:
        """Where the index lay when it was last brought up to date, if that was elsewhere. Raises
        StorageError."""
        recorded, here = self._read()[1], Path(os.path.abspath(self.place))
        if recorded is None or recorded == here:
            return None
        try:
            if os.path.samefile(recorded, here):  # reached through a link
                return None
        except OSError:
            pass
        return recorded

    def is_settled(self) -> bool:
        """Whether the tables have where photos lie beside the present place. Raises StorageError."""
        return self._read()[1] is not None and self.former_place() is None

    def settle(self) -> None:
        """What the tables have is where photos lie beside the present place. The caller holds the lock."""
        self._write(self.tables(), Path(os.path.abspath(self.place)))

    def _read(self) -> tuple[list[ModelTable], Path | None]:
        """The tables, and the place that was written down with them."""
        path = self.place / _SUMMARY
        try:
            document = json.loads(path.read_bytes())
            if document["kind"] != _KIND:
                raise ValueError
            number = int(document["format"])
            if number > _FORMAT:
                raise StorageError(
                    f"{self.place}: made by a newer seetell (format {number}); upgrade seetell"
                )
            place = document.get("place")
            tables = [ModelTable(**one) for one in document["models"]]
            return tables, None if place is None else Path(place)
        except FileNotFoundError:
            return [], None
        except OSError as error:
            raise StorageError(f"{path} cannot be read ({error.strerror or error})") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StorageError(f"{path} is damaged; index into a new folder") from error

    def table_of(self, model: AnyModel) -> ModelTable | None:
        """The model's own table, None while the index is empty.

        Raises UsageError where other models made it, or an earlier state of this one.
        """
        return self.table_named(model.name, fingerprint_of(model))

    def table_named(self, name: str, fingerprint: str) -> ModelTable | None:
        """As :meth:`table_of`, of a model that is not open."""
        tables = self.tables()
        for one in tables:
            if one.name == name and one.fingerprint == fingerprint:
                return one
        if any(one.name == name for one in tables):
            raise UsageError(
                f"{self.place} was made by an earlier state of {name}; seetell index embeds its photos anew"
            )
        if tables:
            names = ", ".join(sorted({one.name for one in tables}))
            raise UsageError(
                f"{self.place} was made by {names}, not {name}; search with that --model, or let "
                f"seetell index add {name} beside it"
            )
        return None

    def make_table(self, model: AnyModel, shared_dim: Callable[[], int]) -> ModelTable:
        """The model's own table, entered if it is new. The caller holds the lock. shared_dim: asked then.
        Raises StorageError."""
        tables = self.tables()
        fingerprint = fingerprint_of(model)
        complete = None
        for one in tables:
            if one.name == model.name:
                if one.fingerprint == fingerprint:
                    return one
                if one.unfinished is None:
                    complete = one.table
        taken = {one.table for one in tables}
        name = next(name for n in range(len(taken) + 1) if (name := f"photos-{n}") not in taken)
        # A table of that name can only be what a killed process was removing.
        self._clear(name)
        made = ModelTable(name, model.name, fingerprint, shared_dim(), complete)
        self._write([*tables, made])
        return made

    def others(self, own: ModelTable) -> list[ModelTable]:
        """The tables of other states of the model, oldest first: the complete one, and what was begun and
        interrupted."""
        return [one for one in self.tables() if one.name == own.name and one.table != own.table]

    def finish(self, done: ModelTable) -> None:
        """The table is complete: its model's other tables go. The caller holds the lock."""
        tables = self.tables()
        gone = self.others(done)
        kept = [one for one in tables if one not in gone and one.table != done.table]
        finished = ModelTable(done.table, done.name, done.fingerprint, done.shared_dim)
        self._write([*kept, finished])
        for one in gone:
            self._clear(one.table)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the index for this process, until the block ends or the process dies.

        Raises StorageError where another process writes, or the folder cannot be written.
        """

        def busy(holder: str) -> str:
            return (
                f"{self.place} is being written by another process (number {holder}); wait for it. "
                "Searching goes on meanwhile"
            )

        with locked(self.place / _LOCK, busy):
            yield

    def remembered(self, table: str) -> Remembered:
        """What belongs to a table besides its photos. Raises StorageError."""
        return Remembered.read(self.place / f"{table}.json")

    def _clear(self, table: str) -> None:
        shutil.rmtree(self.place / f"{table}.lance", ignore_errors=True)
        with suppress(OSError):
            (self.place / f"{table}.json").unlink()

    def _write(self, tables: list[ModelTable], place: Path | None = None) -> None:
        if place is None:
            place = self._read()[1] if is_index(self.place) else Path(os.path.abspath(self.place))
        document = {
            "kind": _KIND,
            "format": _FORMAT,
            "place": None if place is None else str(place),
            "models": [asdict(one) for one in tables],
        }
        # Escaped, because a place may hold bytes that are no UTF-8.
        atomic_write_text(self.place / _SUMMARY, json.dumps(document, indent=1) + "\n")
