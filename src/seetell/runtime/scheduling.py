"""Batches from a stream, in order, with bounded memory: the next photos are read while a batch is run."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

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
    with ThreadPoolExecutor(workers, thread_name_prefix="seetell-read") as pool:
        waiting: deque[Future[Ready | Refused[Result]]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(prepare, item))
                if len(waiting) >= 2 * batch_size:
                    yield from _one_batch(waiting, run, batch_size)
            while waiting:
                yield from _one_batch(waiting, run, batch_size)
        finally:
            # Reached on the reader's break and on Ctrl-C too: nothing not yet begun is begun.
            pool.shutdown(wait=True, cancel_futures=True)


def at_once(
    items: Iterable[Item],
    prepare: Callable[[Item], Ready | Refused[Result]],
    run: Callable[[list[Ready]], list[Result]],
) -> list[Result]:
    """The same for a handful of items that make one batch: no threads."""
    return _merge([prepare(item) for item in items], run)


def _one_batch(
    waiting: deque[Future[Ready | Refused[Result]]],
    run: Callable[[list[Ready]], list[Result]],
    batch_size: int,
) -> list[Result]:
    """Take items off the front until ``batch_size`` are good, and run those."""
    taken: list[Ready | Refused[Result]] = []
    good = 0
    while waiting and good < batch_size and len(taken) < 2 * batch_size:
        one = waiting.popleft().result()
        good += not isinstance(one, Refused)
        taken.append(one)
    return _merge(taken, run)


def _merge(taken: list[Ready | Refused[Result]], run: Callable[[list[Ready]], list[Result]]) -> list[Result]:
    good = [one for one in taken if not isinstance(one, Refused)]
    results = iter(run(good) if good else [])
    return [one.result if isinstance(one, Refused) else next(results) for one in taken]
