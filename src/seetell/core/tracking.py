"""Showing progress: whoever does something long takes a function that counts its items."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

T = TypeVar("T")


class Track(Protocol):
    """Shows progress: gives the items on as they come, and counts them under ``label``. total: how many there
    are, None where that is not known."""

    def __call__(self, items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]: ...


def untracked(items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
    """The Track that shows nothing."""
    return iter(items)
