"""What a run measures itself on, read before its first step: what is not there costs no training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from seetell.core.errors import RecipeError
from seetell.data.photo_refs import PhotoRef
from seetell.data.records import CaptionRecord, LabelRecord, QuestionRecord
from seetell.learning.training.corpus import at_key, check_photos
from seetell.learning.training.reading import label_list, read_measured_samples, source_name
from seetell.learning.training.sections import DataSettings

# Enough photos to learn which figures there are, and few enough to cost seconds.
_FEW = 4


@dataclass(frozen=True, slots=True)
class MeasuredData:
    """A source that is measured on: its texts are held in memory, its photos are not.

    key: where the recipe names it, as in ``validate.data.0``. name: what it is called in metrics. captioned,
    asked, labelled: what it holds; labels: all labels of the source, also of photos that are not measured.
    """

    key: str
    name: str
    settings: DataSettings
    captioned: tuple[CaptionRecord[Any], ...] = ()
    asked: tuple[QuestionRecord[Any], ...] = ()
    labelled: tuple[LabelRecord[Any], ...] = ()
    labels: tuple[str, ...] = ()

    @property
    def photos(self) -> list[PhotoRef]:
        """The photo of each record."""
        return [one.photo for records in (self.captioned, self.asked, self.labelled) for one in records]

    def few(self) -> MeasuredData:
        """A few records of it that give the same figures by name as all of them do."""
        spoken: list[CaptionRecord[Any]] = []
        for language in self.settings.languages:
            spoken += [one for one in self.captioned if one.texts(language)][:_FEW]
        # There is VQA accuracy where a question has several answers, be it one among many.
        asked = sorted(self.asked, key=lambda one: -len(one.answers))[:_FEW]
        return replace(
            self,
            captioned=tuple(dict.fromkeys(spoken)),
            asked=tuple(asked),
            labelled=self.labelled[:_FEW],
        )


def read_measured(settings: DataSettings, root: Path, key: str, *, may_lack_photos: bool) -> MeasuredData:
    """Read a source to measure on. Raises DataError and UsageError, which name ``key``, for one that is not
    there or has nothing of the kind; where photos are lost too, unless ``may_lack_photos``."""
    with at_key(key):
        found = _read(settings, root, key)
        check_photos(found.photos, may_lack=may_lack_photos)
    return found


def _read(settings: DataSettings, root: Path, key: str) -> MeasuredData:
    samples = read_measured_samples(settings, root)
    captioned: list[CaptionRecord[Any]] = []
    asked: list[QuestionRecord[Any]] = []
    labelled: list[LabelRecord[Any]] = []
    named = settings.format == "imagefolder"
    for sample in samples:
        if "caption" in settings.tasks and sample.captions and not named:
            # A caption whose language nobody knows counts as one in the first.
            said = tuple((text, language or settings.languages[0]) for text, language in sample.captions)
            captioned.append(CaptionRecord(sample.photo, said, sample.identity))
        if "ask" in settings.tasks:
            asked += [one for one in sample.question_records() if one.answers]
        # Labels of other formats may be no names of what is seen.
        label = sample.label_record() if named or settings.templates else None
        if label is not None:
            labelled.append(label)
    if settings.format == "vqa" and not asked:
        raise RecipeError(f"{settings.path} has no questions to measure on; name another source")
    if captioned or settings.format == "coco_captions":
        _check_spoken(captioned, settings, all_of_them=settings.format == "coco_captions")
    # All of the source, also those of photos that are not measured.
    labels = label_list(settings, root) if labelled else ()
    return MeasuredData(
        key, source_name(settings, root), settings, tuple(captioned), tuple(asked), tuple(labelled), labels
    )


def _check_spoken(
    records: Sequence[CaptionRecord[Any]], settings: DataSettings, *, all_of_them: bool
) -> None:
    silent = [code for code in settings.languages if not any(one.texts(code) for one in records)]
    if silent and (all_of_them or len(silent) == len(settings.languages)):
        there = sorted({language for one in records for _, language in one.captions}) or ["none"]
        raise RecipeError(
            f"{settings.path} has no captions in {' or '.join(silent)}, only in {', '.join(there)}; "
            f"name those as its languages"
        )
