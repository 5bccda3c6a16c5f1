"""One table of photos in LanceDB (the extra ``search``): the one door to it.

Every commit is whole or not there at all, whatever happens to the process or the disk, and a reader keeps the
version it has opened. A row keeps its ``id`` for life, also when its photo is moved, and carries the number
of the commit that wrote it last, so that a reader can fetch what is new.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import weakref
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seetell.core.errors import SeetellError, StorageError, UsageError
from seetell.search.columns import COLUMNS, Contents, Ids, Known, Rows, Vectors, path_text, row_path
from seetell.search.conditions import what_is_wrong
from seetell.search.lancedb_import import import_lancedb
from seetell.search.moves import NOWHERE

# Versions are kept this long for readers that have them open; a search holds one for far less than a second.
_KEPT = timedelta(minutes=15)
_READ_ROWS = 8192
_IN_ONE_FILTER = 500
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# Of LanceDB's index: the parts looked into, and the results per one asked for that are scored again in full.
_PROBES = 40
_REFINE = 4


def require_lancedb() -> None:
    """Raises MissingExtra where an index cannot be kept on disk."""
    import_lancedb()


class PhotoTable:
    """A table, opened at its newest version. Thread-safe as LanceDB's own tables are.

    Raises MissingExtra without LanceDB, and StorageError where the table is damaged or cannot be made.
    """

    def __init__(self, place: Path, name: str, shared_dim: int, *, create: bool = False) -> None:
        self._place = place
        self.shared_dim = shared_dim
        # Where photos lie that the table still has elsewhere; whoever opens it may say.
        self.moves = NOWHERE
        with self._reading():
            connection = import_lancedb().connect(self._named(place))
        self.empty = False
        try:
            if (place / f"{name}.lance").is_dir():
                self._table = connection.open_table(name)
            elif create:
                self._table = connection.create_table(name, schema=_row_type(shared_dim))
            else:
                self.empty = True
        except Exception as error:  # LanceDB raises ValueError, RuntimeError and OSError alike
            if _has_version(place / f"{name}.lance"):
                raise self._unreadable(error) from error
            # A process killed while it made the table has left one without any version.
            if not create:
                self.empty = True
                return
            try:
                self._table = connection.create_table(name, schema=_row_type(shared_dim), mode="overwrite")
            except Exception as second:
                raise self._unwritable(second) from second

    def _named(self, place: Path) -> str:
        """A name of the folder that LanceDB takes: it knows none that is not UTF-8 or holds a control
        character. Such a folder is reached through a link of another name."""
        name = str(place)
        if path_text(name) == name and not _CONTROL.search(name):
            return name
        link = os.path.join(tempfile.mkdtemp(prefix="seetell-index-"), "index")
        os.symlink(os.path.abspath(place), link, target_is_directory=True)
        weakref.finalize(self, shutil.rmtree, os.path.dirname(link), ignore_errors=True)
        return link

    # --- reading ----------------------------------------------------------------------------------------

    def refresh(self) -> int:
        """Go to the newest version; its number."""
        with self._reading():
            self._table.checkout_latest()
            return int(self._table.version)

    def count(self) -> int:
        with self._reading():
            return int(self._table.count_rows())

    def known(self) -> Iterator[Known]:
        """Every photo, a few at a time."""
        columns = ["id", "path", "raw_path", "size_bytes", "mtime_ns", "sha256"]
        for batch in self._batches(columns):
            rows = zip(*(batch.column(name).to_pylist() for name in columns), strict=True)
            for number, path, raw, size_bytes, mtime_ns, sha256 in rows:
                yield Known(number, self._path(path, raw), size_bytes, mtime_ns, sha256)

    def paths(self) -> Iterator[tuple[int, str]]:
        """(id, path) of every photo."""
        for batch in self._batches(["id", "path", "raw_path"]):
            columns = (batch.column(name).to_pylist() for name in ("id", "path", "raw_path"))
            for number, path, raw in zip(*columns, strict=True):
                yield number, self._path(path, raw)

    def ids(self, where: str | None = None) -> Ids:
        """The ids of all photos, or of those a filter lets through. Raises UsageError for no filter."""
        parts = [batch.column("id").to_numpy() for batch in self._batches(["id"], where, users=True)]
        return np.concatenate(parts).astype(np.int64) if parts else np.zeros(0, np.int64)

    def has(self, path: str) -> bool:
        """Whether there is a photo of that path. Never for one that is no text."""
        if "\0" in path or path_text(path) != path:
            return False
        stored = self.moves.before(path)
        if self.moves.now(stored) != path:
            return False  # where it lay before
        quoted = stored.replace("'", "''")
        return len(self.ids(f"path = '{quoted}' AND raw_path IS NULL")) > 0

    def cameras(self) -> Counter[str]:
        """The cameras that photos name, with how many do."""
        found: Counter[str] = Counter()
        for batch in self._batches(["camera"], "camera IS NOT NULL"):
            found.update(batch.column("camera").to_pylist())
        return found

    def newest_commit(self) -> int:
        """The highest number a row carries; 0 for none."""
        parts = [batch.column("commit").to_numpy().max() for batch in self._batches(["commit"]) if len(batch)]
        return int(max(parts, default=0))

    def rows_since(self, commit: int) -> Iterator[Rows]:
        """The rows written after ``commit``, a few at a time."""
        where = None if commit == 0 else f"commit > {commit}"
        for batch in self._batches(["id", "commit", "path", "raw_path", "sha256", "vector"], where):
            if len(batch):
                texts, raw = batch.column("path").to_pylist(), batch.column("raw_path").to_pylist()
                yield Rows(
                    batch.column("id").to_numpy().astype(np.int64),
                    _vectors(batch.column("vector")),
                    [self._path(*path) for path in zip(texts, raw, strict=True)],
                    batch.column("sha256").to_pylist(),
                    int(batch.column("commit").to_numpy().max()),
                )

    def contents_of(self, ids: Sequence[int]) -> dict[int, Contents]:
        """What is kept of photos, by id."""
        found: dict[int, Contents] = {}
        for batch in self._of(ids, ["id", "path", "raw_path", "sha256", "caption", "vector"]):
            for row, vector in zip(
                batch.drop_columns(["vector"]).to_pylist(), _vectors(batch.column("vector")), strict=True
            ):
                path = self._path(row["path"], row["raw_path"])
                found[row["id"]] = Contents(path, row["sha256"], row["caption"], vector)
        return found

    def uncaptioned(self) -> dict[str, list[tuple[int, str]]]:
        """(id, path) of the photos without a caption, by content hash."""
        found: dict[str, list[tuple[int, str]]] = {}
        for batch in self._batches(["id", "path", "raw_path", "sha256"], "caption IS NULL"):
            for row in batch.to_pylist():
                path = self._path(row["path"], row["raw_path"])
                found.setdefault(row["sha256"], []).append((row["id"], path))
        return found

    def has_captions(self) -> bool:
        return any(len(batch) for batch in self._captioned(["caption"]))

    def captions(self) -> dict[str, tuple[str, str]]:
        """(path, caption) of the photos that have one, by content hash."""
        return {
            row["sha256"]: (self._path(row["path"], row["raw_path"]), row["caption"])
            for batch in self._captioned(["sha256", "path", "raw_path", "caption"])
            for row in batch.to_pylist()
        }

    def captions_of(self, ids: Sequence[int]) -> list[tuple[str, str, str]]:
        """(content hash, path, caption) of those of the photos that have one."""
        return [
            (row["sha256"], self._path(row["path"], row["raw_path"]), row["caption"])
            for batch in self._of(ids, ["sha256", "path", "raw_path", "caption"])
            for row in batch.to_pylist()
            if row["caption"] is not None
        ]

    # --- writing ----------------------------------------------------------------------------------------

    def commit(self, rows: Sequence[Mapping[str, Any]], *, replaces: bool) -> None:
        """Write rows, all or none. ``replaces``: some have the id of a row that is there.

        Raises StorageError, the table as it was.
        """
        if not rows:
            return
        with self._writing():
            if replaces:
                merge = self._table.merge_insert("id")
                merge.when_matched_update_all().when_not_matched_insert_all().execute(list(rows))
            else:
                self._table.add(list(rows))

    def remove(self, ids: Sequence[int]) -> None:
        """Take photos out, all or none. Raises StorageError, the table as it was."""
        if len(ids):
            with self._writing():
                self._table.delete(f"id IN ({', '.join(map(str, ids))})")

    def tidy(self) -> None:
        """Merge the small files that commits leave behind, and drop versions nobody can have open. Raises
        StorageError, the table as it was."""
        with self._writing():
            self._table.optimize(cleanup_older_than=_KEPT)

    def caption(self, captions: Mapping[int, str], commit: int) -> None:
        """Give photos their captions, all or none. Raises StorageError, the table as it was."""
        self._merge([{"id": one, "caption": text, "commit": commit} for one, text in captions.items()])

    def rename(self, paths: Mapping[int, str], commit: int) -> None:
        """Give photos other paths, all or none. Raises StorageError, the table as it was."""
        self._merge([{"id": one, **row_path(path), "commit": commit} for one, path in paths.items()])

    def _merge(self, rows: list[dict[str, Any]]) -> None:
        if rows:
            with self._writing():
                self._table.merge_insert("id").when_matched_update_all().execute(rows)

    # --- LanceDB's own indexes --------------------------------------------------------------------------

    def index_vectors(self) -> None:
        """Build the index that :meth:`nearest` needs to be fast; tidying keeps it up to date. Raises
        StorageError."""
        ivf_sq = import_lancedb("index").IvfSq
        with self._writing():
            if not self._has_index("vector"):
                self._table.create_index("vector", config=ivf_sq(distance_type="dot"))

    def index_captions(self) -> None:
        """Build the index that :meth:`matching` needs, for the captions' script. Raises StorageError."""
        fts = import_lancedb("index").FTS
        if self._has_index("caption"):
            return
        captions = (batch.column("caption").to_pylist() for batch in self._captioned(["caption"]))
        some: list[str] = next(captions, [])
        han = any("\u4e00" <= character <= "\u9fff" for text in some for character in text)
        with self._writing():
            # Chinese has no blanks between words: cut by a dictionary. English has its endings taken off.
            self._table.create_index("caption", config=fts(base_tokenizer="icu") if han else fts())

    def nearest(
        self, vector: NDArray[np.float32], k: int, where: str | None
    ) -> list[tuple[str, str, float, NDArray[np.float32]]]:
        """(path, content hash, dot product, float32[S]) of the ``k`` nearest photos that LanceDB's index
        finds, best first."""
        query = self._table.search(vector).distance_type("dot").nprobes(_PROBES).refine_factor(_REFINE)
        columns = ["path", "raw_path", "sha256", "vector", "_distance"]
        rows = self._asked(query.limit(k).select(columns), where, "the vector")
        return [
            (
                self._path(row["path"], row["raw_path"]),
                row["sha256"],
                1 - row["_distance"],
                np.asarray(row["vector"], np.float32),
            )
            for row in rows
        ]

    def matching(self, text: str, k: int, where: str | None) -> list[int]:
        """The ids of the ``k`` photos whose captions fit best to the words of a text, best first.

        Raises UsageError where there are photos, and no captions to look through.
        """
        if not self._has_index("caption"):
            self._require_captions()
            return []
        # As words and not as a text, which LanceDB would parse: quotes are part of its own language.
        words = import_lancedb("query").MatchQuery(path_text(text), "caption")
        query = self._table.search(words, query_type="fts").limit(k).select(["id", "_score"])
        rows = self._asked(query, where, f"the words of {text[:100]!r}")
        if not rows:
            self._require_captions()  # those there were may have gone with their photos
        return [row["id"] for row in rows]

    # --- details ----------------------------------------------------------------------------------------

    def _path(self, text: str, raw: bytes | None) -> str:
        return self.moves.now(text if raw is None else os.fsdecode(raw))

    def _batches(self, columns: list[str], where: str | None = None, *, users: bool = False) -> Iterator[Any]:
        """users: the condition is somebody's, who may have it wrong."""
        if self.empty:
            return
        query = self._table.search().select(columns)
        if where is not None:
            query = query.where(where)
        with _Turned(lambda error: self._wrong_query(error, where if users else None)):
            batches = iter(query.to_batches(batch_size=_READ_ROWS))
        while True:
            with _Turned(lambda error: self._wrong_query(error, where if users else None)):
                batch = next(batches, None)
            if batch is None:
                return
            yield batch

    def _asked(self, query: Any, where: str | None, what: str) -> list[dict[str, Any]]:
        """The rows that a query finds. what: is looked for, for its errors."""
        with _Turned(lambda error: self._wrong_query(error, where, what)):
            if where is not None:
                query = query.where(where, prefilter=True)
            rows: list[dict[str, Any]] = query.to_list()
            return rows

    def _wrong_query(self, error: Exception, where: str | None, what: str | None = None) -> SeetellError:
        """What is wrong where a query fails: the table, if it cannot be read without the query either, else
        the condition or what is looked for."""
        try:
            for _ in self._table.search().select(list(COLUMNS)).to_batches(batch_size=_READ_ROWS):
                pass
        except Exception as damage:
            return self._unreadable(damage)
        if where is not None:
            columns = ", ".join(COLUMNS)
            why = what_is_wrong(where, str(error))
            return UsageError(f"where {where!r}: {why}; the columns are: {columns}")
        if what is not None:
            return UsageError(f"{what} cannot be looked for ({_line(error)})")
        return self._unreadable(error)

    def _of(self, ids: Sequence[int], columns: list[str]) -> Iterator[Any]:
        for first in range(0, len(ids), _IN_ONE_FILTER):
            some = ", ".join(str(int(one)) for one in ids[first : first + _IN_ONE_FILTER])
            yield from self._batches(columns, f"id IN ({some})")

    def _captioned(self, columns: list[str]) -> Iterator[Any]:
        return self._batches(columns, "caption IS NOT NULL")

    def _require_captions(self) -> None:
        if not self.count():
            return
        if not self.has_captions():
            wrong = "there are no captions in this index"
        elif not self._has_index("caption"):  # made when the last photo has its caption
            wrong = "the captions in this index are not complete"
        else:
            return
        raise UsageError(f"{wrong}; run seetell index FOLDER --caption, or search without --hybrid")

    def _has_index(self, column: str) -> bool:
        with self._reading():
            return any(one.columns == [column] for one in self._table.list_indices())

    def _reading(self) -> _Turned:
        return _Turned(self._unreadable)

    def _writing(self) -> _Turned:
        return _Turned(self._unwritable)

    def _unreadable(self, error: Exception) -> StorageError:
        return StorageError(f"{self._place} cannot be read ({_line(error)})")

    def _unwritable(self, error: Exception) -> StorageError:
        said = str(error)
        # Of an error of the operating system LanceDB keeps the text alone.
        if "No space left" in said or "os error 28" in said:
            return StorageError(
                f"cannot write {self._place}: the disk is full; free some space and try again. "
                "The index is as it was"
            )
        if "Permission denied" in said or "Read-only file system" in said:
            return StorageError(f"cannot write {self._place}: no permission to write there")
        return StorageError(f"cannot write {self._place}: {_line(error)}")


