"""Image file formats by their first bytes: which Pillow reader opens them, and whether a file was cut off.

Only the readers listed here are ever run on a file. Pillow's own detection would try some forty more on
hostile bytes, Ghostscript among them.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Literal, cast

from PIL import ImageFile

HEADER_BYTES = 64

# Suffixes taken for photos when a folder is listed; a file named explicitly is tried whatever its name.
PHOTO_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".pjpeg", ".pjp", ".mpo", ".png", ".apng", ".gif", ".webp"}
    | {".tif", ".tiff", ".bmp", ".dib", ".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".jpx"}
    | {".avif", ".ico", ".qoi"}
    # Not everywhere decoded, but these are what phones and cameras write: better a line that says so than
    # silence.
    | {".heic", ".heif", ".hif", ".jxl", ".dng"}
)
# Pictures that are not read, and so many of them that a line for each would bury the others: counted.
UNREAD_SUFFIXES = frozenset(
    {".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".erf", ".fff", ".gpr", ".iiq", ".kdc", ".mef", ".mos"}
    | {".mrw", ".nef", ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw"}
    | {".x3f", ".psd", ".psb", ".xcf", ".exr", ".tga", ".jxr", ".wdp"}
)


@dataclass(frozen=True, slots=True)
class Format:
    """A format that can be read: its name and where Pillow's reader of it lives."""

    name: str
    module: str
    reader: str

    def open(self, data: bytes) -> ImageFile.ImageFile:
        """Read the header. The reader is called directly, past ``Image.open``, which would warn or
        raise by a size limit of its own that other code of the process may have changed."""
        reader: Callable[[BytesIO], object] = getattr(importlib.import_module(self.module), self.reader)
        return cast(ImageFile.ImageFile, reader(BytesIO(data)))


_JPEG = Format("JPEG", "PIL.JpegImagePlugin", "JpegImageFile")
_PNG = Format("PNG", "PIL.PngImagePlugin", "PngImageFile")
_GIF = Format("GIF", "PIL.GifImagePlugin", "GifImageFile")
_WEBP = Format("WebP", "PIL.WebPImagePlugin", "WebPImageFile")
_TIFF = Format("TIFF", "PIL.TiffImagePlugin", "TiffImageFile")
_BMP = Format("BMP", "PIL.BmpImagePlugin", "BmpImageFile")
_PNM = Format("PNM", "PIL.PpmImagePlugin", "PpmImageFile")
_ICO = Format("ICO", "PIL.IcoImagePlugin", "IcoImageFile")
_QOI = Format("QOI", "PIL.QoiImagePlugin", "QoiImageFile")
_JPEG2000 = Format("JPEG 2000", "PIL.Jpeg2KImagePlugin", "Jpeg2KImageFile")
_AVIF = Format("AVIF", "PIL.AvifImagePlugin", "AvifImageFile")

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_PNM_DIGITS = (b"1", b"2", b"3", b"4", b"5", b"6")

_BY_PREFIX: tuple[tuple[bytes, Format], ...] = (
    (b"\xff\xd8\xff", _JPEG),
    (_PNG_MAGIC, _PNG),
    (b"GIF87a", _GIF),
    (b"GIF89a", _GIF),
    (b"II*\x00", _TIFF),
    (b"MM\x00*", _TIFF),
    (b"II+\x00", _TIFF),
    (b"MM\x00+", _TIFF),
    (b"BM", _BMP),
    (b"\x00\x00\x01\x00", _ICO),
    (b"qoif", _QOI),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", _JPEG2000),
    (b"\xff\x4f\xff\x51", _JPEG2000),
)

