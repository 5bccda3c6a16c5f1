"""WebDataset tars: members that share a name up to its first dot are one sample.

``000123.jpg``, ``000123.txt`` and ``000123.json`` are a photo, its caption and its fields. Nothing is
unpacked: a photo is remembered as its place in the tar, and only its text is read now.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from seetell.core.errors import DataError
from seetell.data.photo_refs import FileSlice
from seetell.data.records import Sample
from seetell.data.sources.beside import decoded_text, said_in_json
from seetell.data.sources.fields import BrokenRecord, Columns, Item, Said, split_in
from seetell.media.formats import PHOTO_SUFFIXES

_MAX_TEXT_BYTES = 1 << 20
_TEXT_ENDINGS = frozenset({"txt", "text", "caption"})
_LABEL_ENDINGS = frozenset({"cls"})


@dataclass(slots=True)
class _Members:
    """What has been seen of one sample."""

    photo: FileSlice | None = None
    texts: dict[str, bytes] = field(default_factory=dict)


def read_tar(path: Path, columns: Columns) -> Iterator[Item]:
    """The samples of one tar, in its order. Raises DataError for a file that is no uncompressed tar."""
    split = split_in(path.name)
    for key, members in _groups(path):
        where = f"{path}:{key}"
        if members.photo is None:
            yield BrokenRecord(where, f"{where}: no photo among its members")
            continue
        try:
            content = _said(members, columns, where)
        except DataError as error:
            yield BrokenRecord(where, str(error))
            continue
        yield Sample(
            f"{path.stem}/{key}",
            members.photo,
            content.captions,
            content.questions,
            content.label,
            content.split or split,
        )


def _groups(path: Path) -> Iterator[tuple[str, _Members]]:
    """(key, members) of each sample. The members of a sample stand together, as the format has it."""
    try:
        with open(path, "rb") as raw, tarfile.open(fileobj=raw, mode="r:") as archive:
            key, members = None, _Members()
            while (member := archive.next()) is not None:
                # tarfile remembers every member; of a million this is half a gigabyte.
                vars(archive)["members"].clear()
                if not member.isreg() or member.issparse():
                    continue
                folder, _, name = member.name.rpartition("/")
                stem, dot, ending = name.partition(".")
                if not dot or not stem:
                    continue
                this = f"{folder}/{stem}" if folder else stem
                if this != key:
                    if key is not None:
                        yield key, members
                    key, members = this, _Members()
                _add(members, ending.lower(), member, path)
            if key is not None:
                yield key, members
    except (tarfile.TarError, EOFError) as error:
        hint = "; decompress it first" if path.suffix != ".tar" else ""
        raise DataError(f"{path}: not an uncompressed tar, or cut off ({error}){hint}") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error


def _add(members: _Members, ending: str, member: tarfile.TarInfo, path: Path) -> None:
    last = ending.rpartition(".")[2]
    if f".{last}" in PHOTO_SUFFIXES:
        if members.photo is None:
            members.photo = FileSlice(path, member.offset_data, member.size, member.name)
    elif last in _TEXT_ENDINGS or last == "json" or last in _LABEL_ENDINGS:
        if member.size > _MAX_TEXT_BYTES:
            members.texts[last] = b""
            return
        with open(path, "rb") as file:
            file.seek(member.offset_data)
            members.texts[last] = file.read(member.size)


def _said(members: _Members, columns: Columns, where: str) -> Said:
    content = Said()
    if "json" in members.texts:
        content = said_in_json(decoded_text(members.texts["json"], where), columns, f"{where}.json")
    written = [members.texts[ending] for ending in sorted(_TEXT_ENDINGS & members.texts.keys())]
    captions = tuple((decoded_text(data, where), "") for data in written)
    # Most writers repeat the text in the JSON, ours among them; there it may be one of several.
    listed = {text.strip() for text, _ in content.captions}
    captions = tuple(pair for pair in captions if pair[0].strip() not in listed)
    label = content.label
    for ending in _LABEL_ENDINGS & members.texts.keys():
        label = label or decoded_text(members.texts[ending], where).strip() or None
    return Said((*captions, *content.captions), content.questions, label, content.split)
