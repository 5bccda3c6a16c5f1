"""From a photo as given to a row of the image encoder's batch, and rows to a batch."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seetell.media.images import Photo, decode_photo
from seetell.media.preprocess import ImageSpec, preprocess
from seetell.tasks.policy import Policy, Request


@dataclass(frozen=True, slots=True)
class ReadPhoto:
    """A photo ready to run. pixels: float32[3, H, W]; mask: bool[H, W], True = photo, or None.
    question: what is asked about it, empty for verbs that ask nothing. place: among the call's photos."""

    request: Request
    question: str
    pixels: NDArray[np.float32]
    mask: NDArray[np.bool_] | None
    place: int

    @property
    def given(self) -> Any:
        """Equal for what was given twice in a batch: one path, or one object."""
        photo = self.request.photo
        return os.fspath(photo) if isinstance(photo, str | os.PathLike) else id(photo)


def identities(photos: Sequence[ReadPhoto]) -> list[Any]:
    """Of each photo of a batch, equal for those that are one photo, which is then encoded once. A file given
    twice may have changed between, as a camera's latest does; what was read of it tells."""
    times = Counter(photo.given for photo in photos)
    return [
        photo.given if times[photo.given] == 1 else (photo.given, photo.pixels.tobytes()) for photo in photos
    ]


def read_photo(
    request: Request,
    question: str,
    photo: Photo,
    place: int,
    spec: ImageSpec,
    *,
    exact: bool,
    policy: Policy | None,
) -> ReadPhoto:
    """Decode, show to the policy, preprocess. Raises ImageError, and what the policy raises."""
    decoded = decode_photo(photo, min_size=spec.min_source_size, exact=exact)
    if policy is not None:
        policy.enter(request, decoded.pixels)
    # One by one, in the reading threads: a full-size photo is let go as soon as it is read.
    pixels, mask = preprocess([decoded], spec)
    return ReadPhoto(request, question, pixels[0], None if mask is None else mask[0], place)


def batch_of(photos: Sequence[ReadPhoto]) -> dict[str, NDArray[Any]]:
    """``pixel_values`` float32[B, 3, H, W] and, where the spec pads, ``pixel_mask`` bool[B, H, W]; photos
    smaller than the largest are padded with 0 on the right and below."""
    height = max(photo.pixels.shape[1] for photo in photos)
    width = max(photo.pixels.shape[2] for photo in photos)
    pixels = np.zeros((len(photos), 3, height, width), np.float32)
    mask = np.zeros((len(photos), height, width), np.bool_)
    for row, photo in enumerate(photos):
        rows, columns = photo.pixels.shape[1:]
        pixels[row, :, :rows, :columns] = photo.pixels
        mask[row, :rows, :columns] = True if photo.mask is None else photo.mask
    if all(photo.mask is None for photo in photos):
        return {"pixel_values": pixels}
    return {"pixel_values": pixels, "pixel_mask": mask}
