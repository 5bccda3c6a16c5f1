"""Sources of training photos: which photo comes at which place of which step, and with which texts.

Nothing here has a state. ``draw(step)`` is a function of the seed and the step alone, so that a run
killed anywhere goes on exactly where it was by knowing its step's number, and several threads may
prepare steps out of order. Each source goes through its photos in a new order every epoch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from seetell.core.errors import RecipeError
from seetell.data.photo_refs import PhotoRef
from seetell.data.records import AskedQuestion, CaptionRecord, LabelRecord, QuestionRecord
from seetell.learning.augmentation import Augmentation


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


class Shuffle:
    """An endless order over ``count`` places: a new permutation every epoch, by seed and epoch alone. No
    place comes twice in a step where there are as many as a step has rows."""

    def __init__(self, count: int, batch_size: int, seed: Sequence[int]) -> None:
        if count == 0:
            raise RecipeError("data: a source has no photos left to learn from")
        self.count = count
        self.batch_size = batch_size
        self._seed = tuple(seed)
        # Two epochs are in play around their border; a few more cover threads that run ahead.
        self._order = lru_cache(maxsize=4)(self._ordered)

    def places(self, step: int) -> list[int]:
        """The ``batch_size`` places of one step."""
        first = step * self.batch_size
        return [
            int(self._order(position // self.count)[position % self.count])
            for position in range(first, first + self.batch_size)
        ]

    def rng(self, step: int, row: int) -> np.random.Generator:
        """The random numbers of one row of one step."""
        return np.random.default_rng((*self._seed, 1, step, row))

    def step_rng(self, step: int) -> np.random.Generator:
        """The random numbers that all rows of one step share."""
        return np.random.default_rng((*self._seed, 2, step))

    def _ordered(self, epoch: int) -> NDArray[np.intp]:
        """The order of an epoch, which begins with none of the places that the step of its beginning has from
        the epoch before."""
        # With two steps' places an order's end does not depend on its beginning, and so on no order before.
        first = max(0, epoch - 1) if self.count >= 2 * self.batch_size else 0
        order = self._permutation(first)
        for number in range(first + 1, epoch + 1):
            order = self._apart(order, self._permutation(number), number)
        return order

    def _apart(self, last: NDArray[np.intp], order: NDArray[np.intp], epoch: int) -> NDArray[np.intp]:
        """``order`` of ``epoch``, with others than the end of ``last`` at its beginning."""
        ending = epoch * self.count % self.batch_size
        beginning = self.batch_size - ending
        if not ending or self.batch_size > self.count:
            return order
        fresh = np.flatnonzero(~np.isin(order, last[-ending:]))[:beginning]
        return np.concatenate([order[fresh], np.delete(order, fresh)])

    def _permutation(self, epoch: int) -> NDArray[np.intp]:
        return np.random.default_rng((*self._seed, 0, epoch)).permutation(self.count)


class CaptionSource:
    """Captioned photos. Each row carries ``captions_per_photo`` captions of each language, where the
    photo has that many, drawn without repetition."""

    def __init__(
        self,
        records: Sequence[CaptionRecord],
        *,
        batch_size: int,
        rule: Augmentation,
        seed: Sequence[int],
        languages: Sequence[str],
        captions_per_photo: int = 1,
    ) -> None:
        self._records = [record for record in records if any(record.texts(code) for code in languages)]
        self._shuffle = Shuffle(len(self._records), batch_size, seed)
        self._rule = rule
        self._languages = tuple(languages)
        self._per_photo = captions_per_photo
        self.num_photos = len(self._records)
        self.batch_size = batch_size

    def draw(self, step: int) -> list[Row]:
        """The rows of one step."""
        rows: list[Row] = []
        for row, place in enumerate(self._shuffle.places(step)):
            record, rng = self._records[place], self._shuffle.rng(step, row)
            captions = drawn_captions(record.captions, self._languages, self._per_photo, rng)
            rows.append(Row(record.photo, self._rule, rng, captions=captions))
        return rows


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


class QuestionSource:
    """Photos with questions. Each row carries up to ``questions_per_photo`` of its photo's questions,
    each with one of its answers.

    rare_answers: 0 draws a photo's questions evenly; 1 in inverse proportion to how common their answers are
    in the source; in between, to that power. Where most questions are answered yes or no, an even draw hardly
    ever asks the plain ones ("what shape is it?") that teach what to look at.
    """

    def __init__(
        self,
        records: Sequence[QuestionRecord],
        *,
        batch_size: int,
        rule: Augmentation,
        seed: Sequence[int],
        questions_per_photo: int = 4,
        rare_answers: float = 0.0,
    ) -> None:
        grouped: dict[Path, list[QuestionRecord]] = {}
        for record in records:
            if record.answers:
                grouped.setdefault(record.photo, []).append(record)
        self._photos = [
            (photo, asked, shares)
            for (photo, asked), shares in zip(
                grouped.items(), _draw_shares(grouped.values(), rare_answers), strict=True
            )
        ]
        self._shuffle = Shuffle(len(self._photos), batch_size, seed)
        self._rule = rule
        self._per_photo = questions_per_photo
        self.num_photos = len(self._photos)
        self.batch_size = batch_size

    def draw(self, step: int) -> list[Row]:
        """The rows of one step."""
        rows: list[Row] = []
        for row, place in enumerate(self._shuffle.places(step)):
            (photo, records, shares), rng = self._photos[place], self._shuffle.rng(step, row)
            asked = drawn_questions(records, self._per_photo, rng, shares)
            rows.append(Row(photo, self._rule, rng, questions=asked, tags=all_answers(records)))
        return rows


def drawn_questions(
    questions: Sequence[QuestionRecord] | Sequence[AskedQuestion],
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


def all_answers(questions: Sequence[QuestionRecord] | Sequence[AskedQuestion]) -> tuple[str, ...]:
    """Every answer given to any of the questions, once."""
    return tuple(dict.fromkeys(answer_text(answer) for one in questions for answer in one.answers))


def _draw_shares(
    photos: Iterable[Sequence[QuestionRecord]], rare_answers: float
) -> list[NDArray[np.float64]]:
    """For each photo, what share of its draws each of its questions gets, float64[questions], sum 1."""
    asked = list(photos)
    counts = Counter(answer_text(answer) for records in asked for one in records for answer in one.answers)
    shares: list[NDArray[np.float64]] = []
    for records in asked:
        # A question people answer differently is as common as its answers are on average.
        common = [np.mean([counts[answer_text(answer)] for answer in one.answers]) for one in records]
        weights = np.asarray(common, dtype=np.float64) ** -rare_answers
        shares.append(weights / weights.sum())
    return shares


class LabelSource:
    """Labelled photos, each with its label's number and its name among those of all labels.

    A step's names are in one language and one template, drawn for the whole step, so that they are encoded
    once.

    label_space: label -> number. templates: language -> templates, where "{}" marks the label; without any
    there are no names. names: language -> label -> its name in that language, where it is not the label.
    """

    def __init__(
        self,
        records: Sequence[LabelRecord],
        *,
        batch_size: int,
        rule: Augmentation,
        seed: Sequence[int],
        label_space: Mapping[str, int],
        templates: Mapping[str, Sequence[str]] | None = None,
        names: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        self._records = list(records)
        self._shuffle = Shuffle(len(self._records), batch_size, seed)
        self._rule = rule
        self._label_space = label_space
        self._own_labels = label_list(records)
        # Every way of naming all labels at once.
        self._namings = [
            tuple(
                template.replace("{}", label_name(label, language, names or {})) for label in self._own_labels
            )
            for language, texts in (templates or {}).items()
            for template in texts
        ]
        self.num_photos = len(self._records)
        self.batch_size = batch_size

    def draw(self, step: int) -> list[Row]:
        """The rows of one step."""
        rows: list[Row] = []
        naming: tuple[str, ...] = ()
        if self._namings:
            naming = self._namings[int(self._shuffle.step_rng(step).integers(len(self._namings)))]
        for row, place in enumerate(self._shuffle.places(step)):
            record, rng = self._records[place], self._shuffle.rng(step, row)
            named = Among(naming, self._own_labels.index(record.label)) if naming else None
            rows.append(
                Row(
                    record.photo,
                    self._rule,
                    rng,
                    label=self._label_space[record.label],
                    named=named,
                    label_text=record.label,
                )
            )
        return rows


class TemplateSource:
    """Labelled photos captioned by templates such as "a photo of a {}", one caption of each language.

    templates and names as for LabelSource.
    """

    def __init__(
        self,
        records: Sequence[LabelRecord],
        *,
        batch_size: int,
        rule: Augmentation,
        seed: Sequence[int],
        templates: Mapping[str, Sequence[str]],
        names: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        self._records = list(records)
        self._shuffle = Shuffle(len(self._records), batch_size, seed)
        self._rule = rule
        self._templates = dict(templates)
        self._names = dict(names or {})
        self.num_photos = len(self._records)
        self.batch_size = batch_size

    def draw(self, step: int) -> list[Row]:
        """The rows of one step."""
        rows: list[Row] = []
        for row, place in enumerate(self._shuffle.places(step)):
            record, rng = self._records[place], self._shuffle.rng(step, row)
            captions = tuple(
                (
                    templates[int(rng.integers(len(templates)))].replace(
                        "{}", label_name(record.label, language, self._names)
                    ),
                    language,
                )
                for language, templates in self._templates.items()
            )
            rows.append(Row(record.photo, self._rule, rng, captions=captions))
        return rows


def answer_text(answer: str) -> str:
    """An answer as it is taught: ``tape_dispenser`` is how a data set writes two words.

    The official VQA answer normalisation also reads an underscore as a space.
    """
    return " ".join(answer.replace("_", " ").lower().split())


def label_text(label: str) -> str:
    """A label as words: folders are named ``joshua_tree`` as often as ``joshua tree``."""
    return " ".join(label.replace("_", " ").split())


def label_name(label: str, language: str, names: Mapping[str, Mapping[str, str]]) -> str:
    """What a label is called in a language: as ``names`` says, else as its own words."""
    return names.get(language, {}).get(label) or label_text(label)


def answer_list(records: Iterable[QuestionRecord | AskedQuestion], size: int) -> tuple[str, ...]:
    """The ``size`` most common answers, most common first, ties in alphabetical order.

    A question counts once per distinct answer, so that ten people saying "yes" to one question weigh
    what one person saying it does.
    """
    counts: Counter[str] = Counter()
    for record in records:
        counts.update({answer_text(answer) for answer in record.answers})
    counts.pop("", None)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return tuple(answer for answer, _ in ordered[:size])


def label_list(records: Iterable[LabelRecord]) -> tuple[str, ...]:
    """All labels, sorted: the label space of the classification head."""
    return tuple(sorted({record.label for record in records}))
