"""Safe decoding: any photo a user may point at becomes ``uint8[H, W, 3]``, or one line that says why not.

What is undone here: EXIF orientation, palettes, transparency (shown on white), CMYK, 16 bits per channel,
animation (first frame). What is refused before memory is spent: pipes and devices, huge files, and headers
that promise more than ``max_pixels``. A file that was cut off is an error, never a half-grey photo.

Files are decoded from memory, by the readers of Pillow named in :mod:`seetell.media.formats` and no others,
JPEG by libjpeg-turbo directly, which can decode at a fraction of the size. All functions are thread-safe.
"""

from __future__ import annotations

import errno
import math
import os
import re
import stat
import warnings

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageFile

from seetell.core import settings
from seetell.core.errors import ImageError
from seetell.core.lines import printable
from seetell.media.decoded import DecodedPhoto
from seetell.media.formats import HEADER_BYTES, Format, ico_size, looks_cut, sniff, tiff_strips_missing
from seetell.media.listing import list_photos
from seetell.media.pixels import from_pillow, orientation, upright

__all__ = [
    "MAX_FILE_BYTES",
    "DecodedPhoto",
    "Photo",
    "decode_image",
    "decode_photo",
    "list_photos",
    "photo_name",
]

Photo = str | os.PathLike[str] | bytes | Image.Image | NDArray[np.uint8]

# No photo is larger; a 178-megapixel TIFF, the largest that is decoded, fits uncompressed.
MAX_FILE_BYTES = 768 * 1024 * 1024

# How much larger than its target a photo decoded at reduced scale still is, so that the resizing that
# follows has enough to filter. Just above twice, embeddings of single photos fell below a centred cosine of
# 0.999 to those of the photo decoded in full. 12-megapixel photos are reduced as far as with twice, to 1/4
# for 224 pixels and to 1/8 for 128.
_REDUCED_MARGIN = 2.75


def photo_name(photo: Photo) -> str:
    """What to call a photo in results and messages: its path, ``<bytes>`` or ``<image>``."""
    if isinstance(photo, str):
        return photo
    if isinstance(photo, os.PathLike):
        return os.fspath(photo)
    return "<bytes>" if isinstance(photo, bytes | bytearray | memoryview) else "<image>"


def decode_image(
    photo: Photo,
    *,
    min_size: tuple[int, int] | None = None,
    max_pixels: int | None = None,
    exact: bool = False,
) -> NDArray[np.uint8]:
    """As :func:`decode_photo`: its pixels, uint8[H, W, 3]."""
    return decode_photo(photo, min_size=min_size, max_pixels=max_pixels, exact=exact).pixels


def decode_photo(
    photo: Photo,
    *,
    min_size: tuple[int, int] | None = None,
    max_pixels: int | None = None,
    exact: bool = False,
) -> DecodedPhoto:
    """Decode one photo.

    Args:
        photo: a path, the bytes of an image file, a Pillow image, or uint8[H, W, 3] (returned as it is).
        min_size: (height, width) the photo will be resized to. A JPEG much larger is decoded at reduced
            scale, both edges still at least 2.75 times ``min_size``. None decodes in full.
        max_pixels: refuse headers that promise more; by default ``SEETELL_MAX_PIXELS``.
        exact: decode JPEGs in full whatever ``min_size`` says.

    Returns:
        Pixels in RGB, upright (EXIF orientation applied), transparency shown on white, and what part of the
        photo they are.

    Raises:
        ImageError: with one of the kinds listed in :mod:`seetell.core.errors`, and no other exception
            whatever the bytes are.
    """
    limit = settings.max_pixels() if max_pixels is None else max_pixels
    name = printable(photo_name(photo))
    _silence_pillow()
    if isinstance(photo, np.ndarray):
        return DecodedPhoto.whole(_checked_array(photo, name))
    if isinstance(photo, Image.Image):
        _refuse_large(photo.size, limit, name)
        try:
            return DecodedPhoto.whole(from_pillow(photo))
        except Exception as error:  # Pillow decodes a lazily opened image here; see _decode_bytes
            raise _unreadable(error, name, None, b"") from error
    if isinstance(photo, bytes | bytearray | memoryview):
        data = bytes(photo)
        found = _recognised(data[:HEADER_BYTES], name)
    elif isinstance(photo, str | os.PathLike):
        data, found = _read_file(photo, name)
    else:
        raise ImageError(
            "unsupported",
            f"a photo is a path, bytes, a Pillow image or uint8[H, W, 3], not {type(photo).__name__}",
        )
    wanted = None if exact or min_size is None else (min_size[0], min_size[1])
    return _decode_bytes(data, found, name, wanted, limit)


