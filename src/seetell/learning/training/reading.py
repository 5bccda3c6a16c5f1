"""From a source of the recipe to its samples: which files are read, and which of their photos."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from seetell.core.errors import DataError, UsageError
from seetell.data.coco import DEFAULT_LANGUAGE
from seetell.data.holdout import split_holdout, split_labelled_holdout
from seetell.data.photo_refs import PhotoRef
from seetell.data.preparing.folder import begun
from seetell.data.records import BrokenRecord, Item, Sample
from seetell.data.shards import Shards, open_shards
from seetell.data.sources.detect import Format, SourceOptions, read_source
from seetell.data.sources.documents import (
    answers_of,
    captions_files,
    questions_files,
    read_coco,
    read_vqa_samples,
)
from seetell.data.sources.fields import split_in
from seetell.data.sources.folders import read_label_folders
from seetell.data.sources.photo_folders import PhotoFolders, photo_folders
from seetell.learning.training.sections import DataSettings
from seetell.media.listing import files_below

Samples = list[Sample[PhotoRef]]


def read_samples(settings: DataSettings, root: Path) -> tuple[Samples, Samples]:
    """The samples of a source that is held in memory: (to learn from, held out).

    Raises DataError for a source that is not there and for an entry of it that says nothing usable,
    UsageError for a split that it has not.
    """
    path = root / settings.path
    held: Samples = []
    if settings.format == "imagefolder":
        samples = _of_split(_whole(read_label_folders(path), path), settings.split, path)
        if settings.holdout is not None:
            samples, held = split_labelled_holdout(samples, settings.holdout.rule())
        if settings.limit is not None:
            samples, held = _every_nth(samples, settings.limit), _every_nth(held, settings.limit)
        return samples, held
    if settings.format == "coco_captions":
        samples = _captions(settings, path)
    elif settings.format == "vqa":
        samples = _questions(settings, path)
    else:
        samples = _of_format(settings.format, settings, path)
    if settings.holdout is not None:
        samples, held = split_holdout(samples, settings.holdout.rule())
    return samples[: settings.limit], held[: settings.limit]


def read_measured_samples(settings: DataSettings, root: Path) -> Samples:
    """Of a source that is measured on those held out, or all where none are; their photos are not read."""
    if not in_shards(settings, root):
        samples, held = read_samples(settings, root)
        return held or samples
    shards: Samples = []
    for sample, _ in read_shards(settings, root).read_refs():
        if settings.limit is not None and len(shards) >= settings.limit:
            break
        shards.append(sample)
    return shards


def label_list(settings: DataSettings, root: Path) -> tuple[str, ...]:
    """All labels of a source, sorted, also those of photos beyond its ``limit``."""
    everything = settings.model_copy(update={"limit": None, "holdout": None})
    samples = read_measured_samples(everything, root)
    return tuple(sorted({one.label for one in samples if one.label is not None}))


def in_shards(settings: DataSettings, root: Path) -> bool:
    """Whether a source is what ``seetell prepare`` writes; other tars are read as they are."""
    path = root / settings.path
    if settings.format != "webdataset" or path.is_file():
        return False
    return begun(path) or not (path.is_dir() and files_below(path, (".tar",)))


def read_shards(settings: DataSettings, root: Path) -> Shards:
    """The shards of such a source."""
    return open_shards(root / settings.path, settings.split)


def source_name(settings: DataSettings, root: Path) -> str:
    """What a source is called in metrics and in the run's folder: its folder's or file's name as the recipe
    writes it, no suffix."""
    # Not resolved: a link has a name of its own.
    return Path(os.path.abspath(root / settings.path)).stem


def _captions(settings: DataSettings, path: Path) -> Samples:
    files = [path] if _there(path).is_file() else _files_of(path, "captions", settings.split)
    samples = [
        sample
        for file in files
        for sample in _whole(read_coco(file, _folders(file, settings)), file)
        if sample.captions
    ]
    # Such a file names the language of what is not in English.
    return [
        replace(one, captions=tuple((text, language or DEFAULT_LANGUAGE) for text, language in one.captions))
        for one in samples
    ]


def _questions(settings: DataSettings, path: Path) -> Samples:
    files = [path] if path.is_file() else _files_of(path, "questions", settings.split)
    found: Samples = []
    for file in files:
        answers = answers_of(file)
        if answers is None:
            # Without a file of that split it says which there are.
            [answers] = _files_of(file.parent, "annotations", settings.split)[:1]
        found += _whole(read_vqa_samples(file, answers, _folders(file, settings)), file)
    return found


def _files_of(folder: Path, kind: str, split: str) -> list[Path]:
    """A folder's files of a split: ``captions_train.json``, or as they were published. Raises DataError,
    which says which splits there are."""
    file = folder / f"{kind}_{split}.json"
    if _there(folder).is_dir() and not file.is_file():
        listed = captions_files(folder) if kind == "captions" else questions_files(folder)
        published = [one for one in listed if split_in(one.name) == split]
        if published and kind != "annotations":
            return published
        splits = sorted(one.stem.removeprefix(f"{kind}_") for one in folder.glob(f"{kind}_*.json"))
        there = f"has: {', '.join(splits)}" if splits else "has none"
        raise DataError(f"{file}: no such file; of the splits of {kind} the folder {there}. Name its split")
    return [file]


def _there(path: Path) -> Path:
    if not path.exists():
        raise DataError(f"{path}: no such file or folder; paths start at data_root")
    return path


def _folders(file: Path, settings: DataSettings) -> PhotoFolders:
    """Where the photos of ``file`` may lie."""
    named = file.parent / (settings.images or "images")
    if settings.images is not None or named.is_dir():
        return PhotoFolders(file, (named,))
    return photo_folders(file, file.parent, None, [])


def _of_format(form: Format, settings: DataSettings, path: Path) -> Samples:
    folder = path.parent if path.is_file() else path
    images = None if settings.images is None else _there(folder / settings.images)
    source = read_source(_there(path), SourceOptions(format=form, images=images))
    return _of_split(_whole((*source.broken, *source.samples), path), settings.split, path)


def _whole(items: Iterable[Item], path: Path) -> Samples:
    """The samples, their captions without blanks around them. Raises DataError for a broken entry."""
    samples: Samples = []
    broken: list[BrokenRecord] = []
    for item in items:
        if isinstance(item, BrokenRecord):
            broken.append(item)
        else:
            said = tuple((text.strip(), language) for text, language in item.captions if text.strip())
            samples.append(replace(item, captions=said))
    if broken:
        more = f" (and {len(broken) - 1:,} more like it)" if len(broken) > 1 else ""
        raise DataError(
            f"{broken[0].message}{more}; mend it, or train on what `seetell prepare {path} OUT` makes of it, "
            "which leaves such entries out"
        )
    return samples


def _of_split(samples: Samples, split: str, path: Path) -> Samples:
    """Those of a split; what names none is to learn from. Raises UsageError where there are none."""
    found = [one for one in samples if (one.split or "train") == split]
    if not found:
        there = ", ".join(sorted({one.split or "train" for one in samples})) or "none"
        raise UsageError(f"{path} has no split {split!r}; it has: {there}. Name one of these as the split")
    return found


def _every_nth(samples: Sequence[Sample[PhotoRef]], limit: int) -> Samples:
    """``limit`` samples spread evenly: the first ones would all carry the first label."""
    count = min(limit, len(samples))
    return [samples[place * len(samples) // count] for place in range(count)]
