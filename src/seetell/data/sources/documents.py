"""COCO captions JSON and VQAv2 JSON as samples: one per photo."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from seetell.core.errors import DataError
from seetell.data.coco import coco_items
from seetell.data.records import AskedQuestion, BrokenRecord, Item, QuestionRecord, Sample
from seetell.data.sources.fields import relative_key, split_in
from seetell.data.sources.photo_folders import FIRST_NAMES, PhotoFolders
from seetell.data.vqa import numbered_photos, photo_number, question_items
from seetell.media.listing import is_passed_over


def read_coco(path: Path, folders: PhotoFolders) -> Iterator[Item]:
    """The photos of a COCO captions file, also those without captions and with captions that are empty, which
    the checks then count. Raises DataError for a file that is no such document."""
    split = split_in(path.name)
    for item in coco_items(path, folders.holding):
        yield item if isinstance(item, BrokenRecord) else replace(item, split=split)


def read_vqa_samples(questions: Path, annotations: Path | None, folders: PhotoFolders) -> Iterator[Item]:
    """The photos of a VQAv2 questions file, each with all its questions. Raises DataError for a file that is
    no such document."""
    split = split_in(questions.name)
    chosen: list[Path] = []

    def images(listed: list[dict[str, Any]]) -> Path:
        chosen.append(_vqa_folder(listed, folders))
        return chosen[0]

    asked: dict[Path, list[tuple[int, QuestionRecord]]] = {}
    for place, item in enumerate(question_items(questions, annotations, images)):
        if isinstance(item, BrokenRecord):
            yield item
        else:
            asked.setdefault(item.photo, []).append((place, item))
    for photo, records in asked.items():
        yield Sample(
            relative_key(photo, chosen[0]),
            photo,
            questions=tuple(
                AskedQuestion(
                    one.question, one.answers, one.question_id, one.majority, one.kind, one.word, place
                )
                for place, one in records
            ),
            split=split,
            photo_id=records[0][1].photo_id,
        )


def _vqa_folder(listed: list[dict[str, Any]], folders: PhotoFolders) -> Path:
    first = listed[:FIRST_NAMES]
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


def captions_files(root: Path) -> list[Path]:
    """The COCO captions files of a folder, or of ``annotations`` in it."""
    return _named_json(root, "captions")


def questions_files(root: Path) -> list[Path]:
    """Its VQAv2 questions files, likewise."""
    return [path for path in _named_json(root, "questions") if "answer" not in path.name]


def answers_of(questions: Path) -> Path | None:
    """The annotations file of a questions file, by their usual names."""
    names = {
        questions.name.replace("questions", "annotations"),
        questions.name.replace("OpenEnded_", "").replace("questions", "annotations"),
    }
    found = sorted(questions.parent / name for name in names - {questions.name})
    return next((path for path in found if path.is_file()), None)


def _named_json(root: Path, word: str) -> list[Path]:
    return sorted(
        path
        for folder in (root, root / "annotations")
        if folder.is_dir()
        for path in folder.glob("*.json")
        if word in path.name.lower() and not is_passed_over(path.name, folder=False)
    )