# Recognised so that the error can name them; never opened.
_UNSUPPORTED_PREFIX: tuple[tuple[bytes, str], ...] = (
    (b"%PDF", "a PDF"),
    (b"%!PS", "PostScript"),
    (b"8BPS", "a Photoshop document"),
    (b"<svg", "an SVG drawing"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (b"\x1aE\xdf\xa3", "a video"),
)


def sniff(head: bytes) -> Format | str | None:
    """What the first ``HEADER_BYTES`` of a file are: a readable Format, the name of a known kind that is
    not read, or None."""
    for prefix, found in _BY_PREFIX:
        if head.startswith(prefix):
            return found
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return _WEBP
    if head[:1] == b"P" and head[1:2] in _PNM_DIGITS and head[2:3].isspace():
        return _PNM
    if head[4:8] == b"ftyp":
        if head[8:12] in (b"avif", b"avis"):
            return _AVIF
        heic = head[8:12] in (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
        return "HEIC" if heic else "a video"
    for prefix, name in _UNSUPPORTED_PREFIX:
        if head.startswith(prefix):
            return name
    return None


def looks_cut(found: Format, data: bytes) -> bool:
    """Whether the file ends before its own structure says it should. Asked only after decoding failed, to
    tell "cut off" from "damaged", so a wrong answer costs a word in a message."""
    check = _CUT_CHECKS.get(found.name)
    return check is not None and check(data)


def _jpeg_cut(data: bytes) -> bool:
    """The data ends before the first scan. Within a scan libjpeg itself says so."""
    position = 2
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            return False
        marker = data[position + 1]
        if marker == 0xDA:
            return False
        if marker == 0xFF:
            position += 1
            continue
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return True


def _png_cut(data: bytes) -> bool:
    position = 8
    while position + 12 <= len(data):
        if data[position + 4 : position + 8] == b"IEND":
            return False
        position += 12 + int.from_bytes(data[position : position + 4], "big")
    return True


def _tiff_cut(data: bytes) -> bool:
    """The directory, which usually stands last, does not fit into the file."""
    order: Literal["little", "big"] = "little" if data[:1] == b"I" else "big"
    if data[2:4] in (b"+\x00", b"\x00+"):  # BigTIFF
        start, count_bytes, entry_bytes = int.from_bytes(data[8:16], order), 8, 20
    else:
        start, count_bytes, entry_bytes = int.from_bytes(data[4:8], order), 2, 12
    entries = int.from_bytes(data[start : start + count_bytes], order)
    return start + count_bytes + entries * entry_bytes > len(data) or start + count_bytes > len(data)


def _ico_cut(data: bytes) -> bool:
    for entry in range(int.from_bytes(data[4:6], "little")):
        place = data[6 + 16 * entry : 22 + 16 * entry]
        end = int.from_bytes(place[8:12], "little") + int.from_bytes(place[12:16], "little")
        if len(place) < 16 or end > len(data):
            return True
    return False


def _boxes_cut(data: bytes) -> bool:
    """ISO base media (AVIF): the last top-level box runs past the end of the file."""
    position = 0
    while position + 8 <= len(data):
        size = int.from_bytes(data[position : position + 4], "big")
        if size < 8:  # to the end of the file, or a 64-bit size no photo needs
            return False
        position += size
    return position != len(data)


def ico_size(data: bytes) -> tuple[int, int]:
    """(width, height) of the picture that Pillow's reader of ICO decodes as it opens: the first of those the
    directory says are the largest. What the picture itself says counts, and is read as the reader does.

    Raises whatever Pillow's readers do.
    """
    from PIL import BmpImagePlugin, IcoImagePlugin, PngImagePlugin

    place = IcoImagePlugin.IcoFile(BytesIO(data)).entry[0].offset
    stream = BytesIO(data)
    stream.seek(place)
    if data[place : place + len(_PNG_MAGIC)] == _PNG_MAGIC:
        return PngImagePlugin.PngImageFile(stream).size
    width, height = BmpImagePlugin.DibImageFile(stream).size
    # Twice as high as it is seen, for the mask below it; that is not decoded with it.
    return width, height // 2


def tiff_strips_missing(picture: ImageFile.ImageFile, size_bytes: int) -> bool:
    """Whether a compressed TIFF names pixel data beyond the end of its ``size_bytes``.

    Asked before decoding, because libtiff prints its own complaints to the terminal.
    """
    tags = getattr(picture, "tag_v2", {})
    if tags.get(259, 1) == 1:  # uncompressed: read by Pillow itself, which notices quietly
        return False
    offsets, counts = tags.get(273, tags.get(324, ())), tags.get(279, tags.get(325, ()))
    if not (isinstance(offsets, tuple) and isinstance(counts, tuple)):
        return False
    numbers = (offset + count for offset, count in zip(offsets, counts, strict=False))
    return any(end > size_bytes for end in numbers)


_CUT_CHECKS: dict[str, Callable[[bytes], bool]] = {
    "JPEG": _jpeg_cut,
    "PNG": _png_cut,
    "TIFF": _tiff_cut,
    "ICO": _ico_cut,
    "AVIF": _boxes_cut,
    "JPEG 2000": lambda data: not data.rstrip(b"\x00").endswith(b"\xff\xd9"),
    "GIF": lambda data: not data.rstrip(b"\x00").endswith(b";"),
    "WebP": lambda data: len(data) < 12 or int.from_bytes(data[4:8], "little") + 8 > len(data),
    "BMP": lambda data: len(data) < 26 or int.from_bytes(data[2:6], "little") > len(data),
}
