"""Showing a run's progress: a bar on a terminal, a line now and then elsewhere. All on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from statistics import median
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar

_SMOOTHING = 0.98
# After so many steps that are like the rest it is said how long the rest takes.
_STEPS_TO_JUDGE_BY = 5


class ProgressDisplay:
    """A context manager; :meth:`pace` and :meth:`step` after every step, :meth:`say` for what stays."""

    def __init__(
        self, total_steps: int, done_steps: int, *, line_every_s: float = 15.0, shown: bool = True
    ) -> None:
        """``shown``: whether anything is; the times are kept in any case."""
        self._total = total_steps
        self._line_every_s = line_every_s
        self._console = Console(file=sys.stderr, quiet=not shown)
        self._bar: Bar | None = None
        self._photos_per_s = 0.0
        self._steps_per_s = 0.0
        self._provisional = False
        self._judged_by: list[float] = []
        self._is_judged = False
        self._losses: dict[str, float] = {}
        self._last = self._last_line = time.monotonic()
        if shown and self._console.is_terminal:
            self._bar = Bar(
                TextColumn("training"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[status]}"),
                console=self._console,
            )
            self._task = self._bar.add_task("training", total=total_steps, completed=done_steps, status="")

    def __enter__(self) -> ProgressDisplay:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def pace(self, photos: int, *, typical: bool = True) -> float:
        """A step of ``photos`` photos is done: photos per second, smoothed over about fifty steps.

        A step that is not ``typical`` counts only until there is one that is.
        """
        now = time.monotonic()
        elapsed_s = max(now - self._last, 1e-6)
        self._last = now
        if typical and self._provisional:
            self._photos_per_s = self._steps_per_s = 0.0
            self._provisional = False
        if typical or not self._photos_per_s:
            self._provisional = not typical
            self._photos_per_s = _smooth(self._photos_per_s, photos / elapsed_s)
            self._steps_per_s = _smooth(self._steps_per_s, 1.0 / elapsed_s)
        if typical and len(self._judged_by) < _STEPS_TO_JUDGE_BY:
            self._judged_by.append(elapsed_s)
        return self._photos_per_s

    def step(self, done: int, losses: Mapping[str, float], mfu: float) -> None:
        """Show the step whose :meth:`pace` was taken; ``mfu``: model FLOPs utilisation, 0 to 1."""
        for name, value in losses.items():
            self._losses[name] = _smooth(self._losses.get(name, value), value)
        status = self._status(done, mfu)
        if self._bar is not None:
            self._bar.update(self._task, completed=done, status=status)
        elif self._last - self._last_line >= self._line_every_s or done == self._total:
            self._last_line = self._last
            self.say(f"step {done}/{self._total}  {status}")
        if len(self._judged_by) == _STEPS_TO_JUDGE_BY and not self._is_judged:
            self._is_judged = True
            if done < self._total:
                # The first steps warm caches up: the median is not moved by one that took long.
                step_s = median(self._judged_by)
                left = self._total - done
                takes = duration(left * step_s)
                self.say(f"{left:,} steps to go, {step_s:.2g} s each: about {takes}, measuring not counted")

    def say(self, message: str) -> None:
        """Print a line above the bar."""
        self._console.print(message, highlight=False, markup=False, soft_wrap=True)

    def restart_clock(self) -> None:
        """Do not count the time since the last step (a validation, a checkpoint) as training time."""
        self._last = time.monotonic()

    def _status(self, done: int, mfu: float) -> str:
        left_s = (self._total - done) / self._steps_per_s if self._steps_per_s else 0.0
        losses = "  ".join(f"{name} {value:.3f}" for name, value in self._losses.items())
        return f"{losses}  {self._photos_per_s:.0f} photos/s  mfu {mfu:.0%}  {duration(left_s)} left"


class Countdown:
    """A line now and then about work of a known size, done before the first step."""

    def __init__(self, what: str, *, line_every_s: float = 15.0, shown: bool = True) -> None:
        self._what = what
        self._line_every_s = line_every_s
        self._console = Console(file=sys.stderr, quiet=not shown)
        self._begun: tuple[float, int] | None = None
        self._last_line = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if self._begun is None:
            # What came before the first was finding out what there is to do.
            self._begun, self._last_line = (now, done), now
            return
        if done < total and now - self._last_line < self._line_every_s:
            return
        self._last_line = now
        began, first = self._begun
        left_s = (total - done) * (now - began) / max(done - first, 1)
        rest = f", {duration(left_s)} left" if done < total else ""
        self._console.print(f"{self._what}: {done:,} of {total:,}{rest}", highlight=False, soft_wrap=True)


def duration(seconds: float) -> str:
    """Seconds as people say it: ``41 s``, ``12 min``, ``3 h 05 min``."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _smooth(old: float, new: float) -> float:
    return new if old == 0.0 else _SMOOTHING * old + (1.0 - _SMOOTHING) * new
