"""PNG as Pillow reads it, past its limits on what stands beside the pixels.

Pillow calls a sound file damaged whose texts or colour profile are over a megabyte. Its limits are settings
of the whole process, which are not ours to change, so what is over them is left out before Pillow sees it.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from io import BytesIO

from PIL import ImageFile

MAGIC = b"\x89PNG\r\n\x1a\n"

# Texts are not needed but for an orientation in XMP, which is small. Of one chunk, and of all together.
_TEXT_BYTES = 1024 * 1024
# The largest profiles, tables of printers and scanners, have a few megabytes.
_PROFILE_BYTES = 32 * 1024 * 1024
_TEXTS = frozenset({b"tEXt", b"zTXt", b"iTXt"})


def open_png(data: bytes) -> ImageFile.ImageFile:
    """Read the header. Raises whatever Pillow's reader does."""
    from PIL.PngImagePlugin import PngImageFile

    taken_out: list[tuple[int, int]] = []
    profile, texts = b"", 0
    for kind, start, end in _chunks(data):
        if kind == b"iCCP":
            # All of them: Pillow refuses a file for a profile in an unknown packing, too.
            profile = profile or _profile(data[start:end])
            taken_out.append((start, end))
        elif kind in _TEXTS:
            size = _text_bytes(kind, data[start:end])
            if texts + size > _TEXT_BYTES:
                taken_out.append((start, end))
            else:
                texts += size
    picture = PngImageFile(BytesIO(_without(data, taken_out)))
    if profile:
        picture.info["icc_profile"] = profile
    return picture


def is_cut(data: bytes) -> bool:
    """Whether the file ends before its last chunk."""
    return all(kind != b"IEND" for kind, _, _ in _chunks(data))


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """(type, start, end) of every whole chunk, its length and checksum included."""
    start = len(MAGIC)
    while start + 12 <= len(data):
        end = start + 12 + int.from_bytes(data[start : start + 4], "big")
        kind = data[start + 4 : start + 8]
        if end > len(data):
            return
        yield kind, start, end
        if kind == b"IEND":
            return
        start = end


def _without(data: bytes, places: list[tuple[int, int]]) -> bytes:
    if not places:
        return data
    kept, last = [], 0
    for start, end in places:
        kept.append(data[last:start])
        last = end
    return b"".join([*kept, data[last:]])


def _profile(chunk: bytes) -> bytes:
    """The profile in an iCCP chunk; empty for a broken one."""
    _, _, packed = chunk[8:-4].partition(b"\0")
    unpacked = _unpacked(packed[1:], _PROFILE_BYTES) if packed[:1] == b"\0" else None
    return unpacked or b""


def _text_bytes(kind: bytes, chunk: bytes) -> int:
    """How large a text becomes; more than is allowed for one that has no end or cannot be unpacked."""
    _, _, text = chunk[8:-4].partition(b"\0")
    if kind == b"iTXt" and text[:1] not in (b"", b"\0"):
        packing, text = text[1:2], text[2:].split(b"\0", 2)[-1]
    elif kind == b"zTXt":
        packing, text = text[:1], text[1:]
    else:
        return len(text)
    unpacked = _unpacked(text, _TEXT_BYTES) if packing == b"\0" else None
    return _TEXT_BYTES + 1 if unpacked is None else len(unpacked)


def _unpacked(packed: bytes, most: int) -> bytes | None:
    """None for what is broken, or larger than ``most`` bytes."""
    unpacker = zlib.decompressobj()
    try:
        found = unpacker.decompress(packed, most)
    except zlib.error:
        return None
    return None if unpacker.unconsumed_tail else found
