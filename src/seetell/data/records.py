"""What a reader gives: a sample per photo with everything that is said about it, and views of it by what that
is: its captions, each question, its label.

Records name their photo by path and never open it: a missing or broken photo is found when it is
looked at, so that reading a million records costs no more than reading their text. Records out of shards
carry their photo's bytes instead (``CaptionRecord[bytes]``); a plain ``CaptionRecord`` has a path.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic

from typing_extensions import TypeVar

from seetell.data.photo_refs import PhotoRef

PhotoId = int | str

# Where a record's photo is: a path unless said otherwise.
P = TypeVar("P", default=Path, covariant=True)


@dataclass(frozen=True, slots=True)
class CaptionRecord(Generic[P]):
    """A photo and all its captions, as (text, language) pairs in the file's order."""

    photo: P
    captions: tuple[tuple[str, str], ...]
    photo_id: PhotoId

    def texts(self, language: str) -> tuple[str, ...]:
        """The captions in one language."""
        return tuple(text for text, spoken in self.captions if spoken == language)


@dataclass(frozen=True, slots=True)
class QuestionRecord(Generic[P]):
    """A question about a photo.

    answers: what people answered, one entry per person, empty where the file has no annotations.
    majority: the file's ``multiple_choice_answer``, where it has one.
    kind: what sort of question it is, as the file names it (``question_type``).
    word: what it asks about, where the file says so: "dog" in "is there a dog?".
    """

    photo: P
    question: str
    answers: tuple[str, ...]
    question_id: int | str
    photo_id: PhotoId
    majority: str | None = None
    kind: str | None = None
    word: str | None = None


@dataclass(frozen=True, slots=True)
class LabelRecord(Generic[P]):
    """A photo and the one label it carries."""

    photo: P
    label: str


@dataclass(frozen=True, slots=True)
class AskedQuestion:
    """A question of a :class:`Sample`; the fields of :class:`QuestionRecord` less its photo. place: among the
    questions of its file, whose order need not be the photos'; None where nobody says."""

    question: str
    answers: tuple[str, ...]
    question_id: int | str
    majority: str | None = None
    kind: str | None = None
    word: str | None = None
    place: int | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Sample(Generic[P]):
    """One photo with everything that is said about it.

    key: its name, unique within its source. captions: (text, language) pairs; an empty language is not known.
    split: as the source names it (``train``, ``dev``), None where it has no splits. photo_id: as the source
    numbers its photos, None where it does not.
    """

    key: str
    photo: P
    captions: tuple[tuple[str, str], ...] = ()
    questions: tuple[AskedQuestion, ...] = ()
    label: str | None = None
    split: str | None = None
    photo_id: PhotoId | None = None

    @property
    def identity(self) -> PhotoId:
        """Its photo's id, or else its key."""
        return self.key if self.photo_id is None else self.photo_id

    def caption_record(self) -> CaptionRecord[P] | None:
        """Its captions; None if it has none."""
        return CaptionRecord(self.photo, self.captions, self.identity) if self.captions else None

    def question_records(self) -> tuple[QuestionRecord[P], ...]:
        """Its questions, one record each."""
        return tuple(
            QuestionRecord(
                self.photo,
                one.question,
                one.answers,
                one.question_id,
                self.identity,
                one.majority,
                one.kind,
                one.word,
            )
            for one in self.questions
        )

    def label_record(self) -> LabelRecord[P] | None:
        """Its label; None if it has none."""
        return None if self.label is None else LabelRecord(self.photo, self.label)


@dataclass(frozen=True, slots=True)
class BrokenRecord:
    """An entry of a source that says nothing usable: where it stands, and what is wrong with it."""

    where: str
    message: str


Item = Sample[PhotoRef] | BrokenRecord
