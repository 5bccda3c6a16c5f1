"""Parquet files with photos in them (Hugging Face's ``data/``), or with the names of photos."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

from seetell.core.errors import DataError
from seetell.data.parquet import binary_columns, label_names, nested_paths, text_rows
from seetell.data.photo_refs import ParquetCell, PhotoRef
from seetell.data.records import BrokenRecord, Item, Sample
from seetell.data.sources.fields import PHOTO_FIELDS, Columns, Row, chosen_field, find_field, said, split_in
from seetell.data.sources.photo_folders import PhotoFolders
from seetell.data.sources.table import grouped


def holds_photos(path: Path) -> bool:
    """Whether a parquet file can hold the bytes of photos, and not only their names."""
    with suppress(DataError):
        return bool(binary_columns(path))
    return False


def read_parquet(path: Path, folders: PhotoFolders, columns: Columns) -> Iterator[Item]:
    """The rows of one parquet file. Photos without bytes are looked for in ``folders``.

    Raises DataError for a file that is none, and UsageError for a column that is not there.
    """
    binary = binary_columns(path)
    holder = columns.photo if columns.photo in binary else None
    if columns.photo is None and binary:
        holder = find_field(binary, (*PHOTO_FIELDS, "jpg", "png", "bytes", "image_bytes")) or min(binary)
    if holder is None:
        yield from _named(path, folders, columns)
        return
    nested = binary[holder]
    names = nested_paths(path, holder) if nested else []
    labels = label_names(path)
    split = split_in(path.name)
    for place, (group, number, row) in enumerate(text_rows(path, tuple(binary))):
        where = f"{path}: row {place}"
        cell: PhotoRef = ParquetCell(path, group, number, holder, nested)
        try:
            content = said(_with_label_names(row, labels), columns, where=where, number=place)
        except DataError as error:
            yield BrokenRecord(where, str(error))
            continue
        name = PurePosixPath(names[place] or "").name if names else ""
        key = f"{path.stem}/{place:06d}{'-' if name else ''}{name}"
        yield Sample(key, cell, content.captions, content.questions, content.label, content.split or split)


def _named(path: Path, folders: PhotoFolders, columns: Columns) -> Iterator[Item]:
    def rows() -> Iterator[Row]:
        for place, (_, _, row) in enumerate(text_rows(path, ())):
            where = f"{path}: row {place}"
            chosen_field(row, columns.photo, PHOTO_FIELDS, where)
            yield where, row

    yield from grouped(rows(), folders, columns, split_in(path.name))


def _with_label_names(row: dict[str, Any], names: dict[str, list[str]]) -> dict[str, Any]:
    for column, listed in names.items():
        number = row.get(column)
        if isinstance(number, int) and 0 <= number < len(listed):
            row[column] = listed[number]
    return row
