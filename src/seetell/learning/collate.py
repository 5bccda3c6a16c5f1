"""From a step's number to its ``Batch``: draws rows, views photos, encodes texts, pads."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seetell.bundle.tokenizer import Tokenizer
from seetell.core.errors import DataError, ImageError
from seetell.data.photo_refs import ref_name
from seetell.learning.augmentation import names_a_side, random_part, random_view
from seetell.learning.batch import Batch, Captions, Labels, Names, Questions, Tags, TeacherInputs
from seetell.learning.frozen_maps import FrozenMaps, View, view_of
from seetell.learning.photos import PhotoCache
from seetell.learning.sources import Row, Source
from seetell.learning.teacher_inputs import SeenPhoto, Shown, TeacherReader
from seetell.media.preprocess import ImageSpec, preprocess

IGNORED = -100
# Photos looked at together, and threads that do, where maps are worked out ahead.
_TOGETHER, _LOOKING = 64, 3


class Collator:
    """Turns sources into batches; ``batch(step)`` depends on nothing but the step.

    mean, std: float32[3], of values in 0..1. size_at: the picture size in pixels at a step.
    image: how the model prepares photos, in place of ``size_at``, ``mean`` and ``std``; views are then random
    parts of the photo, prepared so. answers: answer -> place in the answer list. skip_unreadable: leave out
    photos that cannot be decoded, counting them in ``skipped``, instead of raising. share: (rank, count) of
    the processes that have one batch between them; this one's part is made. teacher: prepares the batch for
    the model that is learned from. frozen: makes the maps of frozen layers, in the place of pixels, of views
    that ``seed`` tells apart.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        tokenizer: Tokenizer,
        photos: PhotoCache,
        *,
        size_at: Callable[[int], int],
        mean: Sequence[float],
        std: Sequence[float],
        answers: Mapping[str, int],
        image: ImageSpec | None = None,
        skip_unreadable: bool = False,
        share: tuple[int, int] = (0, 1),
        teacher: TeacherReader | None = None,
        frozen: FrozenMaps | None = None,
        seed: int = 0,
    ) -> None:
        self._sources = tuple(sources)
        self._tokenizer = tokenizer
        self._photos = photos
        self._size_at = size_at
        self._mean = np.asarray(mean, dtype=np.float32)
        self._std = np.asarray(std, dtype=np.float32)
        # How views are prepared where ``image`` does not say it; the size is each step's own.
        self._own = ImageSpec(
            height=1, width=1, mean=(mean[0], mean[1], mean[2]), std=(std[0], std[1], std[2])
        )
        self._answers = answers
        self._image = image
        self._skip_unreadable = skip_unreadable
        self._rank, self._processes = share
        self._teacher = teacher
        self._frozen = frozen
        self._seed = seed
        self._lock = threading.Lock()
        self.skipped = 0

    def batch(self, step: int) -> Batch:
        """The batch of one step, counted from 0.

        Raises ImageError naming a photo that cannot be decoded (unless such photos are skipped), and
        DataError when no photo of the step could be.
        """
        mine = slice(self._rank, None, self._processes)
        drawn = [row for source in self._sources for row in source.draw(step)[mine]]
        if self._frozen is not None:
            return self._above(self._frozen, drawn, step)
        readable = [(row, photo) for row in drawn if (photo := self._photo(row)) is not None]
        if not readable:
            raise _nothing_readable(drawn, step)
        rows = [row for row, _ in readable]
        # A view uses up its random numbers, and the teacher is to see the same one.
        again = [copy.deepcopy(row.rng) for row in rows] if self._teacher is not None else []
        pixel_values, pixel_mask = self._views(readable, step)
        teacher: TeacherInputs | None = None
        if self._teacher is not None:
            photos = [
                SeenPhoto(row.photo, photo, row.rule, rng, _may_flip(row))
                for (row, photo), rng in zip(readable, again, strict=True)
            ]
            teacher = self._teacher.read(photos, self._shown(rows, pixel_values, pixel_mask))
        return Batch(
            keys=tuple(ref_name(row.photo) for row in rows),
            pixel_values=pixel_values,
            captions=self._captions(rows),
            questions=self._questions(rows),
            labels=_labels(rows),
            tags=self._tags(rows),
            names=self._names(rows),
            pixel_mask=pixel_mask,
            teacher=teacher,
        )

    def look_ahead(self, steps: range, tell: Callable[[int, int], None]) -> None:
        """Work out the maps of all views that these steps will show, where there are frozen layers: all at
        once takes less than a few beside each step. ``tell`` is told how many of how many are done.

        Raises what :meth:`batch` raises.
        """
        frozen = self._frozen
        if frozen is None:
            return
        mine = slice(self._rank, None, self._processes)
        unseen: dict[bytes, tuple[Row, View]] = {}
        for step in steps:
            rows = [row for source in self._sources for row in source.draw(step)[mine]]
            views = [view_of(row, self._seed, may_flip=_may_flip(row)) for row in rows]
            for place in frozen.missing(views):
                unseen.setdefault(views[place].key, (rows[place], views[place]))
        wanted = list(unseen.values())

        def learn(start: int) -> None:
            some = wanted[start : start + _TOGETHER]
            seen = [(view, photo) for row, view in some if (photo := self._photo(row)) is not None]
            frozen.learn([view for view, _ in seen], [photo for _, photo in seen])

        with ThreadPoolExecutor(_LOOKING) as pool:
            starts = range(0, len(wanted), _TOGETHER)
            for start, _ in zip(starts, pool.map(learn, starts), strict=True):
                tell(min(start + _TOGETHER, len(wanted)), len(wanted))
        # They are met again, and counted then.
        self.skipped = 0

    def _above(self, frozen: FrozenMaps, drawn: Sequence[Row], step: int) -> Batch:
        """The batch as the frozen layers see it. A photo is read only for views that were never met."""
        views = [view_of(row, self._seed, may_flip=_may_flip(row)) for row in drawn]
        unread: set[bytes] = set()
        new: list[View] = []
        photos: list[NDArray[np.uint8]] = []
        for place in frozen.missing(views):
            photo = self._photo(drawn[place])
            if photo is None:
                unread.add(views[place].key)
            else:
                new.append(views[place])
                photos.append(photo)
        frozen.learn(new, photos)
        kept = [place for place, view in enumerate(views) if view.key not in unread]
        rows = [drawn[place] for place in kept]
        if not rows:
            raise _nothing_readable(drawn, step)
        maps, mask = frozen.maps([views[place] for place in kept])
        return Batch(
            keys=tuple(ref_name(row.photo) for row in rows),
            pixel_values=torch.empty(0, 3, 1, 1),
            captions=self._captions(rows),
            questions=self._questions(rows),
            labels=_labels(rows),
            tags=self._tags(rows),
            names=self._names(rows),
            maps=maps,
            map_mask=mask,
            map_stage=frozen.stage,
        )

    def _shown(self, rows: Sequence[Row], pixel_values: Tensor, pixel_mask: Tensor | None) -> Shown:
        height, width = pixel_values.shape[2:]
        own = self._own.model_copy(update={"height": height, "width": width})
        return Shown(
            own if self._image is None else self._image,
            pixel_values,
            pixel_mask,
            tuple(text for row in rows for text, _ in row.captions),
            tuple(question for row in rows for question, _ in row.questions),
        )

    def _photo(self, row: Row) -> NDArray[np.uint8] | None:
        try:
            return self._photos.read(row.photo)
        except ImageError:
            if not self._skip_unreadable:
                raise
            with self._lock:
                self.skipped += 1
            return None

    def _views(
        self, readable: Sequence[tuple[Row, NDArray[np.uint8]]], step: int
    ) -> tuple[Tensor, Tensor | None]:
        if self._image is not None:
            parts = [
                random_part(photo, row.rule, row.rng, may_flip=_may_flip(row)) for row, photo in readable
            ]
            values, mask = preprocess(parts, self._image)
            return torch.from_numpy(values), None if mask is None else torch.from_numpy(mask)
        size = self._size_at(step)
        pixels = [
            random_view(
                photo, size, row.rule, row.rng, mean=self._mean, std=self._std, may_flip=_may_flip(row)
            )
            for row, photo in readable
        ]
        # [B, H, W, 3] seen as [B, 3, H, W] is what torch calls channels_last: no copy is made.
        return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2), None

    def _captions(self, rows: Sequence[Row]) -> Captions | None:
        found = [(text, language, place) for place, row in enumerate(rows) for text, language in row.captions]
        if not found:
            return None
        texts, languages, places = zip(*found, strict=True)
        ids, mask = self._encode(texts, self._tokenizer.spec.bos_id)
        return Captions(ids, mask, torch.tensor(places), tuple(languages))

    def _questions(self, rows: Sequence[Row]) -> Questions | None:
        found = [
            (question, answer, place) for place, row in enumerate(rows) for question, answer in row.questions
        ]
        if not found:
            return None
        questions, answers, places = zip(*found, strict=True)
        ids, mask = self._encode(questions, self._tokenizer.spec.bos_id)
        answer_ids, answer_mask = self._encode(answers, self._tokenizer.spec.answer_start_id)
        listed = torch.tensor([self._answers.get(answer, IGNORED) for answer in answers])
        return Questions(ids, mask, torch.tensor(places), answer_ids, answer_mask, listed)

    def _tags(self, rows: Sequence[Row]) -> Tags | None:
        """Photos with at least one answer that is in the answer list."""
        found: list[tuple[int, list[int]]] = []
        for place, row in enumerate(rows):
            listed = [self._answers[tag] for tag in row.tags if tag in self._answers]
            if listed:
                found.append((place, listed))
        if not found:
            return None
        target = torch.zeros(len(found), len(self._answers))
        for number, (_, listed) in enumerate(found):
            target[number, listed] = 1.0 / len(listed)
        return Tags(torch.tensor([place for place, _ in found]), target)

    def _names(self, rows: Sequence[Row]) -> tuple[Names, ...]:
        """One entry per way of naming: the rows of a source share theirs."""
        found: dict[tuple[str, ...], list[tuple[int, int]]] = {}
        for place, row in enumerate(rows):
            if row.named is not None:
                found.setdefault(row.named.names, []).append((place, row.named.place))
        named: list[Names] = []
        for texts, pairs in found.items():
            ids, mask = self._encode(texts, self._tokenizer.spec.bos_id)
            places, targets = zip(*pairs, strict=True)
            named.append(Names(torch.tensor(places), torch.tensor(targets), ids, mask))
        return tuple(named)

    def _encode(self, texts: Sequence[str], lead_id: int | None) -> tuple[Tensor, Tensor]:
        ids, mask = self._tokenizer.encode(texts, lead_id=lead_id)
        return torch.from_numpy(ids), torch.from_numpy(mask)


def _nothing_readable(drawn: Sequence[Row], step: int) -> DataError:
    names = f"{len(drawn)} photos can be read, the first is {ref_name(drawn[0].photo)}"
    return DataError(f"step {step}: none of its {names}")


def _may_flip(row: Row) -> bool:
    return not names_a_side(row.texts())


def _labels(rows: Sequence[Row]) -> Labels | None:
    found = [(place, row.label) for place, row in enumerate(rows) if row.label is not None]
    if not found:
        return None
    places, labels = zip(*found, strict=True)
    return Labels(torch.tensor(places), torch.tensor(labels))
