"""Reading a photo's bytes, wherever they are."""

from __future__ import annotations

from pathlib import Path

from seetell.core.errors import ImageError
from seetell.data.parquet import read_cell
from seetell.data.photo_refs import LFS_ADVICE, LFS_POINTER, FileSlice, ParquetCell, PhotoRef, ref_name
from seetell.media.images import MAX_FILE_BYTES


def read_photo(ref: PhotoRef) -> bytes:
    """The photo's bytes. Raises ImageError, whatever is in the way."""
    if isinstance(ref, ParquetCell):
        return read_cell(ref)
    if isinstance(ref, FileSlice):
        return _read(ref.path, ref.offset, ref.size_bytes, ref_name(ref))
    try:
        status = ref.stat()
    except (OSError, ValueError) as error:
        raise _missing(error, str(ref)) from error
    if ref.is_dir():
        raise ImageError("directory", f"{ref}: a folder, not a photo")
    if not ref.is_file():
        # Opening a pipe could wait for ever.
        raise ImageError("unsupported", f"{ref}: a pipe, socket or device, not a file")
    return _read(ref, 0, status.st_size, str(ref))


def _read(path: Path, offset: int, size_bytes: int, name: str) -> bytes:
    if size_bytes > MAX_FILE_BYTES:
        raise ImageError(
            "too_large", f"{name}: {size_bytes:,} bytes, more than the {MAX_FILE_BYTES:,} a photo may have"
        )
    try:
        with open(path, "rb") as file:
            file.seek(offset)
            data = file.read(size_bytes)
    except (OSError, ValueError) as error:
        raise _missing(error, name) from error
    if len(data) < size_bytes:
        raise ImageError("truncated", f"{name}: the file is cut off; copy or download it again")
    if data.startswith(LFS_POINTER):
        raise ImageError("missing", f"{name}: {LFS_ADVICE}")
    return data


def _missing(error: Exception, name: str) -> ImageError:
    if isinstance(error, FileNotFoundError | NotADirectoryError | ValueError):
        return ImageError("missing", f"{name}: no such file")
    if isinstance(error, PermissionError):
        return ImageError("permission", f"{name}: no permission to read it")
    return ImageError("unreadable", f"{name}: cannot be read ({getattr(error, 'strerror', None) or error})")
