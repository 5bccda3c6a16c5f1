"""Which format a source is in, and its samples in a fixed order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from itertools import islice
from pathlib import Path
from typing import Literal, get_args

from seetell.core.errors import DataError, UsageError
from seetell.data.photo_refs import PhotoRef, check_no_pointer
from seetell.data.records import BrokenRecord, Item, Sample
from seetell.data.sources import beside, documents, folders, parquet_files, table, tars
from seetell.data.sources.fields import Columns
from seetell.data.sources.photo_folders import PhotoFolders, photo_folders
from seetell.data.sources.published import is_karpathy
from seetell.media.listing import Skipped, files_below, is_passed_over, list_photos

Format = Literal["folder", "table", "coco", "vqa", "webdataset", "imagefolder", "parquet"]
FORMATS: tuple[str, ...] = get_args(Format)

_TABLE_SUFFIXES = frozenset({".csv", ".tsv", ".tab", ".jsonl", ".ndjson"})
# Published lists by their names; what is in them says whether they are.
_TEXT_TABLES = ("captions.txt", "*.token.txt", "*.token")
# Enough photos to tell whether texts lie beside them.
_LOOKED_AT = 50


@dataclass(frozen=True, slots=True)
class Source:
    """What a source holds: its samples and its broken entries, in a fixed order. skipped: what the walk
    through its folders left out. notes: what else people should know, a line each."""

    path: Path
    format: Format
    samples: tuple[Sample[PhotoRef], ...]
    broken: tuple[BrokenRecord, ...]
    skipped: Skipped = field(default_factory=Skipped)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """How to read a source where it does not say so itself. None: what is usual.

    images: the folder of the photos. annotations: the answers to a VQA questions file.
    """

    format: Format | None = None
    images: Path | None = None
    annotations: Path | None = None
    columns: Columns = field(default_factory=Columns)


def read_source(
    path: Path,
    options: SourceOptions | None = None,
    track: Callable[[Iterable[Item], str, int | None], Iterator[Item]] | None = None,
) -> Source:
    """Everything in ``path``, a file or a folder. Photos are not opened.

    Raises DataError for a source of no known format or with nothing in it, UsageError for an option that
    does not fit.
    """
    options = SourceOptions() if options is None else options
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    if options.images is not None and not options.images.is_dir():
        raise UsageError(f"--images: {options.images} is no folder")
    chosen = options.format or detect_format(path)
    skipped, notes = Skipped(), list[str]()
    items: Iterable[Item] = _items(path, chosen, options, skipped, notes)
    if track is not None:
        items = track(items, "entries read", None)
    samples: list[Sample[PhotoRef]] = []
    broken: list[BrokenRecord] = []
    taken: dict[str, int] = {}
    for item in items:
        if isinstance(item, BrokenRecord):
            broken.append(item)
            continue
        # Two annotation files may speak of one photo, each in its split.
        times = taken[item.key] = taken.get(item.key, 0) + 1
        samples.append(item if times == 1 else replace(item, key=f"{item.key}#{times}"))
    if not samples:
        if broken:
            more = f" (and {len(broken) - 1} more like it)" if len(broken) > 1 else ""
            raise DataError(f"{path}: nothing usable in it: {broken[0].message}{more}")
        raise DataError(f"{path}: nothing in it that reads as {chosen}; name the format with --format")
    return Source(path, chosen, tuple(samples), tuple(broken), skipped, tuple(notes))


def detect_format(path: Path) -> Format:
    """The format of a file or folder. Raises DataError where it is none."""
    return _format_of_folder(path) if path.is_dir() else _format_of_file(path)


def _format_of_file(path: Path) -> Format:
    check_no_pointer(path)
    name = path.name.lower()
    suffix = path.suffix.lower()
    if suffix in _TABLE_SUFFIXES:
        return "table"
    if suffix == ".tar":
        return "webdataset"
    if name.endswith((".tar.gz", ".tgz", ".tar.zst", ".tar.xz", ".tar.bz2", ".zip")):
        raise DataError(f"{path}: compressed; unpack it first and give the folder or the .tar")
    if suffix == ".parquet":
        return "parquet"
    if suffix == ".json":
        document = table.load_json(path)
        if isinstance(document, list) or is_karpathy(document):
            return "table"
        if isinstance(document, dict) and "questions" in document:
            return "vqa"
        if isinstance(document, dict) and "annotations" in document and "images" in document:
            return "coco"
        raise DataError(f"{path}: neither COCO captions, nor VQAv2 questions, nor a list of objects")
    if suffix in (".txt", ".token") and table.is_text_table(path):
        return "table"
    raise DataError(
        f"{path}: of no format that is read; there are .csv .tsv .jsonl .json .tar .parquet and folders"
    )


def _format_of_folder(path: Path) -> Format:
    if files_below(path, (".tar",)):
        return "webdataset"
    if folders.metadata_files(path):
        return "imagefolder"
    texts = beside.any_text_beside(islice(list_photos([path]), _LOOKED_AT))
    listed = files_below(path, (".parquet",))
    # img2dataset writes what it knows in parquet files beside photos with their texts.
    if listed and not (texts and not parquet_files.holds_photos(listed[0])):
        return "parquet"
    if documents.captions_files(path):
        return "coco"
    if documents.questions_files(path):
        return "vqa"
    tables = _table_files(path)
    if tables:
        return "table"
    if texts:
        return "folder"
    if folders.label_folders(path) and not any(photo.parent == path for photo in _first_photos(path)):
        return "imagefolder"
    return "folder"


def _first_photos(path: Path) -> list[Path]:
    return [entry for entry in list_photos([path]) if entry.parent == path][:1]


def _items(
    path: Path, chosen: Format, options: SourceOptions, skipped: Skipped, notes: list[str]
) -> Iterator[Item]:
    columns = options.columns

    def folders_of(file: Path) -> PhotoFolders:
        return photo_folders(file, path, options.images, notes)

    if chosen == "folder":
        yield from beside.read_beside(_folder(path, chosen), columns, skipped)
    elif chosen == "imagefolder":
        root = _folder(path, chosen)
        if folders.metadata_files(root):
            yield from folders.read_metadata_folder(root, columns, options.images, notes)
        else:
            yield from folders.read_label_folders(root, skipped)
    elif chosen == "table":
        for file in _files(path, _table_files):
            yield from table.read_table(file, folders_of(file), columns)
    elif chosen == "coco":
        for file in _files(path, documents.captions_files):
            yield from documents.read_coco(file, folders_of(file))
    elif chosen == "vqa":
        for file in _files(path, documents.questions_files):
            answers = options.annotations or documents.answers_of(file)
            yield from documents.read_vqa_samples(file, answers, folders_of(file))
    elif chosen == "webdataset":
        for file in _files(path, lambda root: files_below(root, (".tar",), skipped)):
            yield from _going_on(file, tars.read_tar(file, columns))
    else:
        for file in _files(path, lambda root: files_below(root, (".parquet",), skipped)):
            yield from _going_on(file, parquet_files.read_parquet(file, folders_of(file), columns))


def _going_on(file: Path, items: Iterator[Item]) -> Iterator[Item]:
    """One damaged file of many is a broken entry; what was read of it counts."""
    try:
        check_no_pointer(file)
        yield from items
    except DataError as error:
        yield BrokenRecord(str(file), str(error))


def _folder(path: Path, chosen: Format) -> Path:
    if not path.is_dir():
        raise DataError(f"{path}: a source of the format {chosen} is a folder, and this is a file")
    return path


def _files(path: Path, listed: Callable[[Path], list[Path]]) -> list[Path]:
    return listed(path) if path.is_dir() else [path]


def _table_files(root: Path) -> list[Path]:
    return sorted(
        path
        for path in root.iterdir()
        if path.is_file() and not is_passed_over(path.name, folder=False) and _is_table(path)
    )


def _is_table(path: Path) -> bool:
    name = path.name.lower()
    if any(fnmatch(name, pattern) for pattern in _TEXT_TABLES):
        # Flickr8k's lemmas are the same captions in other words.
        return "lemma" not in name and table.is_text_table(path)
    if name.endswith(".json"):
        return table.is_json_table(path)
    return path.suffix.lower() in _TABLE_SUFFIXES
