"""Maps of frozen layers, worked out once for each view of a photo and kept: training then begins above them,
be that above the whole network or above those of its stages that stay as they are.

A photo has a fixed number of views (``Augmentation.views``), the first of which is the whole photo; which of
them a row shows is drawn from the row's own random numbers. Maps are kept in half precision, in a file that
later runs with the same frozen layers read too: it grows while views are met for the first time.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from seetell.core.errors import StorageError
from seetell.data.photo_refs import PhotoRef, ref_name
from seetell.learning.augmentation import Augmentation, mirrors, random_part
from seetell.learning.sources import Row
from seetell.media.preprocess import ImageSpec, preprocess
from seetell.modeling.parts.efficientnet import LAST_STAGE

_KEY_BYTES = 16
# The end of a path that tells photos apart: a data set, a folder in it, the file.
_TELLING = 3
# Photos that go through the frozen layers together.
_TOGETHER = 32
# Half precision ends at 65,504.
_LARGEST = 65_000.0
_WHOLE = Augmentation(
    scale=(1.0, 1.0), aspect=(1.0, 1.0), flip=False, brightness=0.0, contrast=0.0, saturation=0.0
)


@dataclass(frozen=True, slots=True)
class View:
    """One view of a row's photo. key: tells it from every other of every photo."""

    key: bytes
    rule: Augmentation
    seed: tuple[int, ...]
    may_flip: bool


def view_of(row: Row, seed: int, *, may_flip: bool) -> View:
    """Which view a row shows. Raises ValueError for a row whose photo has no fixed number of them."""
    if not row.rule.views:
        raise ValueError(f"{ref_name(row.photo)} has no fixed number of views")
    number = int(row.rng.integers(row.rule.views))
    photo = int.from_bytes(hashlib.sha256(_identity(row.photo).encode()).digest()[:8], "big")
    drawn = (seed, photo, number)
    # What changes nothing must not make another view of it.
    may_flip = may_flip and number > 0 and mirrors(row.rule, np.random.default_rng(drawn))
    rule = replace(row.rule if number else _WHOLE, flip=may_flip, views=0)
    digest = hashlib.sha256(f"{drawn} {rule}".encode()).digest()
    return View(digest[:_KEY_BYTES], rule, drawn, may_flip)


@cache
def _identity(photo: PhotoRef) -> str:
    """What a photo is known by, wherever the data lie and through whatever link it was reached."""
    if isinstance(photo, Path):
        return "/".join(photo.resolve().parts[-_TELLING:])
    return ref_name(photo)


