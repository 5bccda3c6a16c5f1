"""What a photo looks like, in a few numbers: to find blank ones, and those that look alike."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

HASH_EDGE = 8
_HASH_SCALE = 4
THUMB_EDGE = 8

# The first 8 rows of the discrete cosine transform (DCT-II) of 32 values.
_INDEX = np.arange(HASH_EDGE * _HASH_SCALE)
_DCT = np.cos(np.pi * (2 * _INDEX[None, :] + 1) * np.arange(HASH_EDGE)[:, None] / (2 * _INDEX.size))


def perceptual_hash(picture: Image.Image) -> int:
    """64 bits that change little when a photo is resized, compressed or brightened: ImageHash's ``phash``.

    Which of the 8 x 8 lowest frequencies of the grey 32 x 32 picture are above their median.
    """
    edge = HASH_EDGE * _HASH_SCALE
    grey = np.asarray(picture.convert("L").resize((edge, edge), Image.Resampling.LANCZOS), dtype=np.float64)
    frequencies = _DCT @ grey @ _DCT.T
    bits = (frequencies > np.median(frequencies)).ravel()
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def colour_thumb(picture: Image.Image) -> bytes:
    """The picture as 8 x 8 x RGB bytes."""
    small = picture.resize((THUMB_EDGE, THUMB_EDGE), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.uint8).tobytes()


def contrast(picture: Image.Image) -> float:
    """Standard deviation, of 255, of the most varied colour channel; noise of single pixels averaged out."""
    small: NDArray[Any] = np.asarray(picture.resize((64, 64), Image.Resampling.BOX), dtype=np.float64)
    return float(small.std(axis=(0, 1)).max())
