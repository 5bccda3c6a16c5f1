"""Photos as a server is sent them: no larger than need be, and with nothing but their pixels."""

from __future__ import annotations

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_QUALITY = 88


def data_url(pixels: NDArray[np.uint8], longest_px: int) -> str:
    """uint8[H, W, 3] as a ``data:`` address of a JPEG whose longer edge is at most ``longest_px``.

    It is made of the pixels: where and with what a photo was taken does not go along.
    """
    image = Image.fromarray(pixels)
    image.thumbnail((longest_px, longest_px), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
