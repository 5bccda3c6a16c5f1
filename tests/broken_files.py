"""A folder of good and broken photos, for every test that must survive them."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image


@dataclass(frozen=True)
class BrokenFolder:
    """What :func:`make_broken_folder` made. ``kinds`` maps the name of each broken file to the ``kind`` of
    the ImageError it must give. ``paths`` holds the good and the broken, mixed, as a user would pass them."""

    folder: Path
    good: tuple[str, ...]
    kinds: dict[str, str]

    @property
    def paths(self) -> tuple[Path, ...]:
        return tuple(self.folder / name for name in sorted([*self.good, *self.kinds]))


def photo_pixels(seed: int, height: int = 60, width: int = 80) -> np.ndarray:
    """uint8[H, W, 3] with the smooth and the sharp parts of a photo."""
    random = np.random.default_rng(seed)
    small = Image.fromarray(random.integers(0, 256, (7, 9, 3), dtype=np.uint8))
    pixels = np.array(small.resize((width, height), Image.Resampling.BICUBIC))
    top, left = random.integers(0, (height + 1) // 2), random.integers(0, (width + 1) // 2)
    pixels[top : top + height // 3, left : left + width // 3] = random.integers(0, 256, 3)
    return pixels


def encoded(pixels: np.ndarray, kind: str, **options: object) -> bytes:
    """``pixels`` as the bytes of an image file; ``kind`` is Pillow's name of the format."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that promises ``width`` x ``height`` RGB pixels and holds a few."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(100))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def jpeg_header(width: int, height: int) -> bytes:
    """A real JPEG whose header is changed to promise ``width`` x ``height`` pixels."""
    data = bytearray(encoded(photo_pixels(0), "JPEG"))
    place = data.index(b"\xff\xc0") + 5
    data[place : place + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def gif_header(width: int, height: int) -> bytes:
    """A GIF whose screen and first frame are ``width`` x ``height`` (at most 65,535)."""
    data = bytearray(encoded(photo_pixels(0), "GIF"))
    size = struct.pack("<HH", width, height)
    data[6:10] = size
    place = data.index(b",\x00\x00\x00\x00", 13) + 5
    data[place : place + 4] = size
    return bytes(data)


def make_broken_folder(folder: Path, good: int = 20) -> BrokenFolder:
    """Make ``folder`` with ``good`` good photos and 20 broken ones.

    Missing files have a name in ``kinds`` and ``paths`` but are not there. For a user who may read everything
    (root) the file without permission is replaced by one more truncated file, so that there are always 20.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for index in range(good):
        suffix, kind = (("jpg", "JPEG"), ("png", "PNG"))[index % 2]
        name = f"good-{index:02}.{suffix}"
        (folder / name).write_bytes(encoded(photo_pixels(index), kind))
        names.append(name)
    jpeg, png = encoded(photo_pixels(1), "JPEG"), encoded(photo_pixels(2), "PNG")
    contents: dict[str, tuple[str, bytes]] = {
        "bad-empty.jpg": ("empty", b""),
        "bad-empty.png": ("empty", b""),
        "bad-cut-half.jpg": ("truncated", jpeg[: len(jpeg) // 2]),
        "bad-cut-header.jpg": ("truncated", jpeg[:30]),
        "bad-cut-half.png": ("truncated", png[: len(png) // 2]),
        "bad-cut.gif": ("truncated", encoded(photo_pixels(3), "GIF")[:900]),
        "bad-cut.webp": ("truncated", encoded(photo_pixels(4), "WEBP")[:300]),
        "bad-cut.tif": ("truncated", encoded(photo_pixels(5), "TIFF", compression="tiff_lzw")[:2000]),
        "bad-cut.bmp": ("truncated", encoded(photo_pixels(6), "BMP")[:5000]),
        "bad-text.jpg": ("not_an_image", b"Dear photo album, this is a letter.\n" * 5),
        "bad-zeros.png": ("not_an_image", bytes(4096)),
        "bad-bomb.png": ("too_large", png_header(50_000, 50_000)),
        "bad-bomb.jpg": ("too_large", jpeg_header(50_000, 50_000)),
        "bad-bomb.gif": ("too_large", gif_header(50_000, 50_000)),
        "bad-paper.jpg": ("unsupported", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n"),
        "bad-chunk.png": ("unreadable", _damaged_png(png)),
    }
    kinds = {}
    for name, (kind, data) in contents.items():
        (folder / name).write_bytes(data)
        kinds[name] = kind
    for name, (kind, make) in _without_content(jpeg).items():
        make(folder / name)
        kinds[name] = kind
    return BrokenFolder(folder, tuple(names), kinds)


def _without_content(jpeg: bytes) -> dict[str, tuple[str, Callable[[Path], object]]]:
    """The broken entries that are not a matter of a file's bytes."""

    def locked(path: Path) -> None:
        path.write_bytes(jpeg)
        path.chmod(0)

    def cut(path: Path) -> None:
        path.write_bytes(jpeg[: len(jpeg) * 3 // 4])

    entries: dict[str, tuple[str, Callable[[Path], object]]] = {
        "bad-folder.jpg": ("directory", lambda path: path.mkdir(exist_ok=True)),
        "bad-link.jpg": ("missing", lambda path: path.symlink_to("nowhere.jpg")),
        "bad-pipe.jpg": ("unsupported", lambda path: os.mkfifo(path)),
    }
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    entries["bad-locked.jpg"] = ("truncated", cut) if root else ("permission", locked)
    return entries


def _damaged_png(png: bytes) -> bytes:
    """A PNG with a flipped bit in its header, which its checksum tells."""
    data = bytearray(png)
    data[17] ^= 1
    return bytes(data)
