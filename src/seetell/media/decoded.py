"""A decoded photo, and what part of the photo its pixels are."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# (left, top, right, bottom), in pixels.
Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class DecodedPhoto:
    """A photo decoded in full or at reduced scale.

    pixels: uint8[h, w, 3]. size: (height, width) of the whole photo, upright.
    box: (left, top, right, bottom), the part of ``pixels`` that is the photo; None for all of it. At reduced
    scale the last row and column stand for fewer pixels than the others where an edge is no multiple of the
    scale; taken for whole ones they would shift everything else.
    """

    pixels: NDArray[np.uint8]
    size: tuple[int, int]
    box: Box | None = None

    @classmethod
    def whole(cls, pixels: NDArray[np.uint8]) -> DecodedPhoto:
        """Decoded in full."""
        return cls(pixels, (pixels.shape[0], pixels.shape[1]))

    @classmethod
    def reduced(cls, pixels: NDArray[np.uint8], stored: tuple[int, int], turn: int) -> DecodedPhoto:
        """What upright ``pixels`` are of a JPEG of ``stored`` (height, width), before it was turned.

        libjpeg reduces to so many eighths and rounds edges up: one whose last block is cut off has it whole.
        """
        found = pixels.shape[:2] if turn < 5 else pixels.shape[1::-1]
        size = stored if turn < 5 else stored[::-1]
        if found == stored:
            return cls(pixels, size)
        for eighths in range(1, 8):
            bottom, right = (edge * eighths / 8 for edge in stored)
            if (math.ceil(bottom), math.ceil(right)) == found:
                return cls(pixels, size, _upright_box(right, bottom, *found, turn))
        return cls.whole(pixels)


def _upright_box(right: float, bottom: float, height: int, width: int, turn: int) -> Box:
    """Where the part of stored pixels from 0, 0 to ``right``, ``bottom`` lies once they are upright.

    height, width: of the stored pixels.
    """
    beyond_x, beyond_y = width - right, height - bottom
    if turn >= 5:
        height, width, beyond_x, beyond_y = width, height, beyond_y, beyond_x
    left = beyond_x if turn in (2, 3, 6, 7) else 0.0
    top = beyond_y if turn in (3, 4, 7, 8) else 0.0
    return left, top, left + width - beyond_x, top + height - beyond_y
