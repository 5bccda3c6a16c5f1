"""Results of a predict function, one for each input, with the failed ones apart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from seetell.core.errors import DataError, UsageError
from seetell.core.results import Failure

T = TypeVar("T")


def results(stream: Iterable[T | Failure], photos: Sequence[Path], failed: list[Failure]) -> list[T | None]:
    """One result per photo, None for a failed one, which is added to ``failed``.

    Raises DataError if all failed: then it is the folder that is wrong, and a row of zeros would hide it.
    """
    found: list[T | None] = []
    for result in stream:
        if isinstance(result, Failure):
            failed.append(result)
            found.append(None)
        else:
            found.append(result)
    if len(found) != len(photos):
        raise UsageError(f"a predict function gave {len(found)} results for {len(photos)} inputs")
    if all(one is None for one in found):
        first = failed[-len(found)]
        raise DataError(f"none of {len(photos)} inputs could be used; the first: {first.error}")
    return found


def once_each(failed: Iterable[Failure]) -> tuple[Failure, ...]:
    """A photo that fails to embed fails to be captioned too, and every time it is asked about."""
    return tuple({failure.photo: failure for failure in failed}.values())