class FrozenMaps:
    """Views in, maps out: float16[C, H, W] each, and bool[h, w], the cells of the network's last map that lie
    on the photo.

    Args:
        encode: the frozen layers: float32[B, 3, height, width] -> float32[B, C, H, W].
        cells: bool[B, height, width] -> bool[B, h, w].
        image: how views are made into pixels.
        shape: (C, H, W). cell_shape: (h, w).
        folder: where the file of maps is; None keeps them in memory alone.
        stage: of the network, whose maps they are; training goes on from there.
    """

    def __init__(
        self,
        encode: Callable[[NDArray[np.float32]], NDArray[np.float32]],
        cells: Callable[[Tensor], Tensor],
        image: ImageSpec,
        shape: tuple[int, int, int],
        cell_shape: tuple[int, int],
        folder: Path | None,
        stage: int = LAST_STAGE,
    ) -> None:
        self.stage = stage
        self._encode = encode
        self._cells = cells
        self._image = image
        self._shape = shape
        self._cell_shape = cell_shape
        self._bytes = int(np.prod(shape)) * 2 + cell_shape[0] * cell_shape[1]
        self._lock = threading.Lock()
        self._places: dict[bytes, int] = {}
        self._kept: dict[bytes, bytes] = {}
        self._folder = folder
        self._stored: NDArray[np.uint8] | None = None
        if folder is not None:
            self._open(folder)

    def missing(self, views: Sequence[View]) -> list[int]:
        """Of each view whose maps are not known, the first of its places."""
        first = {view.key: place for place, view in reversed(list(enumerate(views)))}
        return sorted(place for key, place in first.items() if not self._has(key))

    def learn(self, views: Sequence[View], photos: Sequence[NDArray[np.uint8]]) -> None:
        """Work out the maps of ``views`` of ``photos`` uint8[H, W, 3], and keep them."""
        for start in range(0, len(views), _TOGETHER):
            some = views[start : start + _TOGETHER]
            parts = [
                random_part(photo, view.rule, np.random.default_rng(view.seed), may_flip=view.may_flip)
                for view, photo in zip(some, photos[start : start + _TOGETHER], strict=True)
            ]
            pixels, mask = preprocess(parts, self._image)
            whole = torch.ones((len(parts), *pixels.shape[2:]), dtype=torch.bool)
            cells = self._cells(whole if mask is None else torch.from_numpy(mask)).numpy()
            maps = self._encode(pixels).clip(-_LARGEST, _LARGEST).astype(np.float16)
            for view, one, on in zip(some, maps, cells, strict=True):
                self._keep(view.key, one.tobytes() + on.tobytes())

    def maps(self, views: Sequence[View]) -> tuple[Tensor, Tensor]:
        """float32[B, C, H, W] and bool[B, h, w] of views that are known."""
        size = int(np.prod(self._shape)) * 2
        maps = np.empty((len(views), *self._shape), np.float16)
        cells = np.empty((len(views), *self._cell_shape), np.bool_)
        for row, view in enumerate(views):
            data = self._read(view.key)
            maps[row] = np.frombuffer(data, np.float16, size // 2).reshape(self._shape)
            cells[row] = np.frombuffer(data, np.bool_, offset=size).reshape(self._cell_shape)
        return torch.from_numpy(maps.astype(np.float32)), torch.from_numpy(cells)

    def _has(self, key: bytes) -> bool:
        return key in self._places or key in self._kept

    def _read(self, key: bytes) -> bytes:
        kept = self._kept.get(key)
        if kept is not None:
            return kept
        assert self._stored is not None
        place = self._places[key] * self._bytes
        return self._stored[place : place + self._bytes].tobytes()

    def _keep(self, key: bytes, data: bytes) -> None:
        with self._lock:
            if self._has(key):
                return
            self._kept[key] = data
            if self._folder is None:
                return
            try:
                # The key last: where a run is killed in between, the map is written again.
                with self._paths(self._folder)[0].open("ab") as rows:
                    rows.write(data)
                with self._paths(self._folder)[1].open("ab") as keys:
                    keys.write(key)
            except OSError as error:
                raise StorageError(
                    f"{self._folder}: maps of frozen layers cannot be kept ({error.strerror}); make room"
                ) from error

    def _open(self, folder: Path) -> None:
        """Find what runs before have kept, and cut off what a killed one left half written."""
        folder.mkdir(parents=True, exist_ok=True)
        rows, keys = self._paths(folder)
        for path in (rows, keys):
            path.touch()
        count = min(rows.stat().st_size // self._bytes, keys.stat().st_size // _KEY_BYTES)
        for path, size in ((rows, count * self._bytes), (keys, count * _KEY_BYTES)):
            if path.stat().st_size != size:
                with path.open("r+b") as file:
                    file.truncate(size)
        if count:
            self._stored = np.memmap(rows, np.uint8, "r", shape=(count * self._bytes,))
            names = keys.read_bytes()
            self._places = {
                names[place * _KEY_BYTES : (place + 1) * _KEY_BYTES]: place for place in range(count)
            }

    @staticmethod
    def _paths(folder: Path) -> tuple[Path, Path]:
        return folder / "maps", folder / "keys"


def frozen_fingerprint(frozen: nn.Module, image: ImageSpec) -> str:
    """16 hex digits that change with the frozen weights and with how photos are made for them."""
    digest = hashlib.sha256(image.model_dump_json().encode())
    for name, tensor in sorted(frozen.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
