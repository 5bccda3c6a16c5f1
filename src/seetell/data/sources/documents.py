"""COCO captions JSON and VQAv2 JSON as samples: one per photo."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from seetell.core.errors import DataError
from seetell.data.documents import entries, id_field, read_document, same_id, text_field
from seetell.data.photo_refs import PhotoRef
from seetell.data.records import AskedQuestion, Sample
from seetell.data.sources.fields import BrokenRecord, Item, photo_in, relative_key, split_in
from seetell.data.sources.photo_folders import FIRST_NAMES, PhotoFolders
from seetell.data.vqa import numbered_photos, photo_number, read_vqa


def read_coco(path: Path, folders: PhotoFolders) -> Iterator[Item]:
    """The photos of a COCO captions file. Unlike ``seetell.data.coco`` it goes on over broken entries, and
    gives photos without captions and captions that are empty, which the checks then count.

    Raises DataError for a file that is no such document.
    """
    document = read_document(path)
    split = split_in(path.name)
    listed = entries(document, "images", path)
    names = [name for entry in listed[:FIRST_NAMES] if isinstance(name := entry.get("file_name"), str)]
    images = folders.holding(names)
    photos: dict[str, Path] = {}
    captions: dict[str, list[tuple[str, str]]] = {}
    broken: list[BrokenRecord] = []
    for place, entry in enumerate(listed):
        where = f"{path}: images[{place}]"
        try:
            photo_id = same_id(id_field(entry, "id", where))
            if photo_id in photos:
                raise DataError(f"{where}: the id {photo_id} occurs twice")
            photos[photo_id] = photo_in(images, text_field(entry, "file_name", where), where)
            captions[photo_id] = []
        except DataError as error:
            broken.append(BrokenRecord(where, str(error)))
    for place, entry in enumerate(entries(document, "annotations", path)):
        where = f"{path}: annotations[{place}]"
        try:
            photo_id = same_id(id_field(entry, "image_id", where))
            if photo_id not in photos:
                raise DataError(f"{where}: no image has the id {photo_id}")
            captions[photo_id].append(_caption(entry, where))
        except DataError as error:
            broken.append(BrokenRecord(where, str(error)))
    yield from broken
    for photo_id, photo in photos.items():
        yield Sample(relative_key(photo, images), photo, tuple(captions[photo_id]), split=split)


def _caption(entry: dict[str, Any], where: str) -> tuple[str, str]:
    caption, language = entry.get("caption"), entry.get("language", "")
    if not isinstance(caption, str):
        raise DataError(f"{where}: 'caption' is no text ({caption!r:.80})")
    return caption, language if isinstance(language, str) else ""


def read_vqa_samples(questions: Path, annotations: Path | None, folders: PhotoFolders) -> Iterator[Item]:
    """The photos of a VQAv2 questions file, each with all its questions. Raises DataError."""
    split = split_in(questions.name)
    images = _vqa_folder(questions, folders)
    found: dict[Path, list[AskedQuestion]] = {}
    for record in read_vqa(questions, annotations, images):
        asked = AskedQuestion(record.question, record.answers, record.question_id, record.majority)
        found.setdefault(record.photo, []).append(asked)
    for photo, listed in found.items():
        ref: PhotoRef = photo
        yield Sample(relative_key(photo, images), ref, questions=tuple(listed), split=split)


def _vqa_folder(questions: Path, folders: PhotoFolders) -> Path:
    first = entries(read_document(questions), "questions", questions)[:FIRST_NAMES]
    names = [name for entry in first if isinstance(name := entry.get("image"), str)]
    if names:
        return folders.holding(names)
    # Photos that are named by number: whatever the folder calls the photo of that number.
    numbers = [number for entry in first if (number := photo_number(entry.get("image_id"))) is not None]

    def count(folder: Path) -> int:
        with suppress(DataError):
            there = numbered_photos(folder)
            return sum(number in there for number in numbers)
        return 0

    return folders.best(count, [f"{number:012d}.jpg" for number in numbers])
