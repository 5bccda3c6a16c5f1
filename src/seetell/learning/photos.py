"""Decoded training photos, kept in memory while a budget lasts."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seetell.core.errors import ImageError
from seetell.data.photo_bytes import read_photo
from seetell.data.photo_refs import PhotoRef, ref_name
from seetell.media.images import decode_image


class PhotoCache:
    """Decodes photos and remembers them up to ``budget_bytes``; beyond it photos are decoded anew.

    Nothing is ever dropped: in a random order every photo is as likely to come next as any other, so
    replacing one with another would gain nothing. Safe between threads; a photo may be decoded twice
    when two threads ask for it at once.
    """

    def __init__(self, *, min_size: int, budget_bytes: int) -> None:
        """min_size: the decoder may shrink while both sides stay well above this many pixels."""
        self._min_size = (min_size, min_size)
        self._left_bytes = budget_bytes
        self._photos: dict[PhotoRef, NDArray[np.uint8]] = {}
        self._lock = threading.Lock()

    def read(self, ref: PhotoRef) -> NDArray[np.uint8]:
        """uint8[H, W, 3]. Raises ImageError, naming the file, when it cannot be decoded."""
        found = self._photos.get(ref)
        if found is not None:
            return found
        photo = self._decoded(ref)
        with self._lock:
            if ref not in self._photos and photo.nbytes <= self._left_bytes:
                self._photos[ref] = photo
                self._left_bytes -= photo.nbytes
        return photo

    def _decoded(self, ref: PhotoRef) -> NDArray[np.uint8]:
        if isinstance(ref, Path):
            return decode_image(ref, min_size=self._min_size)
        data = read_photo(ref)
        try:
            return decode_image(data, min_size=self._min_size)
        except ImageError as error:
            # The decoder knows the bytes alone.
            reason = str(error).removeprefix("<bytes>: ")
            raise ImageError(error.kind, f"{ref_name(ref)}: {reason}") from error
