"""Running a function over tasks on all cores, in processes that end with the one that started them.

Processes and not threads: most of the work on a small photo is Python's. They are spawned, so that they
inherit no lock or descriptor of ours, and each watches its parent: one that is killed leaves nobody behind.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")

# Tasks handed out before they are asked for, for each process: enough that none waits for the next.
_AHEAD = 2

# Set in a worker when the run is over; long tasks look at it now and then.
_stop: Any = None


class Stopped(Exception):
    """The run has ended while this task was at work."""


class WorkerDied(Exception):
    """A process died at a task: killed by the system for its memory, or by a decoder that crashed."""


def check_stopped() -> None:
    """Called by a task between two photos. Raises Stopped once the run is over."""
    if _stop is not None and _stop.is_set():
        raise Stopped


def in_parallel(
    function: Callable[[T], R], tasks: Sequence[T], workers: int
) -> Iterator[tuple[int, R | WorkerDied]]:
    """(place of the task, its result) as they are done, in any order; WorkerDied for a task at which its
    process died twice. An exception of ``function`` is raised here and ends the run."""
    if workers == 1 or len(tasks) <= 1:
        for place, task in enumerate(tasks):
            yield place, function(task)
        return
    yield from _in_processes(function, tasks, workers)


def _in_processes(
    function: Callable[[T], R], tasks: Sequence[T], workers: int
) -> Iterator[tuple[int, R | WorkerDied]]:
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    waiting = list(reversed(range(len(tasks))))
    suspects: list[int] = []
    while waiting:
        pool = ProcessPoolExecutor(min(workers, len(tasks)), context, _enter, (stop,))
        running: dict[Future[R], int] = {}
        try:
            while waiting or running:
                while waiting and len(running) < workers * _AHEAD:
                    # A pool that broke meanwhile refuses the task, which must then still be waiting.
                    running[pool.submit(function, tasks[waiting[-1]])] = waiting[-1]
                    waiting.pop()
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    result = future.result()
                    yield running.pop(future), result
        except BrokenProcessPool:
            # Any of those that were running may be the cause.
            suspects.extend(running.values())
        except BaseException:
            stop.set()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    for place in sorted(suspects):
        with ProcessPoolExecutor(1, context, _enter, (stop,)) as pool:
            try:
                yield place, pool.submit(function, tasks[place]).result()
            except BrokenProcessPool:
                yield place, WorkerDied()
            except BaseException:
                stop.set()
                raise


def _enter(stop: Any) -> None:
    """The first thing a process does."""
    global _stop
    _stop = stop
    # Ctrl-C reaches the whole group; only the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        with suppress(OSError):
            parent.join()
        os._exit(1)
