"""What a recipe's data sources hold: samples, the answer list, the label space, and the texts in them."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from seetell.core.errors import DataError, MissingExtra, RecipeError, UsageError
from seetell.data.photo_refs import PhotoRef, lost, ref_file, ref_name
from seetell.data.records import AskedQuestion, LabelRecord
from seetell.data.vqa import write_vqa
from seetell.learning.samples import HeldSamples, Samples, ShardSamples, Wanted
from seetell.learning.sources import SampleSource, Source
from seetell.learning.training.reading import in_shards, read_samples, read_shards
from seetell.learning.training.recipe import Recipe
from seetell.learning.training.sections import DataSettings
from seetell.learning.wording import answer_list, label_name, label_text


@dataclass(frozen=True, slots=True)
class Part:
    """A source of the recipe, ``place`` in its ``data``, and what is taught of it."""

    place: int
    settings: DataSettings
    wanted: Wanted
    samples: Samples

    @property
    def labels(self) -> tuple[str, ...]:
        """Those that the classification head learns from it."""
        return self.samples.labels if self.wanted.labels else ()

    def texts(self) -> Iterator[str]:
        """What a tokenizer is trained on: captions in the languages that are taught, questions and answers,
        and each label once, plain and in every template."""
        yield from self.samples.texts()
        for label in self.samples.labels:
            if not isinstance(self.samples, ShardSamples):
                yield label_text(label)
            yield from self._named(label)

    def captioned(self) -> Iterator[tuple[PhotoRef, str, str]]:
        """(photo, caption, language) in the languages that are taught."""
        for sample in self.samples:
            yield from ((sample.photo, *caption) for caption in self.wanted.captions(sample))

    def captions(self) -> Iterator[str]:
        """Every caption that may be drawn."""
        yield from (text for _, text, _ in self.captioned())
        if self.wanted.captioned_by_label:
            for label in self.samples.labels:
                yield from self._named(label)

    def photos(self) -> Iterator[PhotoRef]:
        """Every photo."""
        yield from (sample.photo for sample in self.samples)

    def questions(self) -> Iterator[AskedQuestion]:
        """Every question; none where there is none to learn from."""
        if self.samples.answered:
            for sample in self.samples:
                yield from sample.questions

    def _named(self, label: str) -> Iterator[str]:
        for language, templates in self.wanted.templates.items():
            name = label_name(label, language, self.wanted.names)
            yield from (template.replace("{}", name) for template in templates)


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
            for photo, text, language in part.captioned():
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
        if not isinstance(part.samples, ShardSamples):  # each shard was looked at when it was read
            with at_key(f"data.{part.place}"):
                check_photos(part.photos(), may_lack=recipe.unreadable_photos == "skip")
    asked = (one for part in parts for one in part.questions())
    labels = sorted({label for part in parts for label in part.labels})
    return Corpus(parts, answer_list(asked, recipe.answers), tuple(labels))


def _read_part(place: int, settings: DataSettings, root: Path, recipe: Recipe) -> Part:
    wanted = wanted_of(settings, recipe)
    with at_key(f"data.{place}"):
        if in_shards(settings, root):
            shards = read_shards(settings, root)
            window, limit = settings.shuffle_shards, settings.limit
            part = Part(place, settings, wanted, ShardSamples(shards, wanted, window=window, limit=limit))
        else:
            part = Part(place, settings, wanted, HeldSamples(read_samples(settings, root)[0], wanted))
    _check_taught(part, recipe)
    return part


def wanted_of(settings: DataSettings, recipe: Recipe) -> Wanted:
    """What is taught of a source: what it is for, and of one that may hold several things those that the
    objectives learn from."""
    tasks = frozenset(settings.tasks)
    if len(tasks) > 1:
        tasks &= recipe.taught
    by_label = settings.format == "imagefolder" and "caption" in tasks
    return Wanted(
        languages=settings.languages if "caption" in tasks and not by_label else (),
        captions_per_photo=settings.captions_per_photo,
        questions_per_photo=settings.questions_per_photo if "ask" in tasks else 0,
        rare_answers=settings.rare_answers,
        labels="classify" in tasks,
        captioned_by_label=by_label,
        templates=settings.templates,
        names=settings.label_names,
    )


def _check_taught(part: Part, recipe: Recipe) -> None:
    """Raises RecipeError for a source of several things that lacks one which no other source has."""
    if len(part.settings.tasks) == 1 and part.settings.format != "webdataset":
        return
    samples = part.samples
    holds = {"caption": samples.captioned, "ask": samples.answered, "classify": bool(part.labels)}
    for task in sorted(recipe.taught.intersection(part.settings.tasks)):
        others = (one for one in recipe.data if one is not part.settings)
        if not holds[task] and not any(task in one.tasks for one in others):
            what = {
                "caption": f"captions in {' or '.join(part.settings.languages)}",
                "ask": "questions with answers",
                "classify": "labels",
            }[task]
            raise RecipeError(
                f"data: {part.settings.path} has no {what}, and no other source serves its objectives"
            )


def build_sources(recipe: Recipe, corpus: Corpus) -> tuple[Source, ...]:
    """The corpus as sources of rows, in the recipe's order."""
    label_space = {label: number for number, label in enumerate(corpus.labels)}
    return tuple(
        SampleSource(
            part.samples,
            part.wanted,
            batch_size=batch_size,
            rule=part.settings.augment.rule(),
            seed=(recipe.seed, part.place),
            label_space=label_space,
        )
        for part, batch_size in zip(corpus.parts, recipe.batch_sizes(), strict=True)
    )


def write_holdout(settings: DataSettings, root: Path, folder: Path) -> None:
    """Write what a source holds out to ``folder``, for ``seetell evaluate``.

    Questions as VQAv2 files, which name their photos relative to the source's image folder; labelled photos
    as an imagefolder of links. Raises RecipeError for a source that holds nothing out.
    """
    if settings.holdout is None:
        raise RecipeError(f"data: the source {settings.path} has no holdout")
    _, held = read_samples(settings, root)
    if settings.format == "imagefolder":
        _link_photos([record for one in held if (record := one.label_record()) is not None], folder)
        return
    records = [record for one in held for record in one.question_records()]
    images = root / settings.path / (settings.images or "images")
    write_vqa(records, folder / "questions_holdout.json", folder / "annotations_holdout.json", images)


def _link_photos(records: Sequence[LabelRecord[PhotoRef]], folder: Path) -> None:
    # Another rule, or other photos, would leave links of a run before behind.
    if folder.exists():
        shutil.rmtree(folder)
    for record in records:
        photo = ref_file(record.photo)
        link = folder / record.label / photo.name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(photo.resolve())
