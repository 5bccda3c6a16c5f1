"""Safe decoding: any photo a user may point at becomes ``uint8[H, W, 3]``, or one line that says why not.

What is undone here: EXIF orientation, palettes, transparency (shown on white), colour profiles, CMYK, 16 bits
per channel, animation (first frame), a thumbnail before the photo. What is refused before memory is spent:
pipes and devices, huge files, and headers that promise more than ``max_pixels``. A file that was cut off is
an error, never a half-grey photo.

Files are decoded from memory, by the readers named in :mod:`seetell.media.formats` and no others, JPEG at a
fraction of the size where that is enough (:mod:`seetell.media.jpeg`). All functions are thread-safe.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from seetell.core import settings
from seetell.core.errors import ImageError
from seetell.core.lines import printable
from seetell.media import tiff
from seetell.media.decoded import DecodedPhoto
from seetell.media.formats import HEADER_BYTES, RAW_ADVICE, Format, ico_size, looks_cut, sniff
from seetell.media.jpeg import decode_jpeg
from seetell.media.listing import list_photos
from seetell.media.pixels import from_pillow
from seetell.media.refusals import refuse_large, truncated

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
        max_pixels: refuse photos of which more would be decoded; by default ``SEETELL_MAX_PIXELS``.
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
        refuse_large(photo.size, limit, name)
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
    raise ImageError("unsupported", f"{name}: {found.name}, {found.advice}")


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
            refuse_large(ico_size(data), limit, name)
        picture = found.open(data)
    except ImageError:
        raise
    except Exception as error:
        raise _unreadable(error, name, found, data) from error
    try:
        if found.name == "JPEG":
            decoded = decode_jpeg(data, picture, name, wanted, limit)
        else:
            refuse_large(picture.size, limit, name)
            if found.name == "TIFF":
                _refuse_odd_tiff(picture, found, data, name)
                decoded = DecodedPhoto.whole(from_pillow(tiff.dim_colours(data, picture) or picture))
            else:
                decoded = DecodedPhoto.whole(from_pillow(picture))
        # A switch that makes Pillow fill what is missing with grey; other code may have set it.
        if ImageFile.LOAD_TRUNCATED_IMAGES and looks_cut(found, data):
            raise truncated(name)
    except ImageError:
        raise
    except Exception as error:
        raise _unreadable(error, name, found, data) from error
    return decoded


def _refuse_odd_tiff(picture: ImageFile.ImageFile, found: Format, data: bytes, name: str) -> None:
    if looks_cut(found, data) or tiff.strips_missing(picture, len(data)):
        raise truncated(name)
    raw = tiff.raw_kind(picture)
    if raw is not None:
        raise ImageError("unsupported", f"{name}: {raw}, {RAW_ADVICE}")


# --- refusals -------------------------------------------------------------------------------------------


_CUT_WORDS = re.compile(r"truncat|premature|unexpected end|end of file|not enough image data", re.IGNORECASE)


def _unreadable(error: Exception, name: str, found: Format | None, data: bytes) -> ImageError:
    """The ImageError for an exception out of a reader."""
    if isinstance(error, MemoryError):
        return ImageError("too_large", f"{name}: not enough memory to decode it")
    if isinstance(error, Image.DecompressionBombError):
        return ImageError("too_large", f"{name}: holds more pixels than Pillow allows")
    if isinstance(error, EOFError) or _CUT_WORDS.search(str(error)):
        return truncated(name)
    if found is not None and looks_cut(found, data):
        return truncated(name)
    if isinstance(error, ImportError) and found is not None:
        return ImageError("unsupported", f"{name}: this Pillow cannot read {found.name}; convert it to JPEG")
    what = "image" if found is None else f"{found.name} image"
    if isinstance(error, ValueError) and "conversion from" in str(error):
        return ImageError("unsupported", f"{name}: {what} of an unsupported colour mode ({error})")
    return ImageError("unreadable", f"{name}: damaged {what} ({_short(error)})")


def _short(error: Exception) -> str:
    text = printable(" ".join(str(error).split())) or type(error).__name__
    return text if len(text) <= 120 else text[:117] + "..."