def _silence_pillow() -> None:
    """Keep Pillow's warnings about damaged files off the user's terminal: what matters becomes an error here.

    ``warnings.catch_warnings`` would restore a stale list under threads, so one narrow filter is put in
    front and left there; it matches only warnings issued from inside Pillow's own modules.
    """
    front = warnings.filters[0] if warnings.filters else None
    if front is None or front[:1] != ("ignore",) or front[3] != _PILLOW_MODULES:
        warnings.filterwarnings("ignore", module=_PILLOW_MODULES.pattern)


_PILLOW_MODULES = re.compile(r"PIL\.")


def _checked_array(array: NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
        hint = "; repeat a grey image over three channels" if array.ndim == 2 else ""
        raise ImageError(
            "unsupported",
            f"{name}: an array must be uint8[H, W, 3], this one is {array.dtype}{list(array.shape)}{hint}",
        )
    if array.size == 0:
        raise ImageError("empty", f"{name}: the array has no pixels (shape {list(array.shape)})")
    return array


# --- files ----------------------------------------------------------------------------------------------


def _read_file(path: str | os.PathLike[str], name: str) -> tuple[bytes, Format]:
    """The bytes of a regular file whose first bytes are those of an image."""
    try:
        # Looked at before opening: opening a device can have effects, opening a pipe can wait for ever.
        _refuse_irregular(os.stat(path), path, name)
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(file.fileno())
            _refuse_irregular(status, path, name)  # again: the name may mean another file by now
            head = file.read(HEADER_BYTES)
            if not head:
                raise ImageError("empty", f"{name}: the file is empty")
            found = _recognised(head, name)
            # One byte more than allowed, so that a file growing while it is read is noticed.
            data = head + file.read(MAX_FILE_BYTES + 1 - len(head))
    except OSError as error:
        raise _file_error(error, name) from error
    except ValueError as error:  # a NUL byte in the path
        raise ImageError("missing", f"{name}: no file can have this name") from error
    except MemoryError as error:
        raise ImageError("too_large", f"{name}: not enough memory to read the file") from error
    if len(data) > MAX_FILE_BYTES:
        raise _too_many_bytes(len(data), name)
    return data, found


def _refuse_irregular(status: os.stat_result, path: str | os.PathLike[str], name: str) -> None:
    mode = status.st_mode
    if stat.S_ISDIR(mode):
        if not os.access(path, os.R_OK | os.X_OK):
            raise ImageError("permission", f"{name}: no permission to list this folder")
        found = any(os.path.isfile(one) for one in list_photos([os.fspath(path)]))
        what = "a folder, not a photo" if found else "a folder without photos"
        raise ImageError("directory", f"{name}: {what}")
    if not stat.S_ISREG(mode):
        raise ImageError("unsupported", f"{name}: a pipe, socket or device, not a file")
    if status.st_size > MAX_FILE_BYTES:
        raise _too_many_bytes(status.st_size, name)


def _too_many_bytes(size_bytes: int, name: str) -> ImageError:
    return ImageError(
        "too_large",
        f"{name}: {size_bytes:,} bytes, more than the {MAX_FILE_BYTES:,} a photo may have",
    )


def _file_error(error: OSError, name: str) -> ImageError:
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
        hint = " (download it first: this is an address, not a path)" if "://" in name else ""
        return ImageError("missing", f"{name or 'an empty path'}: no such file{hint}")
    if error.errno in (errno.EACCES, errno.EPERM):
        return ImageError("permission", f"{name}: no permission to read it")
    if error.errno == errno.EISDIR:
        return ImageError("directory", f"{name}: a folder, not a photo")
    return ImageError("unreadable", f"{name}: cannot be read ({error.strerror or error})")


def _recognised(head: bytes, name: str) -> Format:
    if not head:
        raise ImageError("empty", f"{name}: there are no bytes")
    found = sniff(head)
    if isinstance(found, Format):
        return found
    if found is None:
        raise ImageError("not_an_image", f"{name}: not an image (its first bytes are of no image format)")
    raise ImageError("unsupported", f"{name}: {found}, which is not read; convert it to JPEG or PNG")


# --- decoding -------------------------------------------------------------------------------------------


def _decode_bytes(
    data: bytes, found: Format, name: str, wanted: tuple[int, int] | None, limit: int
) -> DecodedPhoto:
    # Pillow's readers parse hostile bytes and let through whatever goes wrong on the way: OSError,
    # ValueError, SyntaxError, struct.error, IndexError, ZeroDivisionError, ... There is no common base,
    # and an input must never end the program, so here, and only around the readers, all are caught.
    try:
        if found.name == "ICO":
            # The one reader that decodes as it opens, however large the picture is that the directory names.
            _refuse_large(ico_size(data), limit, name)
        picture = found.open(data)
    except ImageError:
        raise
    except Exception as error:
        raise _unreadable(error, name, found, data) from error
    _refuse_large(picture.size, limit, name)
    try:
        if found.name == "TIFF" and (looks_cut(found, data) or tiff_strips_missing(picture, len(data))):
            raise _truncated(name)
        if found.name == "JPEG":
            decoded = _decode_jpeg(data, picture, name, wanted, limit)
        else:
            decoded = DecodedPhoto.whole(from_pillow(picture))
        # A switch that makes Pillow fill what is missing with grey; other code may have set it.
        if ImageFile.LOAD_TRUNCATED_IMAGES and looks_cut(found, data):
            raise _truncated(name)
    except ImageError:
        raise
    except Exception as error:
        raise _unreadable(error, name, found, data) from error
    return decoded


def _decode_jpeg(
    data: bytes, picture: ImageFile.ImageFile, name: str, wanted: tuple[int, int] | None, limit: int
) -> DecodedPhoto:
    turn = orientation(picture)
    min_height = min_width = 0
    if wanted is not None:
        min_height, min_width = (math.ceil(edge * _REDUCED_MARGIN) for edge in wanted)
        if turn >= 5:  # stored lying down: its rows are the columns that will be seen
            min_height, min_width = min_width, min_height
        taller, wider = _uneven_colour(picture)
        min_height, min_width = min_height * taller, min_width * wider
    if picture.mode in ("RGB", "L"):
        try:
            height, width, _, _ = simplejpeg.decode_jpeg_header(data)
            # libjpeg's own reading of the header: a crafted file may have told Pillow another size.
            _refuse_large((int(width), int(height)), limit, name)
            # From 1/2 on down, reduced decoding is faster than full; 5/8 to 7/8 are slower.
            pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(
                data,
                colorspace="RGB",
                min_height=min_height,
                min_width=min_width,
                min_factor=2,
            )
            return DecodedPhoto.reduced(upright(pixels, turn), (int(height), int(width)), turn)
        except ValueError as error:
            if "premature end" in str(error).lower() and ImageFile.LOAD_TRUNCATED_IMAGES:
                raise _truncated(name) from error
            # It stops at the mildest irregularity (stray bytes between segments, a missing end marker),
            # which many real photos have. Pillow goes on over those, and says when pixels are missing.
    width, height = picture.size
    if wanted is not None:
        picture.draft(None, (min_width, min_height))
    return DecodedPhoto.reduced(from_pillow(picture), (height, width), turn)


def _uneven_colour(picture: ImageFile.ImageFile) -> tuple[int, int]:
    """How much more (rows, columns) than of brightness must be left after reducing, for the colour to have
    enough to filter.

    Colour that is halved both ways (4:2:0) libjpeg reduces less, so that it stays as large as the rest. Where
    it is stored at less than full size in one direction only (4:2:2, 4:4:0, 4:1:1) libjpeg cannot.
    """
    # Of each component: its identifier, columns and rows per block, quantisation table (Pillow's own record).
    layers: list[tuple[int, int, int, int]] = getattr(picture, "layer", [])
    if len(layers) < 3:
        return 1, 1
    (_, columns, rows, _), (_, colour_columns, colour_rows, _) = layers[:2]
    wider, taller = max(1, columns // max(1, colour_columns)), max(1, rows // max(1, colour_rows))
    alike = min(wider, taller)
    return taller // alike, wider // alike


# --- refusals -------------------------------------------------------------------------------------------


def _refuse_large(size: tuple[int, int], limit: int, name: str) -> None:
    """``size`` is (width, height), as Pillow has it."""
    width, height = size
    if width * height > limit:
        raise ImageError(
            "too_large",
            f"{name}: {width} x {height} pixels, more than the limit of {limit:,} (SEETELL_MAX_PIXELS)",
        )


def _truncated(name: str) -> ImageError:
    return ImageError("truncated", f"{name}: the file is cut off; copy or download it again")


_CUT_WORDS = re.compile(r"truncat|premature|unexpected end|end of file|not enough image data", re.IGNORECASE)


def _unreadable(error: Exception, name: str, found: Format | None, data: bytes) -> ImageError:
    """The ImageError for an exception out of a reader."""
    if isinstance(error, MemoryError):
        return ImageError("too_large", f"{name}: not enough memory to decode it")
    if isinstance(error, Image.DecompressionBombError):
        return ImageError("too_large", f"{name}: holds more pixels than Pillow allows")
    if isinstance(error, EOFError) or _CUT_WORDS.search(str(error)):
        return _truncated(name)
    if found is not None and looks_cut(found, data):
        return _truncated(name)
    if isinstance(error, ImportError) and found is not None:
        return ImageError("unsupported", f"{name}: this Pillow cannot read {found.name}; convert it to JPEG")
    what = "image" if found is None else f"{found.name} image"
    if isinstance(error, ValueError) and "conversion from" in str(error):
        return ImageError("unsupported", f"{name}: {what} of an unsupported colour mode ({error})")
    return ImageError("unreadable", f"{name}: damaged {what} ({_short(error)})")


def _short(error: Exception) -> str:
    text = printable(" ".join(str(error).split())) or type(error).__name__
    return text if len(text) <= 120 else text[:117] + "..."
