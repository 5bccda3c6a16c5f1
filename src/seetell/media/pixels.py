"""From a Pillow image of any mode to upright uint8[H, W, 3]."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from seetell.media import tiff
from seetell.media.colour import to_srgb

_ORIENTATION_TAG = 0x0112


def from_pillow(picture: Image.Image) -> NDArray[np.uint8]:
    """Load a Pillow image and make it uint8[H, W, 3], upright."""
    picture.load()
    # After loading, because the TIFF reader turns the photo itself and then drops the tag.
    turn = orientation(picture)
    return upright(_rgb(picture), turn)


def _rgb(picture: Image.Image) -> NDArray[np.uint8]:
    if picture.mode.startswith("I;16") or picture.mode in ("I", "F"):
        profile = picture.info.get("icc_profile")
        picture = Image.fromarray(_grey_from_deep(picture))
        picture.info["icc_profile"] = profile
    transparent = picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info
    if transparent:
        # Straight alpha is what can be blended; the palette's and the key colour's come along.
        overlay = picture.convert("RGBA")
        # A profile of greys is of greys, and Pillow has none of them with transparency once they are colours.
        colours = picture.convert("L") if picture.mode in ("1", "L", "LA") else overlay.convert("RGB")
        colours.info["icc_profile"] = picture.info.get("icc_profile")
        picture = Image.new("RGB", overlay.size, (255, 255, 255))
        picture.paste(to_srgb(colours), mask=overlay.getchannel("A"))
    else:
        picture = to_srgb(picture)
    pixels: NDArray[np.uint8] = np.array(picture)
    return pixels


def _grey_from_deep(picture: Image.Image) -> NDArray[np.uint8]:
    """Grey of more than 8 bits to uint8[H, W], scaled; Pillow's own conversion clips at 255.

    Values of 0..65535 are taken as 16 bits, or as many as a TIFF says are used. For 32-bit numbers and
    fractions no file says what white is: 0..1 and 0..255 are taken as they look, anything else is stretched
    from its darkest to its brightest.
    """
    values = np.array(picture)
    if values.dtype.kind == "f":
        values = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
        low, high = float(values.min()), float(values.max())
        if low >= 0 and high <= 1:
            low, high = 0.0, 1.0
        elif low >= 0 and high <= 255:
            low, high = 0.0, 255.0
    else:
        low, high = float(values.min()), float(values.max())
        if low >= 0 and high <= 65535:
            eight_bits = picture.mode == "I" and high <= 255
            low, high = 0.0, 255.0 if eight_bits else 65535.0
    tags = getattr(picture, "tag_v2", None)
    if tags is not None and picture.mode.startswith("I;16"):
        low, high = 0.0, float(tiff.white_level(tags))
        if tiff.is_negative(tags):
            low, high = high, low
    scaled = (values.astype(np.float32) - low) * (255.0 / ((high - low) or 1e-12))
    grey: NDArray[np.uint8] = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
    return grey


def orientation(picture: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 (upright) where it is absent, damaged or nonsense."""
    try:
        value = picture.getexif().get(_ORIENTATION_TAG, 1)
        return value if isinstance(value, int) and 1 <= value <= 8 else 1
    except Exception:  # a reader of hostile bytes; damaged EXIF says nothing about the pixels
        return 1


def upright(pixels: NDArray[np.uint8], turn: int) -> NDArray[np.uint8]:
    """Undo an EXIF orientation. The table of the EXIF 2.3 standard, 4.6.4, tag 0112."""
    if turn >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if turn in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if turn in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)
