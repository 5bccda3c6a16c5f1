"""Image file formats by their first bytes: which Pillow reader opens them, and whether a file was cut off.

Only the readers listed here are ever run on a file. Pillow's own detection would try some forty more on
hostile bytes, Ghostscript among them.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from io import BytesIO
from typing import cast

from PIL import ImageFile

from seetell.media import png, tiff

HEADER_BYTES = 64

# Suffixes taken for photos when a folder is listed; a file named explicitly is tried whatever its name.
PHOTO_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".pjpeg", ".pjp", ".mpo", ".png", ".apng", ".gif", ".webp"}
    | {".tif", ".tiff", ".bmp", ".dib", ".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".jpx"}
    | {".avif", ".ico", ".qoi"}
    | {".jpf", ".jpc", ".j2c", ".jps", ".insp", ".avifs", ".heic", ".heif", ".hif", ".heics", ".heifs"}
    # Not decoded, but these are what phones write: better a line that says so than silence.
    | {".jxl", ".dng"}
)
# Pictures that are not read, and so many of them that a line for each would bury the others: counted.
UNREAD_SUFFIXES = frozenset(
    {".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".erf", ".fff", ".gpr", ".iiq", ".kdc", ".mef", ".mos"}
    | {".mrw", ".nef", ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw"}
    | {".x3f", ".bay", ".eip", ".rwz", ".cs1", ".psd", ".psb", ".xcf", ".kra", ".exr", ".hdr", ".tga"}
    | {".jxr", ".wdp", ".hdp", ".jls", ".pcx", ".pcd", ".svg"}
)
# They lie among the photos of every phone.
VIDEO_SUFFIXES = frozenset(
    {".mp4", ".mov", ".m4v", ".3gp", ".3g2", ".avi", ".mkv", ".webm", ".mts", ".m2ts", ".mpg", ".mpeg"}
    | {".wmv"}
)


@dataclass(frozen=True, slots=True)
class Format:
    """A format that can be read: its name and where Pillow's reader of it lives, or one made for Pillow.

    own: how it is opened instead, where there is more to it.
    """

    name: str
    module: str
    reader: str
    own: Callable[[bytes], ImageFile.ImageFile] | None = None

    def open(self, data: bytes) -> ImageFile.ImageFile:
        """Read the header. The reader is called directly, past ``Image.open``, which would warn or
        raise by a size limit of its own that other code of the process may have changed."""
        if self.own is not None:
            return self.own(data)
        reader: Callable[[BytesIO], object] = getattr(importlib.import_module(self.module), self.reader)
        return cast(ImageFile.ImageFile, reader(BytesIO(data)))


@dataclass(frozen=True, slots=True)
class Unread:
    """A known kind of file that is not read: what to call it, and what to do instead."""

    name: str
    advice: str = "which is not read; convert it to JPEG or PNG"


RAW_ADVICE = "which is not read; darktable, RawTherapee and Lightroom export it as JPEG"

_JPEG = Format("JPEG", "PIL.JpegImagePlugin", "JpegImageFile")
_PNG = Format("PNG", "PIL.PngImagePlugin", "PngImageFile", png.open_png)
_GIF = Format("GIF", "PIL.GifImagePlugin", "GifImageFile")
_WEBP = Format("WebP", "PIL.WebPImagePlugin", "WebPImageFile")
_TIFF = Format("TIFF", "PIL.TiffImagePlugin", "TiffImageFile", tiff.open_tiff)
_BMP = Format("BMP", "PIL.BmpImagePlugin", "BmpImageFile")
_PNM = Format("PNM", "PIL.PpmImagePlugin", "PpmImageFile")
_ICO = Format("ICO", "PIL.IcoImagePlugin", "IcoImageFile")
_QOI = Format("QOI", "PIL.QoiImagePlugin", "QoiImageFile")
_JPEG2000 = Format("JPEG 2000", "PIL.Jpeg2KImagePlugin", "Jpeg2KImageFile")
_AVIF = Format("AVIF", "PIL.AvifImagePlugin", "AvifImageFile")
# pi-heif, of the extra heic; libheif and libde265 in it are under the LGPL. The package is named and not the
# extra: a server says this to strangers, who need not learn which folder it was installed from.
_HEIC = Format("HEIC", "pi_heif", "HeifImageFile")
_HEIC_WITHOUT_READER = Unread("HEIC", "which is read where pi-heif is installed: pip install pi-heif")
_JPEG_XL = Unread("JPEG XL", "which is not read; djxl, GIMP and Krita export it as JPEG")
_CAMERA_RAW = Unread("a camera's raw file", RAW_ADVICE)

_PNM_DIGITS = (b"1", b"2", b"3", b"4", b"5", b"6")

_BY_PREFIX: tuple[tuple[bytes, Format], ...] = (
    (b"\xff\xd8\xff", _JPEG),
    (png.MAGIC, _PNG),
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
_UNREAD_PREFIX: tuple[tuple[bytes, Unread], ...] = (
    (b"%PDF", Unread("a PDF")),
    (b"%!PS", Unread("PostScript")),
    (b"8BPS", Unread("a Photoshop document")),
    (b"gimp xcf", Unread("a GIMP document")),
    (b"<svg", Unread("an SVG drawing")),
    (b"\xff\x0a", _JPEG_XL),
    (b"\x00\x00\x00\x0cJXL ", _JPEG_XL),
    (b"\x1aE\xdf\xa3", Unread("a video")),
    # Canon, Olympus, Panasonic, Fujifilm, Sigma, Minolta.
    (b"IIRO", _CAMERA_RAW),
    (b"IIRS", _CAMERA_RAW),
    (b"MMOR", _CAMERA_RAW),
    (b"IIU\x00", _CAMERA_RAW),
    (b"FUJIFILMCCD-RAW", _CAMERA_RAW),
    (b"FOVb", _CAMERA_RAW),
    (b"\x00MRM", _CAMERA_RAW),
)
# Of the ISO base media files: brands of HEVC and of AV1, and those that hold either.
_HEVC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"})
_AV1_BRANDS = frozenset({b"avif", b"avis"})
_OPEN_BRANDS = frozenset({b"mif1", b"mif2", b"msf1"})


def sniff(head: bytes) -> Format | Unread | None:
    """What the first ``HEADER_BYTES`` of a file are: a format that can be read, a known kind that is not, or
    None."""
    if head[:4] == b"II*\x00" and head[8:10] == b"CR":
        return _CAMERA_RAW  # Canon's, a TIFF whose first page is a preview
    for prefix, found in _BY_PREFIX:
        if head.startswith(prefix):
            return found
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return _WEBP
    if head[:1] == b"P" and head[1:2] in _PNM_DIGITS and head[2:3].isspace():
        return _PNM
    if head[4:8] == b"ftyp":
        return _base_media(head)
    return next((kind for prefix, kind in _UNREAD_PREFIX if head.startswith(prefix)), None)


def _base_media(head: bytes) -> Format | Unread:
    brand, end = head[8:12], min(int.from_bytes(head[:4], "big"), len(head))
    compatible = {head[place : place + 4] for place in range(16, end, 4)}
    if brand in _AV1_BRANDS or (brand in _OPEN_BRANDS and compatible & _AV1_BRANDS):
        return _AVIF
    if brand in _HEVC_BRANDS | _OPEN_BRANDS:
        return _HEIC if find_spec("pi_heif") is not None else _HEIC_WITHOUT_READER
    return _CAMERA_RAW if brand == b"crx " else Unread("a video")


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


def _ico_cut(data: bytes) -> bool:
    for entry in range(int.from_bytes(data[4:6], "little")):
        place = data[6 + 16 * entry : 22 + 16 * entry]
        end = int.from_bytes(place[8:12], "little") + int.from_bytes(place[12:16], "little")
        if len(place) < 16 or end > len(data):
            return True
    return False


def _boxes_cut(data: bytes) -> bool:
    """ISO base media (AVIF, HEIC): the last top-level box runs past the end of the file."""
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
    if data[place : place + len(png.MAGIC)] == png.MAGIC:
        return PngImagePlugin.PngImageFile(stream).size
    width, height = BmpImagePlugin.DibImageFile(stream).size
    # Twice as high as it is seen, for the mask below it; that is not decoded with it.
    return width, height // 2


_CUT_CHECKS: dict[str, Callable[[bytes], bool]] = {
    "JPEG": _jpeg_cut,
    "PNG": png.is_cut,
    "TIFF": tiff.is_cut,
    "ICO": _ico_cut,
    "AVIF": _boxes_cut,
    "HEIC": _boxes_cut,
    "JPEG 2000": lambda data: not data.rstrip(b"\x00").endswith(b"\xff\xd9"),
    "GIF": lambda data: not data.rstrip(b"\x00").endswith(b";"),
    "WebP": lambda data: len(data) < 12 or int.from_bytes(data[4:8], "little") + 8 > len(data),
    "BMP": lambda data: len(data) < 26 or int.from_bytes(data[2:6], "little") > len(data),
}
