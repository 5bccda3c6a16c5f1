"""Parquet files, read and written with pyarrow (the extra ``prepare``): the one door to it."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from seetell.core.errors import DataError, ImageError, MissingExtra
from seetell.data.photo_refs import ParquetCell, ref_name


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise MissingExtra("pyarrow", "prepare", "to read and write parquet files") from error
    return pyarrow


def require_parquet() -> None:
    """Raises MissingExtra where parquet files can be neither read nor written."""
    _pyarrow()


def _opened(path: Path) -> Any:
    arrow = _pyarrow()
    try:
        return arrow.parquet.ParquetFile(path)
    except OSError as error:
        reason = error.strerror or "cut off or not parquet"
        raise DataError(f"{path}: cannot be read as parquet ({reason})") from error
    except arrow.ArrowException as error:
        raise DataError(f"{path}: not a parquet file, or damaged ({_line(error)})") from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:120]


def binary_columns(path: Path) -> dict[str, bool]:
    """The columns that can hold photos: name -> whether the bytes are the field ``bytes`` of a struct, as
    Hugging Face writes images. Raises DataError."""
    arrow = _pyarrow()
    with _opened(path) as file:
        schema = file.schema_arrow
    found: dict[str, bool] = {}
    for column in schema:
        kind = column.type
        if _is_binary(arrow, kind):
            found[column.name] = False
        elif arrow.types.is_struct(kind) and any(
            part.name == "bytes" and _is_binary(arrow, part.type) for part in kind
        ):
            found[column.name] = True
    return found


def _is_binary(arrow: Any, kind: Any) -> bool:
    return bool(arrow.types.is_binary(kind) or arrow.types.is_large_binary(kind))


def label_names(path: Path) -> dict[str, list[str]]:
    """The names behind number columns, where Hugging Face's ``ClassLabel`` lists them: column -> names."""
    with _opened(path) as file:
        metadata = file.schema_arrow.metadata or {}
    try:
        features = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
        return {
            column: [str(name) for name in feature["names"]]
            for column, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and "names" in feature
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def text_rows(path: Path, without: Sequence[str]) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """(row group, row in it, the row less the columns ``without``). Raises DataError."""
    arrow = _pyarrow()
    with _opened(path) as file:
        columns = [column.name for column in file.schema_arrow if column.name not in without]
        for group in range(file.num_row_groups):
            try:
                rows = (
                    file.read_row_group(group, columns=columns).to_pylist()
                    if columns
                    else [{}] * file.metadata.row_group(group).num_rows
                )
            except (OSError, arrow.ArrowException) as error:
                raise DataError(f"{path}: row group {group} is damaged ({_line(error)})") from error
            for number, row in enumerate(rows):
                yield group, number, row


def nested_paths(path: Path, column: str) -> list[str | None]:
    """The field ``path`` of an image column, row by row: what the photo was called. Raises DataError."""
    arrow = _pyarrow()
    with _opened(path) as file:
        kind = file.schema_arrow.field(column).type
        if not any(part.name == "path" for part in kind):
            return [None] * file.metadata.num_rows
        try:
            values = file.read(columns=[f"{column}.path"]).column(column).to_pylist()
        except (OSError, arrow.ArrowException) as error:
            raise DataError(f"{path}: the column {column!r} is damaged ({_line(error)})") from error
    return [None if value is None else value.get("path") for value in values]


@lru_cache(maxsize=1)
def _photo_column(path: Path, stamp: int, row_group: int, column: str) -> Any:
    # One row group at a time: neighbouring photos are read together. ``stamp`` makes a changed file another.
    with _opened(path) as file:
        return file.read_row_group(row_group, columns=[column]).column(column)


def read_cell(ref: ParquetCell) -> bytes:
    """The bytes of a photo in a parquet file. Raises ImageError."""
    arrow = _pyarrow()
    name = ref_name(ref)
    try:
        column = _photo_column(ref.path, ref.path.stat().st_mtime_ns, ref.row_group, ref.column)
        value = column[ref.row].as_py()
    except FileNotFoundError as error:
        raise ImageError("missing", f"{name}: no such file") from error
    except (OSError, IndexError, DataError, arrow.ArrowException) as error:
        raise ImageError("unreadable", f"{name}: cannot be read ({_line(error)})") from error
    data = value.get("bytes") if ref.nested and isinstance(value, dict) else value
    if not isinstance(data, bytes) or not data:
        raise ImageError("empty", f"{name}: there are no bytes")
    return data


def parquet_bytes(rows: Sequence[Mapping[str, Any]], schema: Sequence[tuple[str, str]], digest: str) -> bytes:
    """A parquet file of ``rows``; ``digest`` is kept in its metadata.

    schema: (column, type) with the types ``string``, ``int64``, ``float64``, ``bool`` and
    ``list<string>``.
    """
    arrow = _pyarrow()
    kinds = {
        "string": arrow.string(),
        "int64": arrow.int64(),
        "float64": arrow.float64(),
        "bool": arrow.bool_(),
        "list<string>": arrow.list_(arrow.string()),
    }
    fields = [arrow.field(name, kinds[kind]) for name, kind in schema]
    table = arrow.Table.from_pylist(
        [dict(row) for row in rows], schema=arrow.schema(fields, metadata={b"digest": digest.encode()})
    )
    buffer = io.BytesIO()
    arrow.parquet.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def parquet_digest(path: Path) -> str | None:
    """The digest that :func:`parquet_bytes` kept in ``path``; None for any other file or a damaged one."""
    try:
        with _opened(path) as file:
            found = (file.schema_arrow.metadata or {}).get(b"digest")
    except DataError:
        return None
    return None if found is None else bytes(found).decode("ascii", "replace")


def parquet_columns(path: Path, names: Sequence[str]) -> dict[str, list[Any]]:
    """Some columns of a small parquet file, whole. Raises DataError, for one that is not there too."""
    arrow = _pyarrow()
    with _opened(path) as file:
        missing = [name for name in names if name not in file.schema_arrow.names]
        if missing:
            raise DataError(f"{path}: has no column {missing[0]!r}")
        try:
            found: dict[str, list[Any]] = file.read(columns=list(names)).to_pydict()
        except (OSError, arrow.ArrowException) as error:
            raise DataError(f"{path}: damaged ({_line(error)})") from error
    return found
