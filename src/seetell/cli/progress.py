"""Progress bars: of items, once the work has taken two seconds; of bytes, as soon as any are fetched."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

PATIENCE_S = 2.0


class Bar:
    """Counts items on ``console`` after ``PATIENCE_S``; with no console it does nothing.

    A timer starts the display, not the first item: loading and compiling a model may be what takes long. What
    counts the items is called then, so that it costs a short run nothing.
    """

    def __init__(self, console: Console | None, label: str, total: int | Callable[[], int] | None) -> None:
        self._console = console
        self._label = label
        self._total = total
        self._count: int | None = None
        self._done = 0
        self._lock = threading.Lock()
        self._display: Progress | None = None
        self._task: TaskID | None = None
        self._closed = False
        self._timer = threading.Timer(PATIENCE_S, self._show)
        self._timer.daemon = True

    def __enter__(self) -> Bar:
        if self._console is not None:
            self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        with self._lock:
            self._closed = True
            display, self._display = self._display, None
        if display is not None:
            display.stop()

    def advance(self) -> None:
        """One more item is done."""
        self._done += 1
        with self._lock:
            if self._display is not None and self._task is not None:
                # Counted meanwhile, there may have been fewer.
                total = None if self._count is None else max(self._count, self._done)
                self._display.update(self._task, completed=self._done, total=total)

    def _show(self) -> None:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            SpinnerColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._count = self._total() if callable(self._total) else self._total
        counted = self._count is not None
        columns = (
            [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()]
            if counted
            else [SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()]
        )
        with self._lock:
            if self._closed:
                return
            # transient: what stays on the screen is the results.
            display = Progress(
                *columns, console=self._console, transient=True, redirect_stdout=False, redirect_stderr=False
            )
            self._task = display.add_task(self._label, total=self._count, completed=self._done)
            display.start()
            self._display = display


class ByteBar:
    """Bytes fetched so far, of how many, and how fast, on standard error; silent where that is no terminal.

    ``show`` may be called from any thread.
    """

    def __init__(self, label: str) -> None:
        from rich.console import Console

        console = Console(stderr=True)
        self._console = console if console.is_terminal else None
        self._label = label
        self._display: Progress | None = None
        self._task: TaskID | None = None
        self._lock = threading.Lock()
        self._closed = False

    def __enter__(self) -> ByteBar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._closed = True
            display, self._display = self._display, None
        if display is not None:
            display.stop()

    def show(self, done_bytes: int, total_bytes: int) -> None:
        """So many bytes are here, of so many."""
        if self._console is None:
            return
        with self._lock:
            if self._closed:
                return
            if self._display is None:
                self._display = self._started()
                self._task = self._display.add_task(self._label, total=total_bytes)
            assert self._task is not None  # set with the display
            self._display.update(self._task, completed=done_bytes, total=total_bytes)

    def _started(self) -> Progress:
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        display = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
        )
        display.start()
        return display
