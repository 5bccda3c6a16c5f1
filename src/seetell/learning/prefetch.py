"""Batches prepared ahead of the step that needs them, in background threads.

Threads and not processes: decoding and resizing release Python's lock, and threads share the decoded
photos. A batch depends on its step alone, so any number of threads give the same batches in the same
order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from seetell.learning.batch import Batch


class Prefetch:
    """Iterates ``make(first) .. make(last - 1)``, staying at most ``ahead`` batches in front.

    A context manager; leaving it stops the threads. An error in ``make`` is raised in the iteration
    at the step it belongs to.
    """

    def __init__(
        self, make: Callable[[int], Batch], first: int, last: int, *, ahead: int = 3, threads: int = 1
    ) -> None:
        self._make = make
        self._steps = iter(range(first, last))
        self._ahead = max(1, ahead)
        self._pool = ThreadPoolExecutor(max_workers=max(1, threads), thread_name_prefix="seetell-batches")
        self._waiting: deque[Future[Batch]] = deque()

    def __enter__(self) -> Prefetch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        self._refill()
        if not self._waiting:
            raise StopIteration
        batch = self._waiting.popleft().result()
        # Refilled before the caller works on the batch, so that the threads work meanwhile.
        self._refill()
        return batch

    def close(self) -> None:
        """Stop the threads, waiting for the batches being made and dropping the rest."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._waiting.clear()
        self._steps = iter(())

    def _refill(self) -> None:
        while len(self._waiting) < self._ahead:
            step = next(self._steps, None)
            if step is None:
                return
            self._waiting.append(self._pool.submit(self._make, step))
