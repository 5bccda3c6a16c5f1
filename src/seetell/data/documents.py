"""Typed access to the fields of JSON data files, with errors that name the file, entry and field."""

from __future__ import annotations

import json
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import Any

from seetell.core.errors import DataError
from seetell.data.photo_refs import check_no_pointer


def read_document(path: Path) -> dict[str, Any]:
    """The JSON object in ``path``. Raises DataError naming the file, and the line where it breaks."""
    check_no_pointer(path)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    try:
        document = json.loads(raw)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}: not JSON (line {error.lineno}: {error.msg})") from error
    except (UnicodeDecodeError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else "not UTF-8"
        raise DataError(f"{path}: not JSON ({reason})") from error
    if not isinstance(document, dict):
        raise DataError(f"{path}: expected a JSON object, found {type(document).__name__}")
    return document


def entries(document: dict[str, Any], field: str, path: Path) -> list[dict[str, Any]]:
    """The list of objects under ``field``. Raises DataError."""
    found = document.get(field)
    if not isinstance(found, list):
        raise DataError(f"{path}: has no list {field!r}")
    for place, entry in enumerate(found):
        if not isinstance(entry, dict):
            raise DataError(f"{path}: {field}[{place}] is not an object but {type(entry).__name__}")
    return found


def text_field(entry: dict[str, Any], field: str, where: str) -> str:
    """A text that is there and not blank. Raises DataError; ``where`` names file and entry."""
    value = entry.get(field)
    if not isinstance(value, str) or not value.strip():
        state = "is missing" if value is None else f"is not a text ({value!r})"
        raise DataError(f"{where}: {field!r} {state}")
    return value


def id_field(entry: dict[str, Any], field: str, where: str) -> int | str:
    """An id: a whole number or a text. Raises DataError."""
    value = entry.get(field)
    # bool is an int to Python, and ``true`` as an id is a fault of the file.
    if isinstance(value, bool) or not isinstance(value, int | str):
        state = "is missing" if value is None else f"is not an id ({value!r})"
        raise DataError(f"{where}: {field!r} {state}")
    return value


def same_id(value: int | str) -> str:
    """What an id is compared by: a number in one list is often a text in the other."""
    return str(value).strip()


def photo_in(root: Path, name: str, where: str) -> Path:
    """The photo that a data file calls ``name``, inside the folder ``root``.

    An absolute name is taken if it lies in ``root``, and a backslash is Windows' slash. Raises DataError for
    one that leaves it: a data file is somebody else's text, and must not be able to make a reader open
    ``/etc/...`` or ``../../...``.
    """
    if "://" in name:
        raise DataError(f"{where}: {name[:80]!r} is an address; download the photos first")
    drive = PureWindowsPath(name).drive
    if drive:
        raise DataError(
            f"{where}: the photo {name!r} lies on the drive {drive!r} of another computer; write its path "
            f"from {root} on"
        )
    relative: PurePath = PurePosixPath(name.replace("\\", "/"))
    if relative.is_absolute():
        try:
            relative = relative.relative_to(root.absolute())
        except ValueError:
            raise DataError(
                f"{where}: the photo {name!r} lies outside {root}; name its folder with --images"
            ) from None
    if ".." in relative.parts or "\x00" in name or not relative.parts:
        raise DataError(f"{where}: the photo's name {name!r} leaves the image folder {root}")
    return root / relative
