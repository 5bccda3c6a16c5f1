"""Colours as the photo means them: from the profile it carries to sRGB, which models are taught on.

Pure red of a phone whose screen shows more colours than sRGB (Display P3) is another number than sRGB's, and
without its profile a photo looks pale. A broken profile is ignored, as viewers do.
"""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# What a profile calls its colours, and Pillow's mode of them.
_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}
# A profile that moves no colour further than this is sRGB itself, of which there are several editions.
_SAME = 2


def to_srgb(picture: Image.Image) -> Image.Image:
    """A loaded picture without transparency, of 8 bits a sample, as RGB."""
    profile = picture.info.get("icc_profile")
    if isinstance(profile, bytes):
        found = _conversion(profile)
        if found is not None:
            mode, transform = found
            if mode == "RGB" and picture.mode in ("1", "L", "P"):
                picture = picture.convert("RGB")
            elif mode == "L" and picture.mode == "1":
                picture = picture.convert("L")
            if picture.mode == mode:
                return _applied(transform, picture)
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def pixels_to_srgb(pixels: NDArray[np.uint8], picture: Image.Image) -> NDArray[np.uint8]:
    """The same for pixels, uint8[H, W, 3], decoded from the file of which ``picture`` is the header."""
    profile = picture.info.get("icc_profile")
    found = _conversion(profile) if isinstance(profile, bytes) else None
    if found is None:
        return pixels
    mode, transform = found
    if mode == "RGB":
        return np.array(_applied(transform, Image.fromarray(pixels)))
    if mode == "L" and picture.mode == "L":
        return np.array(_applied(transform, Image.fromarray(np.ascontiguousarray(pixels[..., 0]))))
    return pixels


def _applied(transform: Any, picture: Image.Image) -> Image.Image:
    converted: Image.Image = transform.apply(picture)
    return converted


# Photos of one camera have one profile. The largest are of some megabytes.
@lru_cache(maxsize=8)
def _conversion(profile: bytes) -> tuple[str, Any] | None:
    """(mode it takes, transform) of a profile; None where there is nothing to convert."""
    from PIL import ImageCms

    # Little CMS reads hostile bytes here, and what it says of a broken profile is of no use to anyone.
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        mode = _MODES[source.profile.xcolor_space.strip()]
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
        return None if _changes_nothing(mode, transform) else (mode, transform)
    except Exception:
        return None


def _changes_nothing(mode: str, transform: Any) -> bool:
    if mode == "CMYK":
        return False
    steps = np.linspace(0, 255, 6).astype(np.uint8)
    colours = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(1, -1, 3)
    picture = Image.fromarray(colours if mode == "RGB" else colours[..., 0])
    expected = np.asarray(picture.convert("RGB")).astype(int)
    return bool(np.abs(np.asarray(_applied(transform, picture)) - expected).max() <= _SAME)
