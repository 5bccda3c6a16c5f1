"""What a teacher said of photos and texts, written once: a folder that training reads in the teacher's place.

    teacher.json   {"format": 1, "name": ..., "logit_scale": the log of the scale of its similarities}
    photos.npy     float32[P, S], one row for each name in photos.json, as `seetell embed --out` writes them
    photos.json    the photos' paths, relative to the recipe's data_root where they lie below it
    texts.npy      float32[R, S], one row for each text in texts.json
    texts.json     the texts, letter by letter as the data have them

Rows are of the whole photo, so that they do not go together with augmentation.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seetell.core.errors import DataError
from seetell.core.files import atomic_folder
from seetell.data.photo_refs import FileSlice, PhotoRef, ref_file, ref_name
from seetell.learning.batch import TeacherInputs
from seetell.learning.teacher_inputs import SeenPhoto, Shown

FORMAT = 1
_ABOUT = "teacher.json"
_AGAIN = "write them again with `seetell train RECIPE --teacher-outputs FOLDER`"


@dataclass(frozen=True, slots=True)
class Outputs:
    """photos, texts: float32[n, S] of the names and texts beside them. logit_scale: as a log."""

    name: str
    logit_scale: float
    photo_names: Sequence[str]
    photos: NDArray[np.float32]
    texts: Sequence[str]
    text_rows: NDArray[np.float32]


def photo_name(ref: PhotoRef, data_root: Path) -> str:
    """What a photo is called in ``photos.json``: its path, below ``data_root`` without it; in a shard, the
    shard's path and the byte where the photo begins: its name there depends on who reads it."""
    file = ref_file(ref)
    path = file.relative_to(data_root).as_posix() if file.is_relative_to(data_root) else str(file)
    if isinstance(ref, FileSlice):
        return f"{path}:{ref.offset}"
    return path + ref_name(ref).removeprefix(str(file))


def write_outputs(folder: Path, outputs: Outputs) -> None:
    """Write a folder of outputs, whole or not at all; one that is there is replaced. Raises StorageError."""
    with atomic_folder(folder, overwrite=True) as writing:
        about = {"format": FORMAT, "name": outputs.name, "logit_scale": outputs.logit_scale}
        (writing / _ABOUT).write_text(json.dumps(about) + "\n", encoding="utf-8")
        for stem, names, rows in (
            ("photos", outputs.photo_names, outputs.photos),
            ("texts", outputs.texts, outputs.text_rows),
        ):
            listed = json.dumps(list(names), ensure_ascii=False, indent=0)
            (writing / f"{stem}.json").write_text(listed + "\n", encoding="utf-8")
            np.save(writing / f"{stem}.npy", rows.astype(np.float32, copy=False))


class StoredOutputs:
    """A folder of outputs, read; as a TeacherReader it looks the rows of a batch up."""

    def __init__(self, folder: Path, data_root: Path) -> None:
        """Raises DataError for a folder that is missing, damaged or of another format."""
        self.folder = folder
        self._data_root = data_root
        about = _json(folder / _ABOUT)
        if not isinstance(about, dict) or about.get("format") != FORMAT:
            raise DataError(f"{folder / _ABOUT}: a mapping with format {FORMAT} is expected; {_AGAIN}")
        scale = about.get("logit_scale")
        if isinstance(scale, bool) or not isinstance(scale, int | float):
            raise DataError(f"{folder / _ABOUT}: logit_scale, the log of a scale, is missing; {_AGAIN}")
        self.name = str(about.get("name", folder.name))
        self.logit_scale = float(scale)
        self._photos, self._photo_rows = _table(folder, "photos")
        self._texts, self._text_rows = _table(folder, "texts")
        self.shared_dim = int(self._photo_rows.shape[1])
        if self._text_rows.shape[1] != self.shared_dim:
            raise DataError(
                f"{folder}: photos are {self.shared_dim} wide and texts {self._text_rows.shape[1]}, and"
                f" should share a space; {_AGAIN}"
            )

    @property
    def digest(self) -> str:
        """Of all that training sees of the folder."""
        digest = hashlib.blake2b(f"{self.logit_scale!r}".encode(), digest_size=16)
        for names, rows in ((self._photos, self._photo_rows), (self._texts, self._text_rows)):
            digest.update(json.dumps(list(names)).encode())
            digest.update(np.ascontiguousarray(rows).data)
        return digest.hexdigest()

    def read(self, photos: Sequence[SeenPhoto], shown: Shown) -> TeacherInputs:
        """The rows of a batch. Raises DataError naming a photo or text that has none."""
        return TeacherInputs(
            image_embeds=self.image_rows(one.ref for one in photos),
            text_embeds=self.text_rows(shown.captions),
        )

    def image_rows(self, photos: Iterable[PhotoRef]) -> Tensor:
        """float32[n, S]. Raises DataError naming a photo that has none."""
        names = (photo_name(ref, self._data_root) for ref in photos)
        return self._rows(names, self._photos, self._photo_rows, "photo")

    def text_rows(self, texts: Iterable[str]) -> Tensor:
        """float32[n, S]. Raises DataError naming a text that has none."""
        return self._rows(texts, self._texts, self._text_rows, "text")

    def _rows(
        self, wanted: Iterable[str], places: dict[str, int], rows: NDArray[np.float32], what: str
    ) -> Tensor:
        try:
            found = [places[name] for name in wanted]
        except KeyError as error:
            raise DataError(
                f"{self.folder}: has nothing of the {what} {error.args[0]!r}; {_AGAIN}"
            ) from error
        return torch.from_numpy(rows[np.asarray(found, dtype=np.intp)])


def _table(folder: Path, stem: str) -> tuple[dict[str, int], NDArray[np.float32]]:
    """The place of each name, and the rows."""
    names = _json(folder / f"{stem}.json")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError(f"{folder / stem}.json: a list of texts is expected; {_AGAIN}")
    path = folder / f"{stem}.npy"
    try:
        rows: NDArray[Any] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{path}: cannot be read as an array ({reason}); {_AGAIN}") from error
    if rows.ndim != 2 or len(rows) != len(names) or not np.issubdtype(rows.dtype, np.floating):
        raise DataError(
            f"{path}: {rows.dtype}{list(rows.shape)}, and one row of numbers for each of the {len(names)}"
            f" names is expected; {_AGAIN}"
        )
    numbers = rows.astype(np.float32, copy=False)
    if not np.isfinite(numbers).all():
        raise DataError(f"{path}: holds numbers that are not finite; {_AGAIN}")
    return {name: place for place, name in enumerate(names)}, numbers


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{path}: cannot be read ({reason}); {_AGAIN}") from error
