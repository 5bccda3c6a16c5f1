"""What a reader gives: one frozen record per captioned photo, question or labelled photo.

Records name their photo by path and never open it: a missing or broken photo is found when it is
looked at, so that reading a million records costs no more than reading their text.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PhotoId = int | str


@dataclass(frozen=True, slots=True)
class CaptionRecord:
    """A photo and all its captions, as (text, language) pairs in the file's order."""

    photo: Path
    captions: tuple[tuple[str, str], ...]
    photo_id: PhotoId

    def texts(self, language: str) -> tuple[str, ...]:
        """The captions in one language."""
        return tuple(text for text, spoken in self.captions if spoken == language)


@dataclass(frozen=True, slots=True)
class QuestionRecord:
    """A question about a photo.

    answers: what people answered, one entry per person, empty where the file has no annotations.
    majority: the file's ``multiple_choice_answer``, where it has one.
    """

    photo: Path
    question: str
    answers: tuple[str, ...]
    question_id: int | str
    photo_id: PhotoId
    majority: str | None = None


@dataclass(frozen=True, slots=True)
class LabelRecord:
    """A photo and the one label it carries."""

    photo: Path
    label: str
