"""What a recipe's data sources hold: records, the answer list, the label space, and the texts in them."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seetell.core.errors import DataError, MissingExtra, RecipeError, UsageError
from seetell.data.coco import read_coco_captions
from seetell.data.holdout import split_holdout, split_labelled_holdout
from seetell.data.imagefolder import read_imagefolder
from seetell.data.photo_refs import FileSlice, PhotoRef, lost, ref_name
from seetell.data.records import AskedQuestion, CaptionRecord, LabelRecord, QuestionRecord, Sample
from seetell.data.shards import Shards, open_shards
from seetell.data.vqa import read_vqa, write_vqa
from seetell.learning.shard_source import Contents, ShardSource, Wanted, read_contents
from seetell.learning.sources import (
    CaptionSource,
    LabelSource,
    QuestionSource,
    Source,
    TemplateSource,
    answer_list,
    answer_text,
    label_list,
    label_name,
    label_text,
)
from seetell.learning.training.recipe import Recipe
from seetell.learning.training.sections import DataSettings


@dataclass(frozen=True, slots=True)
class CaptionData:
    """A captioned source of the recipe, ``place`` in its ``data``."""

    place: int
    settings: DataSettings
    records: Sequence[CaptionRecord]

    def texts(self) -> Iterator[str]:
        """Its captions in the languages that are taught."""
        yield from (text for _, text, _ in self.captioned())

    def captioned(self) -> Iterator[tuple[PhotoRef, str, str]]:
        """(photo, caption, language), likewise."""
        for record in self.records:
            for text, language in record.captions:
                if language in self.settings.languages:
                    yield record.photo, text, language

    def photos(self) -> Iterator[PhotoRef]:
        """Every photo, once."""
        yield from dict.fromkeys(record.photo for record in self.records)

    def captions(self) -> Iterator[str]:
        """Every caption that may be drawn."""
        yield from self.texts()

    def identities(self) -> Iterator[tuple[Any, ...]]:
        """What JSON can hold of each record, wherever its photo is."""
        for record in self.records:
            yield record.photo_id, record.photo.name, record.captions


@dataclass(frozen=True, slots=True)
class QuestionData:
    """A source of questions, without those held out."""

    place: int
    settings: DataSettings
    records: Sequence[QuestionRecord]

    def texts(self) -> Iterator[str]:
        """Its questions and answers."""
        for record in self.records:
            yield record.question
            yield from (answer_text(answer) for answer in record.answers)

    def photos(self) -> Iterator[PhotoRef]:
        """Every photo, once."""
        yield from dict.fromkeys(record.photo for record in self.records)

    def captions(self) -> Iterator[str]:
        """None."""
        yield from ()

    def questions(self) -> Iterator[QuestionRecord]:
        """Every question."""
        yield from self.records

    def identities(self) -> Iterator[tuple[Any, ...]]:
        """What JSON can hold of each record, wherever its photo is."""
        for one in self.records:
            yield one.question_id, one.photo_id, one.photo.name, one.question, one.answers


@dataclass(frozen=True, slots=True)
class LabelData:
    """A labelled source."""

    place: int
    settings: DataSettings
    records: Sequence[LabelRecord]

    def texts(self) -> Iterator[str]:
        """Each label once, plain and in every template."""
        for label in label_list(self.records):
            yield label_text(label)
            yield from self._named(label)

    def _named(self, label: str) -> Iterator[str]:
        settings = self.settings
        for language, templates in settings.templates.items():
            name = label_name(label, language, settings.label_names)
            yield from (template.replace("{}", name) for template in templates)

    def photos(self) -> Iterator[PhotoRef]:
        """Every photo, once."""
        yield from dict.fromkeys(record.photo for record in self.records)

    def captions(self) -> Iterator[str]:
        """Every label in every template, where the source captions photos so."""
        if "caption" in self.settings.tasks:
            for label in label_list(self.records):
                yield from self._named(label)

    def identities(self) -> Iterator[tuple[Any, ...]]:
        """What JSON can hold of each record, wherever its photo is."""
        for record in self.records:
            yield record.label, record.photo.name


@dataclass(frozen=True, slots=True)
class ShardData:
    """Prepared shards: nothing of them is in memory but how many samples each has."""

    place: int
    settings: DataSettings
    shards: Shards
    wanted: Wanted
    contents: Contents

    def texts(self) -> Iterator[str]:
        """Captions in the languages that are taught, questions and answers, read from end to end."""
        for sample, _ in self.shards.read_refs():
            yield from (text for text, _ in self._captions(sample))
            if self.wanted.questions_per_photo:
                for one in sample.questions:
                    yield one.question
                    yield from (answer_text(answer) for answer in one.answers)

    def _captions(self, sample: Sample[FileSlice]) -> Iterator[tuple[str, str]]:
        """(caption, language) in those that are taught."""
        taught = self.wanted.languages
        for text, language in sample.captions:
            if taught and (language in taught or not language):
                yield text, language or taught[0]

    def captioned(self) -> Iterator[tuple[PhotoRef, str, str]]:
        """(photo, caption, language), read from end to end."""
        for sample, _ in self.shards.read_refs():
            yield from ((sample.photo, *caption) for caption in self._captions(sample))

    def photos(self) -> Iterator[PhotoRef]:
        """Every photo, read from end to end."""
        yield from (sample.photo for sample, _ in self.shards.read_refs())

    def captions(self) -> Iterator[str]:
        """Every caption that may be drawn, likewise."""
        yield from (text for _, text, _ in self.captioned())

    def questions(self) -> Iterator[AskedQuestion]:
        """Every question, read from end to end; none where there is none to learn from."""
        if self.contents.answered:
            for sample, _ in self.shards.read_refs():
                yield from sample.questions

    def state(self) -> list[Any]:
        """What a run's order depends on."""
        digest = hashlib.sha256("\n".join(self.contents.digests).encode()).hexdigest()
        return [self.contents.counts.tolist(), digest, self.settings.shuffle_shards]


