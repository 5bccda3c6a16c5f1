"""Training photos out of prepared shards: read as they are needed, in an order that has no state.

An epoch takes the shards in a new order, a window of some of them at a time, and mixes the samples of a
window. Where the sample at any place of any epoch is follows from the seed and the number of samples in each
shard alone, so that a run goes on in the middle of an epoch by knowing its step, as with every other source.
In memory are the indexes of a window's shards (about 60 bytes a sample), never photos or texts; on the disk,
reads stay within a window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from seetell.core.errors import RecipeError
from seetell.data.shard_index import ShardIndex
from seetell.data.shards import Shards
from seetell.learning.augmentation import Augmentation
from seetell.learning.sources import Row, all_answers, drawn_captions, drawn_questions


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is taught of a sample: captions in ``languages`` (the first also stands for a language that is not
    known), up to ``captions_per_photo`` of each; up to ``questions_per_photo`` questions; its label. Empty, 0
    or false for what is not."""

    languages: tuple[str, ...] = ()
    captions_per_photo: int = 1
    questions_per_photo: int = 0
    labels: bool = False

    def usable(self, index: ShardIndex) -> NDArray[np.int64]:
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


@dataclass(frozen=True, slots=True)
class Contents:
    """What is usable in shards. counts: int64[shards], samples of each. captioned, answered: whether there is
    a caption and a question with an answer. labels: every label, sorted. digests: of what each shard was made
    from."""

    counts: NDArray[np.int64]
    captioned: bool
    answered: bool
    labels: tuple[str, ...]
    digests: tuple[str, ...]


def read_contents(shards: Shards, wanted: Wanted, limit: int | None = None) -> Contents:
    """Look into every sidecar, and into no shard. ``limit``: the first so many usable samples only.

    Raises DataError for a shard that is missing, damaged or changed, and MissingExtra without pyarrow.
    """
    counts: list[int] = []
    labels: set[str] = set()
    digests: list[str] = []
    captioned, answered, left = False, False, limit
    for place in range(len(shards.paths)):
        index = shards.index(place)
        count = len(wanted.usable(index))
        if left is not None:
            count = min(count, left)
            left -= count
        counts.append(count)
        digests.append(index.digest)
        captioned |= bool(wanted.captioned(index).any())
        answered |= bool(wanted.answered(index).any())
        labels.update(label for label in index.labels if label is not None and wanted.labels)
    return Contents(
        np.array(counts, dtype=np.int64), captioned, answered, tuple(sorted(labels)), tuple(digests)
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Epoch:
    """windows: the shards of each. ends: int64[windows], how many samples there are up to its end."""

    windows: tuple[NDArray[np.int64], ...]
    ends: NDArray[np.int64]


class ShardOrder:
    """An endless order over the samples of shards: all of them every epoch, mixed within windows of shards.

    counts: int64[shards], samples of each. window: how many shards are mixed.
    """

    def __init__(self, counts: NDArray[np.int64], window: int, seed: Sequence[int]) -> None:
        self.counts = counts
        self.total = int(counts.sum())
        self._window = window
        self._seed = tuple(seed)
        # Threads that run ahead are in the next epoch or window before others have left the last.
        self._epoch = lru_cache(maxsize=4)(self._new_epoch)
        self._mixed = lru_cache(maxsize=4)(self._new_window)

    def at(self, position: int) -> tuple[int, int]:
        """(shard, which of its samples) at a place of the endless order."""
        epoch, place = divmod(position, self.total)
        found = self._epoch(epoch)
        number = int(np.searchsorted(found.ends, place, side="right"))
        before = int(found.ends[number - 1]) if number else 0
        shard, sample = self._mixed(epoch, number)[place - before]
        return int(shard), int(sample)

    def _new_epoch(self, epoch: int) -> _Epoch:
        order = np.random.default_rng((*self._seed, 0, epoch)).permutation(len(self.counts))
        number = -(-len(order) // self._window)
        windows = tuple(np.array_split(order, number))
        return _Epoch(windows, np.cumsum([self.counts[one].sum() for one in windows]))

    def _new_window(self, epoch: int, number: int) -> NDArray[np.int64]:
        """int64[samples, 2]: shard and sample, mixed."""
        shards = self._epoch(epoch).windows[number]
        counts = self.counts[shards]
        pairs = np.stack(
            [np.repeat(shards, counts), np.concatenate([np.arange(count) for count in counts])], axis=1
        )
        random = np.random.default_rng((*self._seed, 3, epoch, number))
        return random.permutation(pairs, axis=0)


class ShardSource:
    """Samples of shards with what ``wanted`` says; one that has none of it is passed over.

    label_space: label -> number. window: how many shards are mixed at a time.
    """

    def __init__(
        self,
        shards: Shards,
        counts: NDArray[np.int64],
        wanted: Wanted,
        *,
        batch_size: int,
        rule: Augmentation,
        seed: Sequence[int],
        window: int,
        label_space: dict[str, int] | None = None,
    ) -> None:
        if not counts.sum():
            raise RecipeError("data: the shards have no photos left to learn from")
        self._shards = shards
        self._wanted = wanted
        self._rule = rule
        self._seed = tuple(seed)
        self._label_space = label_space or {}
        self._order = ShardOrder(counts, window, seed)
        self.num_photos = self._order.total
        self.batch_size = batch_size
        # Around the border of two windows, shards of both are in play.
        self._opened = lru_cache(maxsize=2 * window + 2)(self._open)

    def draw(self, step: int) -> list[Row]:
        """The rows of one step. Raises DataError for a shard that is not what it was."""
        first = step * self.batch_size
        return [self._row(first + row, step, row) for row in range(self.batch_size)]

    def _row(self, position: int, step: int, row: int) -> Row:
        shard, number = self._order.at(position)
        index, usable = self._opened(shard)
        sample = index.sample(int(usable[number]))
        rng = np.random.default_rng((*self._seed, 1, step, row))
        wanted = self._wanted
        captions: tuple[tuple[str, str], ...] = ()
        if wanted.languages:
            known = [(text, language or wanted.languages[0]) for text, language in sample.captions]
            captions = drawn_captions(known, wanted.languages, wanted.captions_per_photo, rng)
        questions: tuple[tuple[str, str], ...] = ()
        tags: tuple[str, ...] = ()
        answered = [one for one in sample.questions if one.answers]
        if wanted.questions_per_photo and answered:
            questions = drawn_questions(answered, wanted.questions_per_photo, rng)
            tags = all_answers(answered)
        label = self._label_space.get(sample.label) if wanted.labels and sample.label is not None else None
        text = None if label is None else sample.label
        return Row(sample.photo, self._rule, rng, captions, questions, tags, label, label_text=text)

    def _open(self, shard: int) -> tuple[ShardIndex, NDArray[np.int64]]:
        index = self._shards.index(shard)
        return index, self._wanted.usable(index)
