"""COCO captions JSON: ``images`` [{id, file_name}] and ``annotations`` [{image_id, caption, language?}].

https://cocodataset.org/#format-data. ``language`` on an annotation is ours; English where absent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from seetell.core.errors import DataError
from seetell.data.documents import entries, id_field, photo_in, read_document, same_id, text_field
from seetell.data.records import BrokenRecord, CaptionRecord, Item, PhotoId, Sample

DEFAULT_LANGUAGE = "en"


def read_coco_captions(path: Path, images: Path) -> list[CaptionRecord]:
    """Read a captions file whose photos lie in the folder ``images``.

    Photos come in the file's order; a photo without captions is left out. Photo files are not
    opened. Raises DataError naming the file and the entry that breaks the format.
    """
    records: list[CaptionRecord] = []
    for item in coco_items(path, lambda _: images):
        if isinstance(item, BrokenRecord):
            raise DataError(item.message)
        said = tuple((text.strip(), language or DEFAULT_LANGUAGE) for text, language in item.captions)
        if not all(text for text, _ in said):
            raise DataError(f"{path}: image {item.identity}: a caption is empty")
        if said:
            assert isinstance(item.photo, Path)
            records.append(CaptionRecord(item.photo, said, item.identity))
    return records


def coco_items(path: Path, images: Callable[[Sequence[str]], Path]) -> Iterator[Item]:
    """The photos of a captions file, those without captions too. ``images``: their folder, given their names.

    An entry that cannot be used is a BrokenRecord, and the others go on. Raises DataError for a file that is
    no such document.
    """
    document = read_document(path)
    listed = entries(document, "images", path)
    annotations = entries(document, "annotations", path)
    folder = images([name for entry in listed if isinstance(name := entry.get("file_name"), str)])
    photos: dict[str, tuple[PhotoId, Path]] = {}
    captions: dict[str, list[tuple[str, str]]] = {}
    for place, entry in enumerate(listed):
        where = f"{path}: images[{place}]"
        try:
            photo_id = id_field(entry, "id", where)
            where = f"{path}: image {photo_id}"
            same = same_id(photo_id)
            if same in photos:
                raise DataError(f"{where}: the id occurs twice")
            photos[same] = photo_id, photo_in(folder, text_field(entry, "file_name", where), where)
            captions[same] = []
        except DataError as error:
            yield BrokenRecord(where, str(error))
    for place, entry in enumerate(annotations):
        where = f"{path}: annotation {entry.get('id', f'number {place}')}"
        try:
            same = same_id(id_field(entry, "image_id", where))
            if same not in photos:
                raise DataError(f"{where}: no image has the id {same}")
            captions[same].append(_caption(entry, where))
        except DataError as error:
            yield BrokenRecord(where, str(error))
    for same, (photo_id, photo) in photos.items():
        key = photo.relative_to(folder).as_posix()
        yield Sample(key, photo, tuple(captions[same]), photo_id=photo_id)


def _caption(entry: dict[str, Any], where: str) -> tuple[str, str]:
    caption = entry.get("caption")
    text = caption if isinstance(caption, str) else text_field(entry, "caption", where)
    return text, "" if entry.get("language") is None else text_field(entry, "language", where)
