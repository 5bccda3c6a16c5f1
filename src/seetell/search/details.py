"""What a photo's file says about itself: its hash, its size, and what the camera wrote into it (EXIF)."""

from __future__ import annotations

import hashlib
import math
import os
import re
import stat
import time
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from seetell.core.ahead import made_ahead
from seetell.media.formats import HEADER_BYTES, Format, sniff
from seetell.media.images import MAX_FILE_BYTES

# Tags of the EXIF 2.3 standard.
_MAKE, _MODEL, _CHANGED = 0x010F, 0x0110, 0x0132
_EXIF, _GPS = 0x8769, 0x8825
_TAKEN, _DIGITIZED = 0x9003, 0x9004
_LATITUDE_REF, _LATITUDE, _LONGITUDE_REF, _LONGITUDE = 1, 2, 3, 4

_SETTLED_NS = 2_000_000_000
# Files read ahead, to know their hashes, while photos are embedded.
_AHEAD = 32
_READERS = 2

_TIME = re.compile(r"(\d{4}):(\d\d):(\d\d) (\d\d):(\d\d):(\d\d)")


@dataclass(frozen=True, slots=True)
class Stamp:
    """What tells whether a file has changed without reading it."""

    size_bytes: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Details:
    """taken: ``2025-06-01 14:03:59``, by the clock of the camera or scanner, else when the file was last
    edited. camera: maker and model. latitude, longitude: in degrees, north and east positive. width, height:
    in pixels, as stored. None: not said, or nonsense."""

    taken: str | None = None
    camera: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    width: int | None = None
    height: int | None = None


@dataclass(frozen=True, slots=True)
class FileRead:
    """A file as it was when read. sha256: None where it is none to read (missing, a pipe, no permission, of
    no format that is read). settled: it was not written so shortly before that it may be written again
    without its stamp telling."""

    path: str
    stamp: Stamp | None
    sha256: str | None = None
    details: Details = Details()
    settled: bool = False


def stamp_of(path: str) -> Stamp | None:
    """None where there is no regular file."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return Stamp(found.st_size, found.st_mtime_ns) if stat.S_ISREG(found.st_mode) else None


def read_file(path: str) -> FileRead:
    """Read ``path`` once, and only its first bytes where they are no image's. Never raises: what cannot be
    read has no hash, and decoding it says why."""
    stamp = stamp_of(path)
    if stamp is None:
        return FileRead(path, stamp)
    settled = time.time_ns() - stamp.mtime_ns > _SETTLED_NS
    unread = FileRead(path, stamp, settled=settled)
    if stamp.size_bytes > MAX_FILE_BYTES:
        return unread
    try:
        with open(path, "rb") as file:
            data = file.read(HEADER_BYTES)
            if not isinstance(sniff(data), Format):
                return unread
            data += file.read(MAX_FILE_BYTES + 1 - len(data))
    except OSError:
        return unread
    return FileRead(path, stamp, hashlib.sha256(data).hexdigest(), details_of(data), settled)


def read_ahead(paths: Iterable[str]) -> Generator[FileRead]:
    """Read files in order, the next ones while the last is used. The bytes are let go at once."""
    return made_ahead(read_file, paths, ahead=_AHEAD, threads=_READERS, name="seetell-hash")


def details_of(data: bytes) -> Details:
    """What the file says; all None where it says nothing or is damaged."""
    found = sniff(data[:HEADER_BYTES])
    if not isinstance(found, Format):
        return Details()
    # As in media.images: readers of hostile bytes raise anything, and a photo without details is still one.
    try:
        picture = found.open(data)
        width, height = picture.size
        tags: Any = picture.getexif()
        exif, place = tags.get_ifd(_EXIF), tags.get_ifd(_GPS)
    except Exception:
        return Details()
    latitude = _degrees(place.get(_LATITUDE), place.get(_LATITUDE_REF), "S", 90)
    longitude = _degrees(place.get(_LONGITUDE), place.get(_LONGITUDE_REF), "W", 180)
    if not latitude and not longitude:
        latitude = longitude = None  # what devices write that do not know where they are
    return Details(
        taken=_time(exif.get(_TAKEN)) or _time(exif.get(_DIGITIZED)) or _time(tags.get(_CHANGED)),
        camera=_camera(tags.get(_MAKE), tags.get(_MODEL)),
        latitude=latitude,
        longitude=longitude,
        width=int(width),
        height=int(height),
    )


def _time(value: Any) -> str | None:
    found = _TIME.match(_text(value))
    if found is None:
        return None
    year, month, day, hour, minute, second = map(int, found.groups())
    try:
        return str(datetime(year, month, day, hour, minute, second))
    except ValueError:
        return None  # cameras without a clock write zeros or blanks


def _camera(make: Any, model: Any) -> str | None:
    maker, name = _text(make), _text(model)
    # "Canon" and "Canon EOS R5" are one camera, "Canon EOS R5".
    if maker and name.lower().startswith(maker.split()[0].lower()):
        return name
    return f"{maker} {name}".strip() or None


def _degrees(value: Any, hemisphere: Any, negative: str, most: int) -> float | None:
    try:
        degrees, minutes, seconds = (float(part) for part in value)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    found = degrees + minutes / 60 + seconds / 3600
    if not math.isfinite(found) or not 0 <= found <= most:
        return None
    return -found if _text(hemisphere).upper() == negative else found


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if not isinstance(value, str):
        return ""
    # Padded with NULs and blanks by many cameras.
    return "".join(character for character in value if character.isprintable()).strip()
