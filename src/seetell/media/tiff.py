"""TIFF as photos are stored in it: which page is the photo, what white is, and what is a camera's raw file.

Tags are those of TIFF 6.0 and, from 50706 on, of DNG 1.7.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

_SUBFILE_TYPE, _OLD_SUBFILE_TYPE = 254, 255
_WIDTH = 256
_BITS, _COMPRESSION, _PHOTOMETRIC = 258, 259, 262
_STRIPS, _STRIP_BYTES, _PLANAR = 273, 279, 284
_TILES, _TILE_BYTES = 324, 325
_MAX_SAMPLE, _SUB_DIRECTORIES = 281, 330
_DNG_VERSION = 50706

# Of the subfile type: a smaller version of another page, and a mask of its transparency.
_REDUCED, _MASK = 1, 4
# The photometric interpretations of a sensor's values: its colour filters, and those already worked out.
_RAW_VALUES = frozenset({32803, 34892})
_WHITE_IS_ZERO = 0
# How Pillow calls samples of 16 bits whose bytes stand the other way round than this machine has them.
_FOREIGN = "RGB;16B" if sys.byteorder == "little" else "RGB;16L"
# A file of more pages is a document or a stack, whose thumbnails do not stand before everything else.
_LOOKED_AT = 32


def open_tiff(data: bytes) -> ImageFile.ImageFile:
    """Read the header and go to the page that is the photo: the first, unless it is a thumbnail. A raw file
    stays at its first. Raises whatever Pillow's reader does."""
    from PIL.TiffImagePlugin import TiffImageFile

    picture = TiffImageFile(BytesIO(data))
    if _is_photo(picture.tag_v2) or raw_kind(picture) is not None:
        return picture
    below = [place for place, tags in _pages_below(picture) if _WIDTH in tags and _is_photo(tags)]
    for page in range(1, _LOOKED_AT):
        try:
            picture.seek(page)
        except EOFError:
            break
        if _is_photo(picture.tag_v2):
            return picture
    picture = TiffImageFile(BytesIO(data))
    if below:
        # As Pillow's own get_child_images goes there.
        picture._frame_pos = below[:1]
        picture._seek(0)
    return picture


def _is_photo(tags: Any) -> bool:
    kind = tags.get(_SUBFILE_TYPE)
    if isinstance(kind, int):
        return not kind & (_REDUCED | _MASK)
    return bool(tags.get(_OLD_SUBFILE_TYPE) != 2)


def _pages_below(picture: ImageFile.ImageFile) -> Iterator[tuple[int, Any]]:
    """(place in the file, tags) of the directories that the page names as its own."""
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    own: Any = getattr(picture, "tag_v2", {})
    told = own.get(_SUB_DIRECTORIES, ())
    places = (told,) if isinstance(told, int) else told
    stream = picture.fp
    if stream is None or not isinstance(places, tuple):
        return
    stream.seek(0)
    header = stream.read(8)
    header += stream.read(8) if header[2:3] == b"+" or header[3:4] == b"+" else b""
    for place in places[:_LOOKED_AT]:
        if isinstance(place, int):
            tags = ImageFileDirectory_v2(header)
            # A reader of hostile bytes raises anything; what hangs below a photo must not spoil it.
            try:
                stream.seek(place)
                tags.load(stream)
            except Exception:
                continue
            yield place, tags


def raw_kind(picture: ImageFile.ImageFile) -> str | None:
    """What to call a camera's raw file, of which Pillow would show the preview; None for other TIFFs."""
    tags: Any = getattr(picture, "tag_v2", {})
    if _DNG_VERSION in tags:
        return "DNG, a camera's raw file"
    directories = [tags, *(below for _, below in _pages_below(picture))]
    return "a camera's raw file" if any(one.get(_PHOTOMETRIC) in _RAW_VALUES for one in directories) else None


def white_level(tags: Any) -> int:
    """The value of white in samples of 9 to 16 bits, the largest of as many bits as the file says are used.

    MaxSampleValue is the largest that may occur to some writers and the largest that does to others.
    """
    bits, most = _first(tags.get(_BITS)), _first(tags.get(_MAX_SAMPLE))
    depth = bits if 8 < bits <= 16 else 16
    if 0 < most < 1 << depth:
        depth = max(8, most.bit_length())
    return (1 << depth) - 1


def is_negative(tags: Any) -> bool:
    """Whether the file says that 0 is white."""
    return bool(tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO)


def _first(told: Any) -> int:
    value = told[0] if isinstance(told, tuple) and told else told
    return value if isinstance(value, int) else 0


def dim_colours(data: bytes, picture: ImageFile.ImageFile) -> Image.Image | None:
    """Colours of 16 bits of which the file says that fewer are used, scaled; None for every other TIFF.

    Pillow keeps the upper byte of each sample, which is nearly black then. The other one it gives where it is
    told that the bytes stand the other way round.
    """
    tags: Any = getattr(picture, "tag_v2", {})
    white = white_level(tags)
    if picture.mode != "RGB" or set(tags.get(_BITS, ())) != {16} or white == 65535:
        return None
    other = open_tiff(data)
    swapped = {"RGB;16L": "RGB;16B", "RGB;16B": "RGB;16L", "RGB;16N": _FOREIGN}
    tiles: list[Any] = other.tile
    if not all(tile.args[0] in swapped for tile in tiles):
        return None
    other.tile = [tile._replace(args=(swapped[tile.args[0]], *tile.args[1:])) for tile in tiles]
    upper, lower = (np.asarray(one).astype(np.uint32) for one in (picture, other))
    values: NDArray[np.uint32] = np.minimum(upper * 256 + lower, white)
    scaled = Image.fromarray(((values * 255 + white // 2) // white).astype(np.uint8))
    scaled.info.update(picture.info)
    return scaled


def is_cut(data: bytes) -> bool:
    """The directory, which usually stands last, does not fit into the file."""
    big = data[:1] != b"I"
    order: Any = "big" if big else "little"
    if data[2:4] in (b"+\x00", b"\x00+"):  # BigTIFF
        start, count_bytes, entry_bytes = int.from_bytes(data[8:16], order), 8, 20
    else:
        start, count_bytes, entry_bytes = int.from_bytes(data[4:8], order), 2, 12
    entries = int.from_bytes(data[start : start + count_bytes], order)
    return start + count_bytes + entries * entry_bytes > len(data) or start + count_bytes > len(data)


def strips_missing(picture: ImageFile.ImageFile, size_bytes: int) -> bool:
    """Whether a compressed TIFF names pixel data beyond the end of its ``size_bytes``.

    Asked before decoding, because libtiff prints its own complaints to the terminal.
    """
    tags: Any = getattr(picture, "tag_v2", {})
    if tags.get(_COMPRESSION, 1) == 1:  # uncompressed: read by Pillow itself, which notices quietly
        return False
    offsets = tags.get(_STRIPS, tags.get(_TILES, ()))
    counts = tags.get(_STRIP_BYTES, tags.get(_TILE_BYTES, ()))
    if not (isinstance(offsets, tuple) and isinstance(counts, tuple)):
        return False
    numbers = (offset + count for offset, count in zip(offsets, counts, strict=False))
    return any(end > size_bytes for end in numbers)
