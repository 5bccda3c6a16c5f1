"""Samples to learn from, in memory or in prepared shards, and what is taught of them."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from seetell.data.photo_refs import ParquetCell, PhotoRef
from seetell.data.records import AskedQuestion, Sample
from seetell.data.shard_index import ShardIndex
from seetell.data.shards import Shards
from seetell.learning.orders import ShardOrder, Shuffle
from seetell.learning.wording import answer_text

# What is drawn of one step, counted from 0: samples, each with the share of its draws that each of its
# answered questions gets, float64[questions], sum 1; None for equal ones.
Draw = Callable[[int], list[tuple[Sample[PhotoRef], NDArray[np.float64] | None]]]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is taught of a sample; empty, 0 or false for what is not.

    languages: of captions; the first also stands for a language that is not known. captions_per_photo: of
    each language. rare_answers: 0 draws a photo's questions evenly; 1 in inverse proportion to how common
    their answers are in the source; in between, to that power. Where most questions are answered yes or no,
    an even draw hardly ever asks the plain ones ("what shape is it?") that teach what to look at.
    labels: its label. captioned_by_label: captions by ``templates`` in the label's place.
    templates: language -> texts with "{}" where the label goes, by which labels are told apart.
    names: language -> label -> its name in that language, where it is not the label.
    """

    languages: tuple[str, ...] = ()
    captions_per_photo: int = 1
    questions_per_photo: int = 0
    rare_answers: float = 0.0
    labels: bool = False
    captioned_by_label: bool = False
    templates: Mapping[str, Sequence[str]] = field(default_factory=dict)
    names: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def captions(self, sample: Sample[Any]) -> list[tuple[str, str]]:
        """(caption, language) in the languages that are taught."""
        if not self.languages:
            return []
        known = ((text, language or self.languages[0]) for text, language in sample.captions)
        return [(text, language) for text, language in known if language in self.languages]

    def questions(self, sample: Sample[Any]) -> list[AskedQuestion]:
        """The questions with an answer, where any are taught."""
        return [one for one in sample.questions if one.answers] if self.questions_per_photo else []

    def uses(self, sample: Sample[Any]) -> bool:
        """Whether the sample has anything that is taught."""
        label = (self.labels or self.captioned_by_label) and sample.label is not None
        return label or bool(self.captions(sample) or self.questions(sample))

    def used(self, index: ShardIndex) -> NDArray[np.int64]:
        """int64[m]: the samples of a shard that have any of it, in order."""
        return np.flatnonzero(self.captioned(index) | self.answered(index) | self.labelled(index))

    def captioned(self, index: ShardIndex) -> NDArray[np.bool_]:
        """bool[n]: which samples of a shard have a caption in one of the languages."""
        spoken = {*self.languages, ""} if self.languages else set()
        return np.array([not spoken.isdisjoint(codes) for codes in index.languages], dtype=bool)

    def answered(self, index: ShardIndex) -> NDArray[np.bool_]:
        """bool[n]: which have a question with an answer."""
        return (index.n_answered > 0) & (self.questions_per_photo > 0)

    def labelled(self, index: ShardIndex) -> NDArray[np.bool_]:
        """bool[n]: which have a label."""
        return np.array([label is not None and self.labels for label in index.labels], dtype=bool)


class Samples(Protocol):
    """Where a source's samples are.

    count: those that have anything that is taught. captioned, answered: whether any has a caption, a question
    with an answer. labels: of all that are usable, sorted.
    """

    @property
    def count(self) -> int: ...
    @property
    def captioned(self) -> bool: ...
    @property
    def answered(self) -> bool: ...
    @property
    def labels(self) -> tuple[str, ...]: ...

    def __iter__(self) -> Iterator[Sample[PhotoRef]]:
        """Every sample, also those that have nothing of what is taught."""
        ...

    def texts(self) -> Iterator[str]:
        """The captions and questions that are taught, and all answers to these."""
        ...

    def draw(self, batch_size: int, seed: Sequence[int]) -> Draw:
        """The samples of any step, each of them once an epoch."""
        ...

    def state(self) -> Any:
        """What JSON can hold of how they are ordered."""
        ...

    def digest(self) -> str:
        """Of the photos' names and texts, the same wherever they are; empty where :meth:`state` says it."""
        ...