Part = CaptionData | QuestionData | LabelData | ShardData


@dataclass(frozen=True, slots=True)
class Corpus:
    """Everything a run learns from. ``answers`` and ``labels`` are the classification heads' closed lists."""

    parts: tuple[Part, ...]
    answers: tuple[str, ...]
    labels: tuple[str, ...]

    def texts(self) -> Iterator[str]:
        """Every text, source by source; what a tokenizer is trained on."""
        for part in self.parts:
            yield from part.texts()

    def captions_by_photo(self) -> dict[str, dict[str, list[str]]]:
        """Language -> photo, as batches name it -> all its captions in the languages that are taught. Those
        of shards are read from end to end, and held."""
        found: dict[str, dict[str, list[str]]] = {}
        for part in self.parts:
            for photo, text, language in (
                part.captioned() if isinstance(part, CaptionData | ShardData) else ()
            ):
                found.setdefault(language, {}).setdefault(ref_name(photo), []).append(text)
        return found


@contextmanager
def at_key(key: str) -> Iterator[None]:
    """Errors of the block's data say where the recipe names them. Raises DataError and UsageError."""
    try:
        yield
    except MissingExtra:
        raise
    except (DataError, UsageError) as error:
        raise type(error)(f"{key}: {error}") from error


def check_photos(photos: Iterable[PhotoRef], *, may_lack: bool) -> None:
    """Raises DataError where a photo's file is not there; with ``may_lack`` only where none is."""
    all_of_them = list(dict.fromkeys(photos))
    missing = lost(all_of_them)
    if missing and not (may_lack and len(missing) < len(all_of_them)):
        raise DataError(
            f"{len(missing):,} of its {len(all_of_them):,} photos are not there, {ref_name(missing[0])} "
            "the first of them; say where they are (images), or leave them out (unreadable_photos: skip)"
        )


def read_corpus(recipe: Recipe) -> Corpus:
    """Read every source of the recipe. Raises DataError, also where photos are lost, and RecipeError for a
    source left empty."""
    root = Path(recipe.data_root)
    parts = tuple(_read_part(place, settings, root, recipe) for place, settings in enumerate(recipe.data))
    for part in parts:
        if not isinstance(part, ShardData):  # each shard was looked at when it was read
            with at_key(f"data.{part.place}"):
                check_photos(part.photos(), may_lack=recipe.unreadable_photos == "skip")
    asked = (one for part in parts if isinstance(part, QuestionData | ShardData) for one in part.questions())
    labels: set[str] = set()
    for part in parts:
        if isinstance(part, LabelData) and "classify" in part.settings.tasks:
            labels.update(label_list(part.records))
        elif isinstance(part, ShardData):
            labels.update(part.contents.labels)
    return Corpus(parts, answer_list(asked, recipe.answers), tuple(sorted(labels)))


