"""VQAv2 JSON: a questions file, and an annotations file with the answers.

https://visualqa.org/download.html. Two forms of naming photos are read: an ``image`` file name beside
``image_id``, and VQAv2's own, where ``image_id`` 42 is COCO's ``..._000000000042.jpg``. ``word`` on an
annotation, what its question asks about, is ours.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seetell.core.errors import DataError
from seetell.core.files import atomic_write_text
from seetell.data.documents import entries, id_field, photo_path, read_document, same_id, text_field
from seetell.data.records import QuestionRecord

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
    answers = {} if annotations is None else _read_answers(annotations)
    names: Mapping[int, str] | None = None
    records: list[QuestionRecord] = []
    seen: set[str] = set()
    for place, entry in enumerate(entries(read_document(questions), "questions", questions)):
        question_id = id_field(entry, "question_id", f"{questions}: questions[{place}]")
        where = f"{questions}: question {question_id}"
        same = same_id(question_id)
        if same in seen:
            raise DataError(f"{where}: the id occurs twice")
        seen.add(same)
        photo_id = id_field(entry, "image_id", where)
        if "image" in entry:
            photo = photo_path(images, text_field(entry, "image", where), where)
        else:
            names = numbered_photos(images) if names is None else names
            photo = _photo_by_id(photo_id, names, images, where)
        if annotations is not None and same not in answers:
            raise DataError(f"{where}: {annotations} has no answer to it")
        given = answers.get(same, _NONE_GIVEN)
        text = text_field(entry, "question", where).strip()
        records.append(
            QuestionRecord(
                photo, text, given.texts, question_id, photo_id, given.majority, given.kind, given.word
            )
        )
    return records


def _read_answers(path: Path) -> dict[str, _Answers]:
    found: dict[str, _Answers] = {}
    for place, entry in enumerate(entries(read_document(path), "annotations", path)):
        question_id = id_field(entry, "question_id", f"{path}: annotations[{place}]")
        where = f"{path}: answer to question {question_id}"
        same = same_id(question_id)
        if same in found:
            raise DataError(f"{where}: occurs twice")
        majority = _optional_text(entry, "multiple_choice_answer", where)
        given = _answer_texts(entry, where) if "answers" in entry else ()
        if not given and majority is None:
            raise DataError(f"{where}: holds neither 'answers' nor 'multiple_choice_answer'")
        kind, word = (_optional_text(entry, field, where) for field in ("question_type", "word"))
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


def _photo_by_id(photo_id: int | str, names: Mapping[int, str], images: Path, where: str) -> Path:
    number = photo_number(photo_id)
    if number is None:
        raise DataError(f"{where}: image_id {photo_id!r} is no number; give the file name as 'image'")
    # A photo that is not there gets the name COCO would give it, and is reported when it is opened.
    return images / names.get(number, f"{number:012d}.jpg")


def write_vqa(records: Sequence[QuestionRecord], questions: Path, annotations: Path, images: Path) -> None:
    """Write records as a pair of VQAv2 files. Photos are named relative to the folder ``images``.

    Raises DataError for a photo outside ``images``, StorageError when the disk refuses.
    """
    asked: list[dict[str, Any]] = []
    answered: list[dict[str, Any]] = []
    for record in records:
        try:
            name = record.photo.relative_to(images).as_posix()
        except ValueError as error:
            raise DataError(f"{record.photo}: lies outside the image folder {images}") from error
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