class HeldSamples:
    """Samples in memory, their photos where they are."""

    def __init__(self, samples: Sequence[Sample[PhotoRef]], wanted: Wanted) -> None:
        self._samples = tuple(samples)
        self._wanted = wanted
        self._used = [one for one in self._samples if wanted.uses(one)]
        self._shares = _draw_shares([wanted.questions(one) for one in self._used], wanted.rare_answers)
        self.count = len(self._used)
        self.captioned = any(map(wanted.captions, self._samples))
        self.answered = any(map(wanted.questions, self._samples))
        named = self._used if wanted.labels or wanted.captioned_by_label else ()
        self.labels = tuple(sorted({one.label for one in named if one.label is not None}))

    def __iter__(self) -> Iterator[Sample[PhotoRef]]:
        return iter(self._samples)

    def texts(self) -> Iterator[str]:
        """Captions first, then questions in the order of their file."""
        for sample in self._samples:
            yield from (text for text, _ in self._wanted.captions(sample))
        if self._wanted.questions_per_photo:
            yield from _texts_of(one for _, one in self._questions())

    def _questions(self) -> list[tuple[Sample[PhotoRef], AskedQuestion]]:
        found = [(sample, one) for sample in self._samples for one in sample.questions]
        return sorted(found, key=lambda pair: pair[1].place or 0)

    def draw(self, batch_size: int, seed: Sequence[int]) -> Draw:
        """The samples of any step."""
        order = Shuffle(self.count, batch_size, seed)
        return lambda step: [(self._used[place], self._shares[place]) for place in order.places(step)]

    def state(self) -> int:
        """How many records there are."""
        return sum(1 for _ in self._identities())

    def digest(self) -> str:
        """Of all records."""
        digest = hashlib.sha256()
        for row in self._identities():
            digest.update(json.dumps(row).encode())
        return digest.hexdigest()

    def _identities(self) -> Iterator[tuple[Any, ...]]:
        """What JSON can hold of each record, wherever its photo is."""
        for sample in self._samples:
            if sample.captions:
                yield sample.identity, _name(sample.photo), sample.captions
            if sample.label is not None:
                yield sample.label, _name(sample.photo)
        for sample, one in self._questions():
            yield one.question_id, sample.identity, _name(sample.photo), one.question, one.answers


def _draw_shares(
    photos: Sequence[Sequence[AskedQuestion]], rare_answers: float
) -> list[NDArray[np.float64] | None]:
    """For each photo, what share of its draws each of its questions gets; None for one without any."""
    counts = Counter(answer_text(answer) for asked in photos for one in asked for answer in one.answers)
    shares: list[NDArray[np.float64] | None] = []
    for asked in photos:
        # A question people answer differently is as common as its answers are on average.
        common = [np.mean([counts[answer_text(answer)] for answer in one.answers]) for one in asked]
        weights = np.asarray(common, dtype=np.float64) ** -rare_answers
        shares.append(weights / weights.sum() if asked else None)
    return shares


def _texts_of(questions: Iterable[AskedQuestion]) -> Iterator[str]:
    for one in questions:
        yield one.question
        yield from (answer_text(answer) for answer in one.answers)


def _name(photo: PhotoRef) -> str:
    if isinstance(photo, ParquetCell):
        return f"{photo.path.name} {photo.row_group} {photo.row}"
    return photo.name


class ShardSamples:
    """Samples of prepared shards, read as they are needed.

    In memory are the indexes of a window's shards (about 60 bytes a sample), never photos or texts; on the
    disk, reads stay within a window. ``window``: how many shards are mixed at a time. ``limit``: the first so
    many usable samples only.

    Raises DataError for a shard that is missing, damaged or changed, and MissingExtra without pyarrow.
    """

    def __init__(self, shards: Shards, wanted: Wanted, *, window: int, limit: int | None = None) -> None:
        self._shards = shards
        self._wanted = wanted
        self._window = window
        counts: list[int] = []
        labels: set[str] = set()
        digests: list[str] = []
        self.captioned, self.answered, left = False, False, limit
        # Every sidecar is looked into, and no shard.
        for place in range(len(shards.paths)):
            index = shards.index(place)
            count = len(wanted.used(index))
            if left is not None:
                count = min(count, left)
                left -= count
            counts.append(count)
            digests.append(index.digest)
            self.captioned |= bool(wanted.captioned(index).any())
            self.answered |= bool(wanted.answered(index).any())
            labels.update(label for label in index.labels if label is not None and wanted.labels)
        self.counts: NDArray[np.int64] = np.array(counts, dtype=np.int64)
        self.count = int(self.counts.sum())
        self.labels = tuple(sorted(labels))
        self._digest = hashlib.sha256("\n".join(digests).encode()).hexdigest()
        # Around the border of two windows, shards of both are in play.
        self._opened = lru_cache(maxsize=2 * window + 2)(self._open)

    def __iter__(self) -> Iterator[Sample[PhotoRef]]:
        for sample, _ in self._shards.read_refs():
            yield sample

    def texts(self) -> Iterator[str]:
        """Sample by sample, read from end to end."""
        for sample in self:
            yield from (text for text, _ in self._wanted.captions(sample))
            if self._wanted.questions_per_photo:
                yield from _texts_of(sample.questions)

    def draw(self, batch_size: int, seed: Sequence[int]) -> Draw:
        """The samples of any step. Drawing raises DataError for a shard that is not what it was."""
        order = ShardOrder(self.counts, self._window, batch_size, seed)
        return lambda step: [(self._sample(*place), None) for place in order.places(step)]

    def _sample(self, shard: int, number: int) -> Sample[PhotoRef]:
        index, used = self._opened(shard)
        return index.sample(int(used[number]))

    def _open(self, shard: int) -> tuple[ShardIndex, NDArray[np.int64]]:
        index = self._shards.index(shard)
        return index, self._wanted.used(index)

    def state(self) -> list[Any]:
        """What the order depends on, and what the shards were made from."""
        return [self.counts.tolist(), self._digest, self._window]

    def digest(self) -> str:
        """Empty: the state has what they were made from."""
        return ""
