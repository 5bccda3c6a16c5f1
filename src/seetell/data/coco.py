"""COCO captions JSON: ``images`` [{id, file_name}] and ``annotations`` [{image_id, caption, language?}].

https://cocodataset.org/#format-data. ``language`` on an annotation is ours; English where absent.
"""

from __future__ import annotations

from pathlib import Path

from seetell.core.errors import DataError
from seetell.data.documents import entries, id_field, photo_path, read_document, same_id, text_field
from seetell.data.records import CaptionRecord, PhotoId

DEFAULT_LANGUAGE = "en"


def read_coco_captions(path: Path, images: Path) -> list[CaptionRecord]:
    """Read a captions file whose photos lie in the folder ``images``.

    Photos come in the file's order; a photo without captions is left out. Photo files are not
    opened. Raises DataError naming the file and the entry that breaks the format.
    """
    document = read_document(path)
    photos: dict[str, tuple[PhotoId, Path]] = {}
    captions: dict[str, list[tuple[str, str]]] = {}
    for place, entry in enumerate(entries(document, "images", path)):
        photo_id = id_field(entry, "id", f"{path}: images[{place}]")
        where = f"{path}: image {photo_id}"
        same = same_id(photo_id)
        if same in photos:
            raise DataError(f"{where}: the id occurs twice")
        photos[same] = photo_id, photo_path(images, text_field(entry, "file_name", where), where)
        captions[same] = []
    for place, entry in enumerate(entries(document, "annotations", path)):
        where = f"{path}: annotation {entry.get('id', f'number {place}')}"
        same = same_id(id_field(entry, "image_id", where))
        if same not in photos:
            raise DataError(f"{where}: no image has the id {same}")
        language = text_field(entry, "language", where) if "language" in entry else DEFAULT_LANGUAGE
        captions[same].append((text_field(entry, "caption", where).strip(), language))
    return [
        CaptionRecord(photos[same][1], tuple(texts), photos[same][0])
        for same, texts in captions.items()
        if texts
    ]
