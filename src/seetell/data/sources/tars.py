"""WebDataset tars: members that share a name up to its first dot are one sample, unless they are photos with
texts of their own (``1.5_m.jpg``, ``1.6_m.jpg``): then those that share it up to the last dot.

``000123.jpg``, ``000123.txt`` and ``000123.json`` are a photo, its caption and its fields. Nothing is
unpacked: a photo is remembered as its place in the tar, and only its text is read now.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from seetell.core.errors import DataError
from seetell.data.photo_refs import FileSlice
from seetell.data.records import BrokenRecord, Item, Sample
from seetell.data.sources.beside import (
    MAX_TEXT_BYTES,
    TEXT_ENDINGS,
    decoded_text,
    language_in,
    said_in_json,
    together,
)
from seetell.data.sources.fields import Columns, Said, split_in
from seetell.media.formats import PHOTO_SUFFIXES

_LABEL_ENDING = "cls"


@dataclass(frozen=True, slots=True)
class _Member:
    """A photo or a text in a tar. stem: its name less its last ending. text: None for a photo, and for what
    is too large for a text."""

    stem: str
    ending: str
    place: FileSlice
    is_photo: bool
    text: bytes | None


def read_tar(path: Path, columns: Columns) -> Iterator[Item]:
    """The samples of one tar, in its order. Raises DataError for a file that is no uncompressed tar."""
    split = split_in(path.name)
    for key, members in _groups(path):
        photos: dict[str, _Member] = {}
        texts: dict[str, _Member] = {}
        for member in members:
            seen, name = (photos, member.stem) if member.is_photo else (texts, member.place.name)
            if name in seen:
                yield _second(member, name)
            else:
                seen[name] = member
        owned: dict[str | None, list[_Member]] = {}
        for text in texts.values():
            owned.setdefault(_owner(text.stem, photos, key), []).append(text)
        for text in owned.pop(None, ()):
            where = f"{path}:{text.stem}"
            yield BrokenRecord(where, f"{where}: no photo among its members")
        for stem, photo in photos.items():
            # A mask beside its photo (``0.jpg``, ``0.seg.png``) is no sample.
            larger = next((one for one in _beginnings(stem, key) if one in photos), None)
            if larger is not None and stem not in owned:
                yield _second(photo, larger)
                continue
            name = key if len(photos) == 1 else stem
            where = f"{path}:{name}"
            try:
                content = _said(owned.get(stem, []), stem, key, columns, where)
            except DataError as error:
                yield BrokenRecord(where, str(error))
                continue
            yield Sample(
                f"{path.stem}/{name}",
                photo.place,
                content.captions,
                content.questions,
                content.label,
                content.split or split,
            )


def _second(member: _Member, key: str) -> BrokenRecord:
    where = f"{member.place.path}:{member.place.name}"
    what = "photo" if member.is_photo else "text"
    return BrokenRecord(where, f"{where}: a second {what} under the key {key!r}; give it a name of its own")


def _owner(text: str, photos: Mapping[str, _Member], key: str) -> str | None:
    """The photo to which the text of this name belongs; names are less their last endings.

    That is the photo of the same name, or of its beginning (``0.en.txt`` of ``0.jpg``). A photo that is alone
    under its key has the texts of that key too, but for one with another number: ``a.9.txt`` is not of
    ``a.0.jpg``.
    """
    fitting = next((name for name in (text, *_beginnings(text, key)) if name in photos), None)
    numbered = any(letter.isdigit() for letter in text[len(key) :])
    return next(iter(photos)) if fitting is None and len(photos) == 1 and not numbered else fitting


def _beginnings(name: str, key: str) -> Iterator[str]:
    """What ``name`` begins with up to one of its dots, the longest first, down to ``key``."""
    while len(name) > len(key):
        name = name.rpartition(".")[0]
        yield name


def _groups(path: Path) -> Iterator[tuple[str, list[_Member]]]:
    """(name up to its first dot, members) of those that stand together, as the format has it."""
    key: str | None = None
    members: list[_Member] = []
    try:
        with open(path, "rb") as raw, tarfile.open(fileobj=raw, mode="r:") as archive:
            while (member := archive.next()) is not None:
                # tarfile remembers every member; of a million this is half a gigabyte.
                vars(archive)["members"].clear()
                if not member.isreg() or member.issparse():
                    continue
                folder, _, name = member.name.rpartition("/")
                stem, dot, _ = name.partition(".")
                if not dot or not stem:
                    continue
                this = f"{folder}/{stem}" if folder else stem
                if this != key:
                    if key is not None:
                        yield key, members
                    key, members = this, []
                found = _member(member, path)
                if found is not None:
                    members.append(found)
            if key is not None:
                yield key, members
    except (tarfile.TarError, EOFError) as error:
        # What the cut went through is not whole.
        whole = [member for member in members if member.stem != members[-1].stem]
        if key is not None and whole:
            yield key, whole
        hint = "; decompress it first" if path.suffix != ".tar" else ""
        raise DataError(f"{path}: not an uncompressed tar, or cut off ({error}){hint}") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error


def _member(member: tarfile.TarInfo, path: Path) -> _Member | None:
    """A member that is a photo or says something about one."""
    stem, _, ending = member.name.rpartition(".")
    ending = ending.lower()
    place = FileSlice(path, member.offset_data, member.size, member.name)
    if f".{ending}" in PHOTO_SUFFIXES:
        return _Member(stem, ending, place, True, None)
    if ending not in TEXT_ENDINGS and ending not in ("json", _LABEL_ENDING):
        return None
    if member.size > MAX_TEXT_BYTES:
        return _Member(stem, ending, place, False, None)
    with open(path, "rb") as file:
        file.seek(member.offset_data)
        return _Member(stem, ending, place, False, file.read(member.size))


def _said(texts: Iterable[_Member], photo: str, key: str, columns: Columns, where: str) -> Said:
    """What the texts of one photo say. Raises DataError."""
    written: list[tuple[str, str]] = []
    listed: list[Said] = []
    labels: list[str] = []
    for one in texts:
        name = f"{one.place.path}:{one.place.name}"
        if one.text is None:
            raise DataError(f"{name}: over {MAX_TEXT_BYTES:,} bytes, which is no caption")
        text = decoded_text(one.text, name)
        if one.ending == "json":
            listed.append(said_in_json(text, columns, name))
        elif one.ending == _LABEL_ENDING:
            labels.append(text.strip())
        else:
            begins = photo if one.stem.startswith(photo) else key
            written.append((text, language_in(one.place.name[len(begins) :])))
    content = together(written, listed)
    return replace(content, label=content.label or next(filter(None, labels), None))
