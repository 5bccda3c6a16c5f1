"""Work that waits for others, several pieces at once, with results in the order of the items."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

# A slow one at the front does not keep the others from going on: so many times ``at_once`` are held.
_HELD = 4


def in_order(
    items: Iterable[Item], work: Callable[[Item, threading.Event], Result], at_once: int
) -> Iterator[Result]:
    """``work`` of each item, ``at_once`` in threads side by side; results in order, each as soon as it may be
    given.

    ``items`` is read in the calling thread. The event that ``work`` is given is set when nobody wants results
    any more (the reader's break, an exception, Ctrl-C); what runs then is not waited for, because it may be
    waiting for a network.
    """
    todo: SimpleQueue[tuple[Item, Future[Result]] | None] = SimpleQueue()
    stop = threading.Event()

    def serve() -> None:
        while (given := todo.get()) is not None:
            item, future = given
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(work(item, stop))
                except BaseException as error:
                    future.set_exception(error)

    waiting: deque[Future[Result]] = deque()
    try:
        for number, item in enumerate(items):
            if number < at_once:
                # Daemons, because a program's end must not wait for a network either.
                threading.Thread(target=serve, name="seetell-remote", daemon=True).start()
            future: Future[Result] = Future()
            waiting.append(future)
            todo.put((item, future))
            while waiting and (waiting[0].done() or len(waiting) >= _HELD * at_once):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        stop.set()
        for future in waiting:
            future.cancel()
        for _ in range(at_once):
            todo.put(None)
