"""Sources of training photos: which photo comes at which place of which step, and with which texts.

Nothing here has a state. ``draw(step)`` is a function of the seed and the step alone, so that a run
killed anywhere goes on exactly where it was by knowing its step's number, and several threads may
prepare steps out of order. Each source goes through its photos in a new order every epoch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from seetell.core.errors import RecipeError
from seetell.data.photo_refs import PhotoRef
from seetell.data.records import AskedQuestion, Sample
from seetell.learning.augmentation import Augmentation
from seetell.learning.samples import Samples, Wanted
from seetell.learning.wording import all_answers, answer_text, label_name, namings


@dataclass(frozen=True, slots=True)
class Among:
    """One label among all of its source: their names in one language and template, and its place."""

    names: tuple[str, ...]
    place: int


@dataclass(frozen=True, slots=True)
class Row:
    """One photo of one step, with what goes with it.

    captions: (text, language) pairs. questions: (question, answer) pairs. tags: every answer given about
    the photo, to these questions and others, once each. label: its place in the label space; named: the
    same by name; label_text: the label as its data set writes it. rng: the source of this row's random view,
    independent of every other row's.
    """

    photo: PhotoRef
    rule: Augmentation
    rng: np.random.Generator
    captions: tuple[tuple[str, str], ...] = ()
    questions: tuple[tuple[str, str], ...] = ()
    tags: tuple[str, ...] = ()
    label: int | None = None
    named: Among | None = None
    label_text: str | None = None

    def texts(self) -> Iterable[str]:
        """Every text that speaks about the photo."""
        yield from (text for text, _ in self.captions)
        for question, answer in self.questions:
            yield question
            yield answer
        yield from self.tags
        if self.named is not None:
            yield self.named.names[self.named.place]
        if self.label_text is not None:
            # A folder's name has no blanks: turn_left.
            yield self.label_text.replace("_", " ")


class Source(Protocol):
    """What the collator reads from: ``num_photos`` an epoch, ``batch_size`` rows a step."""

    @property
    def num_photos(self) -> int:
        """Photos in one pass over the source."""
        ...

    @property
    def batch_size(self) -> int:
        """Rows given per step."""
        ...

    def draw(self, step: int) -> list[Row]:
        """The rows of one step, counted from 0."""
        ...


class SampleSource:
    """Samples, in memory or in shards, with what ``wanted`` says; one that has none of it is passed over.

    A row carries ``captions_per_photo`` captions of each language and ``questions_per_photo`` questions,
    where the photo has that many, drawn without repetition; each question with one of its answers. A step's
    labels are named in one language and one template, drawn for the whole step: they are encoded once.

    label_space: label -> number.
    """

    def __init__(
        self,
        samples: Samples,
        wanted: Wanted,
        *,
        batch_size: int,
        rule: Augmentation,
        seed: Sequence[int],
        label_space: Mapping[str, int] | None = None,
    ) -> None:
        if not samples.count:
            raise RecipeError("data: a source has no photos left to learn from")
        self._wanted = wanted
        self._rule = rule
        self._seed = tuple(seed)
        self._label_space = label_space or {}
        self._drawn = samples.draw(batch_size, seed)
        # Every way of naming all labels at once.
        self._places = {label: place for place, label in enumerate(samples.labels)}
        self._namings = namings(samples.labels, wanted.templates, wanted.names) if wanted.labels else []
        self.num_photos = samples.count
        self.batch_size = batch_size

    def draw(self, step: int) -> list[Row]:
        """The rows of one step. Raises DataError for a shard that is not what it was."""
        naming: tuple[str, ...] = ()
        if self._namings:
            naming = self._namings[int(self._rng(2, step).integers(len(self._namings)))]
        return [
            self._row(sample, shares, self._rng(1, step, row), naming)
            for row, (sample, shares) in enumerate(self._drawn(step))
        ]

    def _rng(self, *place: int) -> np.random.Generator:
        """The random numbers of one row of one step, or those that all rows of a step share."""
        return np.random.default_rng((*self._seed, *place))

    def _row(
        self,
        sample: Sample[PhotoRef],
        shares: NDArray[np.float64] | None,
        rng: np.random.Generator,
        naming: tuple[str, ...],
    ) -> Row:
        wanted = self._wanted
        captions: tuple[tuple[str, str], ...] = ()
        if wanted.captioned_by_label:
            captions = _named_captions(sample, wanted, rng)
        elif wanted.languages:
            known = wanted.captions(sample)
            captions = drawn_captions(known, wanted.languages, wanted.captions_per_photo, rng)
        questions: tuple[tuple[str, str], ...] = ()
        asked = wanted.questions(sample)
        if asked:
            questions = drawn_questions(asked, wanted.questions_per_photo, rng, shares)
        label = self._label_space.get(sample.label) if wanted.labels and sample.label is not None else None
        text = None if label is None else sample.label
        named = Among(naming, self._places[text]) if naming and text is not None else None
        return Row(sample.photo, self._rule, rng, captions, questions, all_answers(asked), label, named, text)


def drawn_captions(
    captions: Sequence[tuple[str, str]], languages: Sequence[str], per_photo: int, rng: np.random.Generator
) -> tuple[tuple[str, str], ...]:
    """Up to ``per_photo`` of the (text, language) pairs of each language, without repetition."""
    drawn: list[tuple[str, str]] = []
    for language in languages:
        texts = [text for text, spoken in captions if spoken == language]
        chosen = rng.permutation(len(texts))[:per_photo]
        drawn.extend((texts[int(index)], language) for index in chosen)
    return tuple(drawn)


def drawn_questions(
    questions: Sequence[AskedQuestion],
    per_photo: int,
    rng: np.random.Generator,
    shares: NDArray[np.float64] | None = None,
) -> tuple[tuple[str, str], ...]:
    """Up to ``per_photo`` of the questions, all of which have answers, each with one of them.

    shares: float64[questions], what part of the draws each gets; None for equal ones.
    """
    drawn: list[tuple[str, str]] = []
    count = min(per_photo, len(questions))
    for index in rng.choice(len(questions), count, replace=False, p=shares):
        one = questions[int(index)]
        answer = one.answers[int(rng.integers(len(one.answers)))]
        drawn.append((one.question, answer_text(answer)))
    return tuple(drawn)


def _named_captions(
    sample: Sample[Any], wanted: Wanted, rng: np.random.Generator
) -> tuple[tuple[str, str], ...]:
    """A caption of each language in which the label is named, in one of its templates."""
    return tuple(
        (
            templates[int(rng.integers(len(templates)))].replace(
                "{}", label_name(sample.label or "", language, wanted.names)
            ),
            language,
        )
        for language, templates in wanted.templates.items()
    )
