"""VQAv2 JSON: a questions file, and an annotations file with the answers.

https://visualqa.org/download.html. Two forms of naming photos are read: an ``image`` file name beside
``image_id``, and VQAv2's own, where ``image_id`` 42 is COCO's ``..._000000000042.jpg``. ``word`` on an
annotation, what its question asks about, is ours.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from seetell.core.errors import DataError
from seetell.core.files import atomic_write_text
from seetell.data.documents import entries, id_field, photo_in, read_document, same_id, text_field
from seetell.data.photo_refs import PhotoRef, ref_name
from seetell.data.records import BrokenRecord, QuestionRecord

_COCO_NAME = re.compile(r"^(?:.*_)?0*(\d+)\.(?:jpe?g|png)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Answers:
    """One entry of an annotations file, or what stands for it where there is none."""

    texts: tuple[str, ...] = ()
    majority: str | None = None
    kind: str | None = None
    word: str | None = None


_NONE_GIVEN = _Answers()


def read_vqa(questions: Path, annotations: Path | None, images: Path) -> list[QuestionRecord]:
    """Read questions about photos in the folder ``images``, in the file's order.

    Without ``annotations`` every record has no answers. Photo files are not opened. Raises DataError
    naming the file and the question that breaks the format.
    """
    records: list[QuestionRecord] = []
    for item in question_items(questions, annotations, lambda _: images):
        if isinstance(item, BrokenRecord):
            raise DataError(item.message)
        records.append(item)
    return records


def question_items(
    questions: Path, annotations: Path | None, images: Callable[[list[dict[str, Any]]], Path]
) -> Iterator[QuestionRecord | BrokenRecord]:
    """The questions of a file, in its order. ``images``: the folder of their photos, given its entries.

    A question that cannot be used is a BrokenRecord, and the others go on. Raises DataError for a file that
    is no such document.
    """
    listed = entries(read_document(questions), "questions", questions)
    answers: dict[str, _Answers | BrokenRecord] | None = None
    if annotations is not None:
        answers = _read_answers(annotations)
    folder = images(listed)
    names = lru_cache(1)(partial(numbered_photos, folder))
    seen: set[str] = set()
    for place, entry in enumerate(listed):
        where = f"{questions}: questions[{place}]"
        try:
            question_id = id_field(entry, "question_id", where)
            where = f"{questions}: question {question_id}"
            same = same_id(question_id)
            if same in seen:
                raise DataError(f"{where}: the id occurs twice")
            seen.add(same)
            photo_id = id_field(entry, "image_id", where)
            if "image" in entry:
                photo = photo_in(folder, text_field(entry, "image", where), where)
            else:
                photo = _photo_by_id(photo_id, names, folder, where)
            if answers is not None and same not in answers:
                raise DataError(f"{where}: {annotations} has no answer to it")
            given = _NONE_GIVEN if answers is None else answers[same]
            if isinstance(given, BrokenRecord):
                yield given
                continue
            text = text_field(entry, "question", where).strip()
        except DataError as error:
            yield BrokenRecord(where, str(error))
            continue
        yield QuestionRecord(
            photo, text, given.texts, question_id, photo_id, given.majority, given.kind, given.word
        )


def _read_answers(path: Path) -> dict[str, _Answers | BrokenRecord]:
    """By the id of the question. Raises DataError for one that answers no question by its id."""
    found: dict[str, _Answers | BrokenRecord] = {}
    for place, entry in enumerate(entries(read_document(path), "annotations", path)):
        question_id = id_field(entry, "question_id", f"{path}: annotations[{place}]")
        where = f"{path}: answer to question {question_id}"
        same = same_id(question_id)
        try:
            if same in found:
                raise DataError(f"{where}: occurs twice")
            majority = _optional_text(entry, "multiple_choice_answer", where)
            given = _answer_texts(entry, where) if "answers" in entry else ()
            if not given and majority is None:
                raise DataError(f"{where}: holds neither 'answers' nor 'multiple_choice_answer'")
            kind, word = (_optional_text(entry, field, where) for field in ("question_type", "word"))
        except DataError as error:
            found[same] = BrokenRecord(where, str(error))
            continue
        found[same] = _Answers(given or (str(majority),), majority, kind, word)
    return found


def _optional_text(entry: dict[str, Any], field: str, where: str) -> str | None:
    return text_field(entry, field, where) if field in entry else None


def _answer_texts(entry: Mapping[str, Any], where: str) -> tuple[str, ...]:
    listed = entry["answers"]
    if not isinstance(listed, list) or not all(isinstance(item, dict) for item in listed):
        raise DataError(f"{where}: 'answers' is not a list of objects")
    return tuple(text_field(item, "answer", where).strip() for item in listed)


def numbered_photos(images: Path) -> dict[int, str]:
    """File names of ``images`` by the number they end in. Raises DataError."""
    try:
        names = sorted(path.name for path in images.iterdir())
    except OSError as error:
        raise DataError(f"{images}: image folder cannot be listed ({error.strerror or error})") from error
    found: dict[int, str] = {}
    for name in names:
        match = _COCO_NAME.match(name)
        if match:
            found.setdefault(int(match.group(1)), name)
    return found


def photo_number(photo_id: Any) -> int | None:
    """The number that an ``image_id`` is; None where it is none."""
    return int(photo_id) if str(photo_id).isdecimal() else None


def _photo_by_id(
    photo_id: int | str, names: Callable[[], Mapping[int, str]], images: Path, where: str
) -> Path:
    number = photo_number(photo_id)
    if number is None:
        raise DataError(f"{where}: image_id {photo_id!r} is no number; give the file name as 'image'")
    # A photo that is not there gets the name COCO would give it, and is reported when it is opened.
    return images / names().get(number, f"{number:012d}.jpg")


def write_vqa(
    records: Sequence[QuestionRecord[PhotoRef]], questions: Path, annotations: Path, images: Path
) -> None:
    """Write records as a pair of VQAv2 files. Photos are named relative to the folder ``images``.

    Raises DataError for a photo outside ``images``, StorageError when the disk refuses.
    """
    asked: list[dict[str, Any]] = []
    answered: list[dict[str, Any]] = []
    for record in records:
        if not (isinstance(record.photo, Path) and record.photo.is_relative_to(images)):
            raise DataError(f"{ref_name(record.photo)}: lies outside the image folder {images}")
        name = record.photo.relative_to(images).as_posix()
        ids = {"question_id": record.question_id, "image_id": record.photo_id}
        asked.append({**ids, "image": name, "question": record.question})
        if record.answers:
            majority = record.majority if record.majority is not None else record.answers[0]
            answers = [{"answer": text} for text in record.answers]
            named = {"question_type": record.kind, "word": record.word}
            said = {field: text for field, text in named.items() if text is not None}
            answered.append({**ids, "answers": answers, "multiple_choice_answer": majority, **said})
    atomic_write_text(questions, json.dumps({"questions": asked}, ensure_ascii=False))
    atomic_write_text(annotations, json.dumps({"annotations": answered}, ensure_ascii=False))
