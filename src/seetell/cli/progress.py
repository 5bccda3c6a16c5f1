"""A progress bar that appears only when the work has taken two seconds."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

PATIENCE_S = 2.0


class Bar:
    """Counts items on ``console`` after ``PATIENCE_S``; with no console it does nothing.

    A timer starts the display, not the first item: loading and compiling a model may be what takes long.
    """

    def __init__(self, console: Console | None, label: str, total: int | None) -> None:
        self._console = console
        self._label = label
        self._total = total
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
                self._display.update(self._task, completed=self._done)

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

        counted = self._total is not None
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
            self._task = display.add_task(self._label, total=self._total, completed=self._done)
            display.start()
            self._display = display
