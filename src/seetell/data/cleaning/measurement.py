"""What is measured of a photo, once; every check of photos is a function of it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from PIL import Image

from seetell.core.errors import ImageError
from seetell.data.cleaning.fingerprints import colour_thumb, contrast, perceptual_hash
from seetell.data.cleaning.limits import Limits
from seetell.data.cleaning.reasons import Reason
from seetell.media.formats import HEADER_BYTES, Format, sniff
from seetell.media.images import decode_photo

# Changed whenever a measurement means something else: kept ones are then made anew.
MEASUREMENT_VERSION = 1

# Large enough for every number that is taken; a JPEG is decoded at reduced scale down to twice this.
_LOOKED_AT = (64, 64)

_EXTENSIONS = {
    "JPEG": "jpg",
    "PNG": "png",
    "GIF": "gif",
    "WebP": "webp",
    "TIFF": "tif",
    "BMP": "bmp",
    "PNM": "ppm",
    "ICO": "ico",
    "QOI": "qoi",
    "JPEG 2000": "jp2",
    "AVIF": "avif",
    "HEIC": "heic",
}


@dataclass(frozen=True, slots=True)
class Measurement:
    """A photo in numbers. ``fault`` is (kind, message) of one that cannot be read; the rest is then empty.

    width and height are those of the upright photo, contrast of 255.
    """

    fault: tuple[str, str] | None = None
    extension: str = ""
    size_bytes: int = 0
    sha256: str = ""
    width: int = 0
    height: int = 0
    contrast: float = 0.0
    phash: int = 0
    thumb: bytes = b""

    def as_row(self) -> list[Any]:
        """Values JSON can hold; :meth:`from_row` reads them back."""
        if self.fault is not None:
            return list(self.fault)
        thumb = base64.b64encode(self.thumb).decode("ascii")
        return [
            *(self.extension, self.size_bytes, self.sha256, self.width, self.height),
            *(round(self.contrast, 3), self.phash, thumb),
        ]

    @classmethod
    def from_row(cls, row: list[Any]) -> Measurement:
        """Raises ValueError or TypeError for a row that is none."""
        if len(row) == 2:
            return cls(fault=(str(row[0]), str(row[1])))
        extension, size_bytes, sha256, width, height, spread, phash, thumb = row
        return cls(
            None,
            *(str(extension), int(size_bytes), str(sha256), int(width), int(height)),
            *(float(spread), int(phash), base64.b64decode(thumb)),
        )


def measure_photo(read: Callable[[], bytes]) -> Measurement:
    """Look at one photo. ``read`` gives its bytes; what it raises as ImageError, and bytes that are no photo,
    become the measurement's fault."""
    try:
        data = read()
        found = sniff(data[:HEADER_BYTES])
        decoded = decode_photo(data, min_size=_LOOKED_AT)
    except ImageError as error:
        return Measurement(fault=(error.kind, str(error).removeprefix("<bytes>: ")))
    height, width = decoded.size
    picture = Image.fromarray(decoded.pixels)
    return Measurement(
        None,
        _EXTENSIONS[found.name] if isinstance(found, Format) else "bin",
        len(data),
        hashlib.sha256(data).hexdigest(),
        width,
        height,
        round(contrast(picture), 3),
        perceptual_hash(picture),
        colour_thumb(picture),
    )


def unreadable(measured: Measurement, limits: Limits) -> bool:
    """Missing, damaged, or no image."""
    return measured.fault is not None


def tiny(measured: Measurement, limits: Limits) -> bool:
    """The shorter edge has fewer pixels than ``min_edge``."""
    return min(measured.width, measured.height) < limits.min_edge


def extreme_aspect(measured: Measurement, limits: Limits) -> bool:
    """The longer edge is over ``max_aspect`` times the shorter."""
    longer = max(measured.width, measured.height)
    return longer > limits.max_aspect * max(1, min(measured.width, measured.height))


def blank(measured: Measurement, limits: Limits) -> bool:
    """One colour, or nearly."""
    return measured.contrast < limits.min_contrast


# In the order in which they are asked; the first that is true is the reason.
PHOTO_CHECKS: tuple[tuple[Reason, Callable[[Measurement, Limits], bool]], ...] = (
    (Reason.UNREADABLE, unreadable),
    (Reason.TINY, tiny),
    (Reason.EXTREME_ASPECT, extreme_aspect),
    (Reason.BLANK, blank),
)


def photo_fault(measured: Measurement, limits: Limits) -> Reason | None:
    """The first reason to leave a photo out, by itself; None if there is none."""
    return next((reason for reason, fails in PHOTO_CHECKS if fails(measured, limits)), None)


def fault_detail(measured: Measurement, reason: Reason) -> str:
    """The number behind a reason, for the report."""
    if reason is Reason.UNREADABLE and measured.fault is not None:
        return f"{measured.fault[0]}: {measured.fault[1]}"
    if reason is Reason.BLANK:
        return f"contrast {measured.contrast:.1f} of 255"
    return f"{measured.width} x {measured.height} pixels"
