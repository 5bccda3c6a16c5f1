"""Splitting questions or labelled photos into a part to learn from and a part held out, by photo.

A photo's questions always fall on one side, whatever the rule: questions about one photo share their
answers' evidence, and splitting them would leak.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from seetell.core.errors import DataError, UsageError
from seetell.data.records import PhotoId


@dataclass(frozen=True, slots=True)
class Holdout:
    """Which photos are held out: ``photo_id % modulo == remainder``, or the last fraction by id.

    The last fraction serves photos whose neighbours by number show the same scene, where a random
    part would leak. Raises UsageError unless exactly one rule is given in full.
    """

    modulo: int | None = None
    remainder: int | None = None
    last_fraction: float | None = None

    def __post_init__(self) -> None:
        by_remainder = self.modulo is not None and self.remainder is not None
        partial = (self.modulo is None) != (self.remainder is None)
        if partial or by_remainder == (self.last_fraction is not None):
            raise UsageError("a holdout is either modulo and remainder, or last_fraction")
        if (
            self.modulo is not None
            and self.remainder is not None
            and not (self.modulo > 1 and 0 <= self.remainder < self.modulo)
        ):
            raise UsageError(f"holdout: remainder {self.remainder} must lie in 0..modulo-1, modulo above 1")
        if self.last_fraction is not None and not 0 < self.last_fraction < 1:
            raise UsageError(f"holdout: last_fraction {self.last_fraction} must lie between 0 and 1")


class _Numbered(Protocol):
    @property
    def photo_id(self) -> PhotoId | None: ...


class _Labelled(Protocol):
    @property
    def label(self) -> str | None: ...


N = TypeVar("N", bound=_Numbered)
L = TypeVar("L", bound=_Labelled)


def split_holdout(records: Sequence[N], rule: Holdout) -> tuple[list[N], list[N]]:
    """(records to learn from, records held out), each in the given order. Raises DataError."""
    held = _held_photos({record.photo_id for record in records}, rule)
    kept = [record for record in records if record.photo_id not in held]
    return kept, [record for record in records if record.photo_id in held]


def split_labelled_holdout(records: Sequence[L], rule: Holdout) -> tuple[list[L], list[L]]:
    """(records to learn from, records held out), each in the given order.

    Labelled photos have no numbers of their own: each label's are numbered from 0 as they come, so that
    every label gives its share.
    """
    places: dict[str | None, list[int]] = {}
    for place, record in enumerate(records):
        places.setdefault(record.label, []).append(place)
    held = {own[number] for own in places.values() for number in _held_numbers(range(len(own)), rule)}
    kept = [record for place, record in enumerate(records) if place not in held]
    return kept, [record for place, record in enumerate(records) if place in held]


def _held_photos(photo_ids: set[PhotoId | None], rule: Holdout) -> set[PhotoId | None]:
    numbers: dict[int, PhotoId | None] = {}
    for photo_id in photo_ids:
        if photo_id is None or not str(photo_id).isdecimal():
            raise DataError(f"photo {photo_id!r}: a holdout needs photos that are numbered")
        numbers[int(photo_id)] = photo_id
    return {numbers[number] for number in _held_numbers(numbers, rule)}


def _held_numbers(numbers: Iterable[int], rule: Holdout) -> set[int]:
    if rule.modulo is not None:
        return {number for number in numbers if number % rule.modulo == rule.remainder}
    ordered = sorted(numbers)
    count = round(len(ordered) * (rule.last_fraction or 0.0))
    return set(ordered[len(ordered) - count :])
