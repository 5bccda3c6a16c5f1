"""Where each sample of a shard is, out of the shard's sidecar: any one can be read without those before it.

A sidecar is small and read whole; the shard itself is opened only for the samples that are asked for.
"""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seetell.core.errors import DataError
from seetell.data.parquet import parquet_columns, parquet_digest
from seetell.data.photo_refs import FileSlice
from seetell.data.records import AskedQuestion, Sample

_COLUMNS = ("size_bytes", "photo_offset", "document_offset", "document_bytes")
_CONTENT = ("languages", "n_answered", "label")
_ADVICE = "prepare the data again"


@dataclass(frozen=True, slots=True, eq=False)
class ShardIndex:
    """One shard of n samples.

    places: int64[n, 4], of each sample the offset and size in bytes of its photo and of its JSON.
    languages: those of each sample's captions, sorted. n_answered: int64[n], its questions with an answer.
    labels: its label, or None. digest: of what the shard was made from.
    """

    path: Path
    places: NDArray[np.int64]
    languages: tuple[tuple[str, ...], ...]
    n_answered: NDArray[np.int64]
    labels: tuple[str | None, ...]
    digest: str

    def sample(self, number: int) -> Sample[FileSlice]:
        """One sample, counted from 0. Raises DataError where the shard is not what its sidecar says."""
        photo_offset, photo_bytes, offset, size_bytes = (int(value) for value in self.places[number])
        where = f"{self.path}: sample {number}"
        try:
            with open(self.path, "rb") as file:
                file.seek(offset)
                document = file.read(size_bytes)
        except OSError as error:
            raise DataError(f"{self.path}: cannot be read ({error.strerror or error})") from error
        found = parsed(document, where)
        return sample_of(found, FileSlice(self.path, photo_offset, photo_bytes, str(found["key"])), where)


def read_index(path: Path, count: int) -> ShardIndex:
    """The index of the shard ``path``, which should have ``count`` samples.

    Raises DataError where the sidecar is missing, damaged or another shard's, and MissingExtra without
    pyarrow.
    """
    sidecar = path.with_suffix(".parquet")
    if not sidecar.is_file():
        raise DataError(f"{sidecar}: missing; {_ADVICE}")
    columns = parquet_columns(sidecar, (*_COLUMNS, *_CONTENT))
    try:
        places = np.array([columns[name] for name in _COLUMNS], dtype=np.int64).reshape(4, -1)
        answered = np.array(columns["n_answered"], dtype=np.int64)
        languages = tuple(tuple(map(str, codes or ())) for codes in columns["languages"])
    except (TypeError, ValueError) as error:
        raise DataError(f"{sidecar}: damaged; {_ADVICE}") from error
    size_bytes, photo_offset, document_offset, document_bytes = places
    if len(size_bytes) != count:
        raise DataError(f"{path}: has {len(size_bytes)} samples and should have {count}; {_ADVICE}")
    try:
        found = os.stat(path).st_size
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); {_ADVICE}") from error
    expected = _tar_size(int(document_offset[-1] + document_bytes[-1])) if count else found
    if found != expected:
        raise DataError(f"{path}: has {found:,} bytes and should have {expected:,}; {_ADVICE}")
    return ShardIndex(
        path,
        np.stack([photo_offset, size_bytes, document_offset, document_bytes], axis=1),
        languages,
        answered,
        tuple(columns["label"]),
        parquet_digest(sidecar) or "",
    )


def _tar_size(content_end: int) -> int:
    """How large a tar is whose last member's content ends there: two empty blocks, then whole records."""
    blocks = -(-content_end // tarfile.BLOCKSIZE) + 2
    return -(-blocks * tarfile.BLOCKSIZE // tarfile.RECORDSIZE) * tarfile.RECORDSIZE


def parsed(document: bytes, where: str) -> dict[str, Any]:
    """A sample's JSON. Raises DataError."""
    try:
        found = json.loads(document)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: damaged; {_ADVICE}") from error
    if not isinstance(found, dict) or "key" not in found:
        raise DataError(f"{where}: damaged; {_ADVICE}")
    return found


def sample_of(fields: dict[str, Any], photo: FileSlice, where: str) -> Sample[FileSlice]:
    """The sample that a shard's JSON describes. Raises DataError."""
    try:
        questions: Sequence[dict[str, Any]] = fields["questions"]
        return Sample(
            str(fields["key"]),
            photo,
            tuple((str(one["text"]), str(one["language"])) for one in fields["captions"]),
            tuple(
                AskedQuestion(
                    str(one["question"]),
                    tuple(map(str, one["answers"])),
                    one["question_id"],
                    one["majority"],
                    one.get("kind"),
                    one.get("word"),
                )
                for one in questions
            ),
            fields["label"],
            fields["split"],
        )
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{where}: damaged; {_ADVICE}") from error
