"""Working ahead: what is asked for next is made in other threads while the last is used."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")


def made_ahead(
    make: Callable[[Item], Made], items: Iterable[Item], *, ahead: int, threads: int, name: str
) -> Generator[Made]:
    """``make(item)`` of each item, in order, at most ``ahead`` of them before they are asked for.

    ``items`` is read in the calling thread, ``make`` runs in ``threads`` others, called ``name``, which end
    with the generator: when it is closed, what is being made is waited for and nothing more is begun. An
    exception of ``make`` is raised at the item it belongs to, and ends it.
    """
    remaining = iter(items)
    waiting: deque[Future[Made]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix=name) as pool:

        def refill() -> None:
            while len(waiting) < ahead:
                for item in remaining:
                    waiting.append(pool.submit(make, item))
                    break
                else:
                    return

        try:
            refill()
            while waiting:
                made = waiting.popleft().result()
                # Before the caller works on what is made, so that the threads work meanwhile.
                refill()
                yield made
        finally:
            # Reached on the caller's break and on Ctrl-C too.
            pool.shutdown(wait=True, cancel_futures=True)