def read_captions(settings: DataSettings, root: Path) -> list[CaptionRecord]:
    """The records of a ``coco_captions`` source: ``path`` is the file, or the folder that holds it."""
    path = root / settings.path
    file = _file_of(path, "captions", settings.split) if path.is_dir() else _there(path)
    return read_coco_captions(file, file.parent / settings.images)[: settings.limit]


def read_questions(settings: DataSettings, root: Path) -> tuple[list[QuestionRecord], list[QuestionRecord]]:
    """The records of a ``vqa`` source: (to learn from, held out)."""
    folder = root / settings.path
    records = read_vqa(
        _file_of(folder, "questions", settings.split),
        _file_of(folder, "annotations", settings.split),
        folder / settings.images,
    )
    learned: list[QuestionRecord] = records
    held: list[QuestionRecord] = []
    if settings.holdout is not None:
        learned, held = split_holdout(records, settings.holdout.rule())
    return _of_first_photos(learned, settings.limit), _of_first_photos(held, settings.limit)


def _file_of(folder: Path, kind: str, split: str) -> Path:
    """A source's file of a split. Raises DataError, which says which splits there are."""
    file = folder / f"{kind}_{split}.json"
    if _there(folder).is_dir() and not file.is_file():
        splits = sorted(one.stem.removeprefix(f"{kind}_") for one in folder.glob(f"{kind}_*.json"))
        there = f"has: {', '.join(splits)}" if splits else "has none"
        raise DataError(f"{file}: no such file; of the splits of {kind} the folder {there}. Name its split")
    return file


def _there(path: Path) -> Path:
    if not path.exists():
        raise DataError(f"{path}: no such file or folder; paths start at data_root")
    return path


def source_name(settings: DataSettings, root: Path) -> str:
    """What a source is called in metrics and in the run's folder: its folder's or file's name, no suffix."""
    return (root / settings.path).resolve().stem


def read_labelled(settings: DataSettings, root: Path) -> tuple[list[LabelRecord], list[LabelRecord]]:
    """The records of an ``imagefolder`` source: (to learn from, held out)."""
    learned: list[LabelRecord] = read_imagefolder(root / settings.path)
    held: list[LabelRecord] = []
    if settings.holdout is not None:
        learned, held = split_labelled_holdout(learned, settings.holdout.rule())
    if settings.limit is not None:
        learned, held = _every_nth(learned, settings.limit), _every_nth(held, settings.limit)
    return learned, held


def read_shards(settings: DataSettings, root: Path) -> Shards:
    """The shards of a ``webdataset`` source."""
    return open_shards(root / settings.path, settings.split)


def read_shard_records(
    settings: DataSettings, root: Path
) -> tuple[list[CaptionRecord[FileSlice]], list[QuestionRecord[FileSlice]]]:
    """The captioned photos and the answered questions of a ``webdataset`` source that is measured on: its
    texts are held in memory, its photos are not."""
    captioned: list[CaptionRecord[FileSlice]] = []
    asked: list[QuestionRecord[FileSlice]] = []
    for number, (sample, _) in enumerate(read_shards(settings, root).read_refs()):
        if settings.limit is not None and number >= settings.limit:
            break
        if "caption" in settings.tasks and sample.captions:
            known = tuple((text, language or settings.languages[0]) for text, language in sample.captions)
            captioned.append(CaptionRecord(sample.photo, known, sample.key))
        if "ask" in settings.tasks:
            asked.extend(record for record in sample.question_records() if record.answers)
    return captioned, asked


def write_holdout(settings: DataSettings, root: Path, folder: Path) -> None:
    """Write what a source holds out to ``folder``, for ``seetell evaluate``.

    Questions as VQAv2 files, which name their photos relative to the source's image folder; labelled photos
    as an imagefolder of links. Raises RecipeError for a source that holds nothing out.
    """
    if settings.holdout is None:
        raise RecipeError(f"data: the source {settings.path} has no holdout")
    if settings.format == "imagefolder":
        _link_photos(read_labelled(settings, root)[1], folder)
        return
    _, held = read_questions(settings, root)
    images = root / settings.path / settings.images
    write_vqa(held, folder / "questions_holdout.json", folder / "annotations_holdout.json", images)


