"""Batches across requests: what waits at the same time and is alike runs together, with a latency bound.

All state belongs to the event loop's thread, so there are no locks; only the model runs elsewhere.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

from seetell.core.errors import ServerBusy
from seetell.core.results import Failure

# How much one more batch counts in the running estimate of how fast things go.
_RATE_WEIGHT = 0.2
_LONGEST_RETRY_S = 60


@dataclass(frozen=True, slots=True)
class Lane:
    """Things that may run together.

    task: for metrics. key: equal keys share batches. run: from items to one result or Failure each; called
    in a worker's thread.
    """

    task: str
    key: Hashable
    batch_size: int
    run: Callable[[list[Any]], Iterable[Any]] = field(compare=False)


class Observer(Protocol):
    """Told what happens, for metrics."""

    def ran(self, task: str, items: int, waited_s: Sequence[float], took_s: float) -> None:
        """One batch is done. waited_s: of each of its items, in the queue."""
        ...


@dataclass(slots=True)
class _Waiting:
    item: Any
    future: asyncio.Future[Any]
    since: float


class Batcher:
    """A bounded queue before ``workers`` threads. Made and used inside one running event loop.

    The lane whose first item has waited longest goes next, once it is full or its first item has waited for
    ``max_wait_s``; a popular lane cannot starve the others.

    Args:
        workers: batches run at the same time.
        queue: items that may wait.
        max_wait_s: how long the first item of a batch waits for others while a worker is free.
        observer: told about every batch.
    """

    def __init__(
        self, *, workers: int, queue: int, max_wait_s: float, observer: Observer | None = None
    ) -> None:
        self._queue = queue
        self._max_wait_s = max_wait_s
        self._observer = observer
        self._workers = workers
        self._lanes: dict[Lane, deque[_Waiting]] = {}
        self._waiting = 0
        self._wake = asyncio.Event()
        self._free = asyncio.Semaphore(workers)
        self._running: set[asyncio.Task[None]] = set()
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="seetell-run")
        self._per_item_s = 0.05
        self._dispatcher = asyncio.create_task(self._dispatch())

    @property
    def waiting(self) -> int:
        """Items in the queue."""
        return self._waiting

    def admit(self, lane: Lane, items: Sequence[Any]) -> list[asyncio.Future[Any]]:
        """Put items in the queue, all or none; one future each. A future cancelled gives its place back.

        Raises ServerBusy where they do not all fit.
        """
        if self._waiting + len(items) > self._queue:
            raise ServerBusy(
                f"{self._waiting} photos and texts are waiting, {self._queue} may; try again later",
                self.retry_after_s(),
            )
        loop = asyncio.get_running_loop()
        now = time.monotonic()
        line = self._lanes.setdefault(lane, deque())
        futures = []
        for item in items:
            future: asyncio.Future[Any] = loop.create_future()
            future.add_done_callback(self._left)
            line.append(_Waiting(item, future, now))
            futures.append(future)
        self._waiting += len(items)
        self._wake.set()
        return futures

    async def run(self, lane: Lane, items: Sequence[Any]) -> list[Any]:
        """One result per item. Raises ServerBusy, and the error of the first item that failed.

        Cancelled, what has not begun is not begun.
        """
        futures = self.admit(lane, items)
        try:
            return list(await asyncio.gather(*futures))
        finally:
            for future in futures:
                future.cancel()

    def retry_after_s(self) -> int:
        """Whole seconds until what waits now is likely to be done."""
        return min(_LONGEST_RETRY_S, max(1, math.ceil(self._waiting * self._per_item_s)))

    async def close(self) -> None:
        """Finish what runs; what waits is cancelled."""
        self._dispatcher.cancel()
        for line in self._lanes.values():
            for one in line:
                one.future.cancel()
        await asyncio.gather(self._dispatcher, *self._running, return_exceptions=True)
        self._pool.shutdown(wait=True)

    def _left(self, future: asyncio.Future[Any]) -> None:
        # Results come after an item was taken out of the queue; a cancelled one may still be in it. It is
        # swept out at once: a client that goes away must not keep others out.
        if not future.cancelled():
            return
        for lane, line in list(self._lanes.items()):
            for one in line:
                if one.future is future:
                    line.remove(one)
                    self._waiting -= 1
                    if not line:
                        del self._lanes[lane]
                    return

    async def _dispatch(self) -> None:
        while True:
            await self._free.acquire()
            lane, batch = await self._next()
            task = asyncio.create_task(self._answer(lane, batch))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _next(self) -> tuple[Lane, list[_Waiting]]:
        while True:
            self._wake.clear()
            now = time.monotonic()
            # Oldest first, among those that need not wait any longer.
            lines = sorted(self._lanes.items(), key=lambda pair: pair[1][0].since)
            for lane, line in lines:
                if len(line) >= lane.batch_size or now >= line[0].since + self._max_wait_s:
                    return lane, self._take(lane, line)
            pause = lines[0][1][0].since + self._max_wait_s - now if lines else None
            try:
                async with asyncio.timeout(pause):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def _take(self, lane: Lane, line: deque[_Waiting]) -> list[_Waiting]:
        batch = [line.popleft() for _ in range(min(len(line), lane.batch_size))]
        if not line:
            del self._lanes[lane]
        self._waiting -= len(batch)
        return batch

    async def _answer(self, lane: Lane, batch: list[_Waiting]) -> None:
        started = time.monotonic()
        items = [one.item for one in batch]
        try:
            results = await asyncio.get_running_loop().run_in_executor(self._pool, _results, lane, items)
        finally:
            self._free.release()
        took_s = time.monotonic() - started
        per_item_s = took_s / len(batch) / self._workers
        self._per_item_s += _RATE_WEIGHT * (per_item_s - self._per_item_s)
        if self._observer is not None:
            self._observer.ran(lane.task, len(batch), [started - one.since for one in batch], took_s)
        for one, result in zip(batch, results, strict=True):
            if one.future.done():  # the client went away meanwhile
                continue
            if isinstance(result, Failure):
                one.future.set_exception(result.error)
            else:
                one.future.set_result(result)


def _results(lane: Lane, items: list[Any]) -> list[Any]:
    """One result or Failure per item. What fails as a whole is tried one by one, so that one client's
    input cannot fail another's."""
    try:
        results = list(lane.run(items))
        if len(results) != len(items):
            raise RuntimeError(f"{lane.task}: {len(results)} results for {len(items)} items")
        return results
    except Exception as error:
        if len(items) == 1:
            return [Failure("", error)]
        return [one for item in items for one in _results(lane, [item])]