class _Turned:
    """Within the block, whatever LanceDB raises becomes an error of ours."""

    def __init__(self, turn: Any) -> None:
        self._turn = turn

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Exception):
            raise self._turn(error) from error


def _row_type(shared_dim: int) -> Any:
    from pydantic import create_model

    types = import_lancedb("pydantic")
    columns = {
        "id": int,
        "commit": int,
        "raw_path": bytes | None,
        "mtime_ns": int,
        **COLUMNS,
        "vector": types.Vector(shared_dim),
    }
    fields: dict[str, Any] = {name: (kind, ...) for name, kind in columns.items()}
    return create_model("Photo", __base__=types.LanceModel, **fields)


def _vectors(column: Any) -> Vectors:
    """A column of B vectors as float32[B, S]."""
    flat = column.flatten().to_numpy(zero_copy_only=False)
    return np.asarray(flat, np.float32).reshape(len(column), -1)


def _has_version(folder: Path) -> bool:
    try:
        return any(entry.name.endswith(".manifest") for entry in os.scandir(folder / "_versions"))
    except FileNotFoundError:
        return False
    except OSError:
        return True  # there may be one that cannot be looked at


def _line(error: Exception) -> str:
    text = " ".join(str(error).split())
    # LanceDB adds where in its own source it went wrong.
    text = text.split(", /")[0].removeprefix("Invalid input, ").removeprefix("lance error: ")
    return text[:200] or type(error).__name__
