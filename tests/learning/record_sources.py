"""Sources of training photos made of records, for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from seetell.data.records import AskedQuestion, CaptionRecord, LabelRecord, QuestionRecord, Sample
from seetell.learning.samples import HeldSamples, Wanted
from seetell.learning.sources import SampleSource


def source_of(samples: Sequence[Sample[Any]], wanted: Wanted, **settings: Any) -> SampleSource:
    return SampleSource(HeldSamples(samples, wanted), wanted, **settings)


def of_captions(
    records: Sequence[CaptionRecord],
    *,
    languages: Sequence[str],
    captions_per_photo: int = 1,
    **settings: Any,
) -> SampleSource:
    samples = [Sample(str(one.photo), one.photo, one.captions, photo_id=one.photo_id) for one in records]
    return source_of(samples, Wanted(tuple(languages), captions_per_photo), **settings)


def of_questions(
    records: Sequence[QuestionRecord],
    *,
    questions_per_photo: int = 4,
    rare_answers: float = 0.0,
    **settings: Any,
) -> SampleSource:
    asked: dict[Path, list[AskedQuestion]] = {}
    for one in records:
        asked.setdefault(one.photo, []).append(AskedQuestion(one.question, one.answers, one.question_id))
    samples = [Sample(str(photo), photo, questions=tuple(own)) for photo, own in asked.items()]
    wanted = Wanted(questions_per_photo=questions_per_photo, rare_answers=rare_answers)
    return source_of(samples, wanted, **settings)


def of_labels(
    records: Sequence[LabelRecord],
    *,
    templates: Mapping[str, Sequence[str]] | None = None,
    names: Mapping[str, Mapping[str, str]] | None = None,
    captions: bool = False,
    **settings: Any,
) -> SampleSource:
    """``captions``: the templates caption the photos, and the labels are not taught."""
    samples = [Sample(str(one.photo), one.photo, label=one.label) for one in records]
    wanted = Wanted(
        labels=not captions, captioned_by_label=captions, templates=templates or {}, names=names or {}
    )
    return source_of(samples, wanted, **settings)