def _link_photos(records: Sequence[LabelRecord], folder: Path) -> None:
    # Another rule, or other photos, would leave links of a run before behind.
    if folder.exists():
        shutil.rmtree(folder)
    for record in records:
        link = folder / record.label / record.photo.name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(record.photo.resolve())


def build_sources(recipe: Recipe, corpus: Corpus) -> tuple[Source, ...]:
    """The corpus as sources of rows, in the recipe's order."""
    return tuple(
        _source(part, batch_size, recipe.seed, corpus)
        for part, batch_size in zip(corpus.parts, recipe.batch_sizes(), strict=True)
    )


def _read_part(place: int, settings: DataSettings, root: Path, recipe: Recipe) -> Part:
    if settings.format == "webdataset":
        return _shard_data(place, settings, root, recipe)
    with at_key(f"data.{place}"):
        if settings.format == "coco_captions":
            return CaptionData(place, settings, read_captions(settings, root))
        if settings.format == "vqa":
            return QuestionData(place, settings, read_questions(settings, root)[0])
        return LabelData(place, settings, read_labelled(settings, root)[0])


def _shard_data(place: int, settings: DataSettings, root: Path, recipe: Recipe) -> ShardData:
    tasks = recipe.taught.intersection(settings.tasks)
    wanted = Wanted(
        languages=settings.languages if "caption" in tasks else (),
        captions_per_photo=settings.captions_per_photo,
        questions_per_photo=settings.questions_per_photo if "ask" in tasks else 0,
        labels="classify" in tasks,
    )
    with at_key(f"data.{place}"):
        shards = read_shards(settings, root)
        contents = read_contents(shards, wanted, settings.limit)
    holds = {"caption": contents.captioned, "ask": contents.answered, "classify": bool(contents.labels)}
    for task in sorted(tasks):
        others = (one for one in recipe.data if one is not settings)
        if not holds[task] and not any(task in one.tasks for one in others):
            what = {
                "caption": f"captions in {' or '.join(settings.languages)}",
                "ask": "questions with answers",
                "classify": "labels",
            }[task]
            raise RecipeError(
                f"data: {settings.path} has no {what}, and no other source serves its objectives"
            )
    return ShardData(place, settings, shards, wanted, contents)


def _source(part: Part, batch_size: int, seed: int, corpus: Corpus) -> Source:
    settings, rule, own_seed = part.settings, part.settings.augment.rule(), (seed, part.place)
    if isinstance(part, CaptionData):
        return CaptionSource(
            part.records,
            batch_size=batch_size,
            rule=rule,
            seed=own_seed,
            languages=settings.languages,
            captions_per_photo=settings.captions_per_photo,
        )
    if isinstance(part, QuestionData):
        return QuestionSource(
            part.records,
            batch_size=batch_size,
            rule=rule,
            seed=own_seed,
            questions_per_photo=settings.questions_per_photo,
            rare_answers=settings.rare_answers,
        )
    label_space = {label: number for number, label in enumerate(corpus.labels)}
    if isinstance(part, ShardData):
        return ShardSource(
            part.shards,
            part.contents.counts,
            part.wanted,
            batch_size=batch_size,
            rule=rule,
            seed=own_seed,
            window=settings.shuffle_shards,
            label_space=label_space,
        )
    if "caption" in settings.tasks:
        return TemplateSource(
            part.records,
            batch_size=batch_size,
            rule=rule,
            seed=own_seed,
            templates=settings.templates,
            names=settings.label_names,
        )
    return LabelSource(
        part.records,
        batch_size=batch_size,
        rule=rule,
        seed=own_seed,
        label_space=label_space,
        templates=settings.templates,
        names=settings.label_names,
    )


def _of_first_photos(records: Sequence[QuestionRecord], limit: int | None) -> list[QuestionRecord]:
    if limit is None:
        return list(records)
    first = set(list(dict.fromkeys(record.photo for record in records))[:limit])
    return [record for record in records if record.photo in first]


def _every_nth(records: Sequence[LabelRecord], limit: int) -> list[LabelRecord]:
    """``limit`` records spread evenly: the first ones would all carry the first label."""
    count = min(limit, len(records))
    return [records[place * len(records) // count] for place in range(count)]
