"""Lists that were published in forms of their own, as rows of a table: Karpathy's splits, LLaVA's
conversations, Flickr8k's and Flickr30k's token files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from seetell.core.errors import DataError
from seetell.data.records import BrokenRecord
from seetell.data.sources.fields import Row

_TOKEN_LINE = re.compile(r"(?P<photo>[^\t]+)#\d+\t(?P<text>.*)")
# Where the photo stands among the words of a conversation.
_PHOTO_MARK = re.compile(r"<image>\n?|\n?<image>")
_DESCRIBE = re.compile(r"\bdescri(?:be|ption)\b", re.IGNORECASE)
_ASKS, _ANSWERS = ("human", "user"), ("gpt", "assistant")


def is_karpathy(document: Any) -> bool:
    """Whether a JSON document lists photos with their sentences, as ``dataset_flickr8k.json`` does."""
    listed = document.get("images") if isinstance(document, dict) else None
    return (
        isinstance(listed, list) and bool(listed) and isinstance(listed[0], dict) and "sentences" in listed[0]
    )


def karpathy_rows(document: Mapping[str, Any]) -> list[Any]:
    """The photos of such a document, each a row. ``restval`` is what everybody trains on too: ``train``."""
    rows: list[Any] = []
    for entry in document["images"]:
        if isinstance(entry, dict):
            folder, name = entry.get("filepath"), entry.get("filename")
            # Of COCO ``filepath`` is the folder alone; in other tables it is the whole path.
            path = f"{folder}/{name}" if isinstance(folder, str) and folder else name
            split = "train" if entry.get("split") == "restval" else entry.get("split")
            entry = {"file_name": path, "captions": entry.get("sentences"), "split": split}
        rows.append(entry)
    return rows


def conversation_rows(entry: Mapping[str, Any], where: str) -> Iterator[Row]:
    """What a conversation about a photo says, a row for each answer: to a request at its beginning ("Describe
    the photo.") it is a caption, to a question that question's answer. What is neither is a BrokenRecord."""
    if not entry.get("image"):
        yield where, BrokenRecord(where, f"{where}: a conversation about no photo; left out")
        return
    about = {"image": entry["image"], "split": entry.get("split")}
    asked = ""
    for place, turn in enumerate(entry["conversations"]):
        here = f"{where}, turn {place}"
        speaker, text = (turn.get("from"), turn.get("value")) if isinstance(turn, dict) else (None, None)
        if speaker in _ASKS and isinstance(text, str):
            asked = _PHOTO_MARK.sub("", text).strip()
        elif speaker not in _ANSWERS or not isinstance(text, str) or not asked:
            yield here, BrokenRecord(here, f"{here}: neither a question nor an answer to one; left out")
        else:
            question = asked.endswith(("?", "\uff1f"))
            if place == 1 and (not question or _DESCRIBE.search(asked)):
                yield here, {**about, "captions": [text]}
            elif question:
                yield here, {**about, "question": asked, "answer": [text]}
            else:
                yield here, BrokenRecord(here, f"{here}: answers no question and is no caption; left out")
            asked = ""


def is_token_line(line: str) -> bool:
    """Whether a line is ``photo.jpg#0``, a tab and a caption."""
    return _TOKEN_LINE.match(line) is not None


def token_rows(path: Path) -> Iterator[Row]:
    """The rows of a token file. Raises DataError."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                where = f"{path}: line {number}"
                found = _TOKEN_LINE.match(line)
                if found:
                    yield where, {"image": found["photo"], "captions": [found["text"]]}
                elif line.strip():
                    yield (
                        where,
                        BrokenRecord(where, f"{where}: not a photo's name, #, a number, a tab and a text"),
                    )
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text; convert it first (iconv -t UTF-8)") from error
