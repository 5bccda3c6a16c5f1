"""A folder of photos with their texts beside them: ``photo.jpg`` with ``photo.txt``, ``photo.en.txt``,
``photo.caption`` or ``photo.json``."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from seetell.core.errors import DataError
from seetell.data.photo_refs import check_no_pointer
from seetell.data.records import BrokenRecord, Item, Sample
from seetell.data.sources.fields import SPLIT_NAMES, Columns, Said, relative_key, said
from seetell.media.listing import Skipped, has_photo_ending, list_photos

# Nothing anybody wrote about one photo is larger.
MAX_TEXT_BYTES = 1 << 20
TEXT_ENDINGS = ("caption", "text", "txt")
# A walk comes back to a folder after those in it.
_FOLDERS_KEPT = 16

_LANGUAGE = re.compile(r"[a-z]{2}(?:[-_][a-z]{2,4})?", re.IGNORECASE)


def read_beside(root: Path, columns: Columns, skipped: Skipped | None = None) -> Iterator[Item]:
    """The photos in ``root`` and below, in sorted order, each line of its ``.txt`` a caption; of its
    ``.en.txt`` one in English.

    A ``.json`` holds an object with the fields of a table's row. The split is the name of the first folder
    below ``root`` where that is a split's (``train``, ``val``). A photo without a text has none. skipped:
    takes up what the walk leaves out.
    """
    listed = lru_cache(_FOLDERS_KEPT)(_texts_in)
    for photo in list_photos([root], skipped):
        key = relative_key(photo, root)
        first = key.partition("/")[0].lower()
        split = first if first in SPLIT_NAMES and "/" in key else None
        try:
            names = listed(photo.parent).get(photo.stem, ())
            content = _together_beside(photo.parent, photo.stem, names, columns)
        except DataError as error:
            yield BrokenRecord(str(photo), str(error))
            continue
        yield Sample(key, photo, content.captions, content.questions, content.label, content.split or split)


def any_text_beside(photos: Iterable[Path]) -> bool:
    """Whether a text lies beside any of ``photos``."""
    listed = lru_cache(_FOLDERS_KEPT)(_texts_in)
    return any(photo.stem in listed(photo.parent) for photo in photos)


def _together_beside(folder: Path, stem: str, names: Iterable[str], columns: Columns) -> Said:
    written: list[tuple[str, str]] = []
    listed: list[Said] = []
    for name in sorted(names):
        text = read_text(folder / name)
        if name.lower().endswith(".json"):
            listed.append(said_in_json(text, columns, str(folder / name)))
        else:
            language = language_in(name[len(stem) :])
            written += [(line, language) for line in text.splitlines() if line.strip()] or [("", language)]
    return together(written, listed)


def _texts_in(folder: Path) -> dict[str, list[str]]:
    """The names of the texts in a folder, by the name less its ending of the photo they belong to."""
    try:
        names = [entry.name for entry in os.scandir(folder) if entry.is_file()]
    except OSError:
        return {}
    photos = {os.path.splitext(name)[0] for name in names if has_photo_ending(name)}
    found: dict[str, list[str]] = {}
    for name in names:
        stem, ending = os.path.splitext(name)
        if ending.lower() == ".json" or ending.lower()[1:] in TEXT_ENDINGS:
            short, _, word = stem.rpartition(".")
            if stem not in photos and _LANGUAGE.fullmatch(word):
                stem = short
            found.setdefault(stem, []).append(name)
    return found


def language_in(ending: str) -> str:
    """The language in ``.en.txt``; nothing where there is none."""
    word = ending.strip(".").rpartition(".")[0]
    return word.lower() if _LANGUAGE.fullmatch(word) else ""


def together(written: Iterable[tuple[str, str]], listed: Sequence[Said]) -> Said:
    """The texts about one photo and what its JSON says."""
    captions = tuple(pair for one in listed for pair in one.captions)
    # Most writers repeat the text in the JSON, ours among them; there it may be one of several.
    repeated = {text.strip() for text, _ in captions}
    return Said(
        (*(pair for pair in written if pair[0].strip() not in repeated), *captions),
        tuple(question for one in listed for question in one.questions),
        next((one.label for one in listed if one.label), None),
        next((one.split for one in listed if one.split), None),
    )


def said_in_json(text: str, columns: Columns, where: str) -> Said:
    """What a JSON document about one photo says. Raises DataError."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not JSON") from error
    if isinstance(document, str | list):
        document = {"captions": document}
    if not isinstance(document, dict):
        raise DataError(f"{where}: expected an object, found {type(document).__name__}")
    return said(document, columns, where=where)


def read_text(path: Path) -> str:
    """A small text file. Raises DataError."""
    check_no_pointer(path)
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_TEXT_BYTES + 1)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    if len(data) > MAX_TEXT_BYTES:
        raise DataError(f"{path}: over {MAX_TEXT_BYTES:,} bytes, which is no caption")
    return decoded_text(data, str(path))


def decoded_text(data: bytes, where: str) -> str:
    """UTF-8, with or without a byte order mark. Raises DataError."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: not UTF-8 text") from error
