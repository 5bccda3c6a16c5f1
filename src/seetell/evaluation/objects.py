"""Photos and the objects on them: COCO instances JSON, or lines of JSON as POPE is built from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seetell.core.errors import DataError
from seetell.data.documents import entries, id_field, photo_in, read_document, text_field


@dataclass(frozen=True, slots=True)
class ObjectRecord:
    """A photo and the names of the objects on it, each once, in the file's order."""

    photo: Path
    objects: tuple[str, ...]


def read_objects(path: Path, images: Path) -> list[ObjectRecord]:
    """Read objects of photos in the folder ``images``, in the file's order; photos without any are kept.

    COCO instances: ``images`` [{id, file_name}], ``categories`` [{id, name}] and ``annotations`` [{image_id,
    category_id}]. Lines: ``{"image": FILE, "objects": [NAME, ...]}``. Photo files are not opened. Raises
    DataError naming the file and the entry that breaks the format.
    """
    lines = json_lines(path)
    if lines is None:
        return _read_coco(path, images)
    found = []
    for number, entry in lines:
        where = f"{path}: line {number}"
        photo = photo_in(images, text_field(entry, "image", where), where)
        names = entry.get("objects")
        if not isinstance(names, list) or not all(isinstance(name, str) and name.strip() for name in names):
            raise DataError(f"{where}: 'objects' is no list of names")
        found.append(ObjectRecord(photo, tuple(dict.fromkeys(name.strip() for name in names))))
    return found


def json_lines(path: Path) -> list[tuple[int, dict[str, Any]]] | None:
    """The JSON objects of a file of lines, with the lines' numbers; None for a file that is one document.

    Raises DataError naming the line that is no object.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8") from error
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    if not lines:
        raise DataError(f"{path}: nothing in it")
    first = _object(lines[0][1])
    if first is None or (len(lines) == 1 and "images" in first):
        return None
    found = []
    for number, line in lines:
        entry = _object(line)
        if entry is None:
            raise DataError(f"{path}: line {number}: no JSON object")
        found.append((number, entry))
    return found


def _object(line: str) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _read_coco(path: Path, images: Path) -> list[ObjectRecord]:
    document = read_document(path)
    photos: dict[int | str, Path] = {}
    names: dict[int | str, str] = {}
    objects: dict[int | str, dict[str, None]] = {}
    for place, entry in enumerate(entries(document, "images", path)):
        photo_id = id_field(entry, "id", f"{path}: images[{place}]")
        where = f"{path}: image {photo_id}"
        if photo_id in photos:
            raise DataError(f"{where}: the id occurs twice")
        photos[photo_id] = photo_in(images, text_field(entry, "file_name", where), where)
        objects[photo_id] = {}
    for place, entry in enumerate(entries(document, "categories", path)):
        where = f"{path}: categories[{place}]"
        names[id_field(entry, "id", where)] = text_field(entry, "name", where).strip()
    for place, entry in enumerate(entries(document, "annotations", path)):
        where = f"{path}: annotation {entry.get('id', f'number {place}')}"
        photo_id, category = id_field(entry, "image_id", where), id_field(entry, "category_id", where)
        if photo_id not in photos:
            raise DataError(f"{where}: no image has the id {photo_id}")
        if category not in names:
            raise DataError(f"{where}: no category has the id {category}")
        objects[photo_id][names[category]] = None
    return [ObjectRecord(photos[photo_id], tuple(found)) for photo_id, found in objects.items()]
