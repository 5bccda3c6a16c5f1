"""Batches from a stream, in order, with bounded memory: the next photos are read while a batch is run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Generic, TypeVar

from seetell.core.ahead import made_ahead

Item = TypeVar("Item")
Ready = TypeVar("Ready")
Result = TypeVar("Result")

# Decoding releases the interpreter's lock; more than this many at once only fill the memory.
_MOST_WORKERS = 4


@dataclass(frozen=True, slots=True)
class Refused(Generic[Result]):
    """What ``prepare`` gives for an item that goes no further: ``result`` takes its place."""

    result: Result


def in_batches(
    items: Iterable[Item],
    prepare: Callable[[Item], Ready | Refused[Result]],
    run: Callable[[list[Ready]], list[Result]],
    *,
    batch_size: int,
) -> Iterator[Result]:
    """Run ``items`` in batches and give one result per item, in order.

    What meets in a batch depends on the items alone, never on timing, so that results are repeatable.
    At most two batches of prepared items are held. ``items`` is read in the calling thread; ``prepare``
    runs in others. Exceptions of ``prepare`` and ``run`` end the stream; what should not end it is Refused.
    """
    workers = max(1, min(_MOST_WORKERS, os.cpu_count() or 1, batch_size))
    ready = made_ahead(prepare, items, ahead=batch_size, threads=workers, name="seetell-read")
    with closing(ready):
        taken: list[Ready | Refused[Result]] = _one_batch(ready, batch_size)
        while taken:
            yield from _merge(taken, run)
            taken = _one_batch(ready, batch_size)


def at_once(
    items: Iterable[Item],
    prepare: Callable[[Item], Ready | Refused[Result]],
    run: Callable[[list[Ready]], list[Result]],
) -> list[Result]:
    """The same for a handful of items that make one batch: no threads."""
    return _merge([prepare(item) for item in items], run)


def _one_batch(ready: Iterator[Ready | Refused[Result]], batch_size: int) -> list[Ready | Refused[Result]]:
    """Items until ``batch_size`` of them are good, or there are no more; empty at the end."""
    taken: list[Ready | Refused[Result]] = []
    good = 0
    for one in ready:
        good += not isinstance(one, Refused)
        taken.append(one)
        if good == batch_size or len(taken) == 2 * batch_size:
            break
    return taken


def _merge(taken: list[Ready | Refused[Result]], run: Callable[[list[Ready]], list[Result]]) -> list[Result]:
    good = [one for one in taken if not isinstance(one, Refused)]
    results = iter(run(good) if good else [])
    return [one.result if isinstance(one, Refused) else next(results) for one in taken]
