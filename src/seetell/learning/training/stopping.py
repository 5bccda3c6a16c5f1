"""When a run stops before its last step: on a signal, or when it no longer improves."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Mapping
from types import FrameType, TracebackType
from typing import Any

from seetell.core.errors import RecipeError
from seetell.learning.training.sections import ValidationSettings


class StopSignals:
    """Within the block, the first SIGTERM or Ctrl-C sets :attr:`requested` instead of killing.

    The loop then finishes its step, writes a checkpoint and ends. A second Ctrl-C interrupts at once.
    Signals can only be caught in the main thread; elsewhere nothing is changed.
    """

    def __init__(self) -> None:
        self.requested = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._caught)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _caught(self, number: int, frame: FrameType | None) -> None:
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = True


class EarlyStopping:
    """Follows the metric ``validate.stop_on`` names."""

    def __init__(self, settings: ValidationSettings) -> None:
        self._settings = settings
        self.best_step: int | None = None
        self.best_value: float | None = None
        self.misses = 0

    def restore(self, best_step: int | None, best_value: float | None, misses: int) -> None:
        """Continue from a checkpoint."""
        self.best_step, self.best_value, self.misses = best_step, best_value, misses

    def observe(self, step: int, metrics: Mapping[str, float]) -> bool:
        """Note a measurement; whether it is the best so far.

        Raises RecipeError when ``stop_on`` names no metric that was measured.
        """
        name = self._settings.stop_on
        if name is None:
            return False
        if name not in metrics:
            known = ", ".join(sorted(metrics))
            raise RecipeError(f"validate.stop_on: {name!r} is not measured; there are {known}")
        value = metrics[name]
        sign = 1.0 if self._settings.goal == "max" else -1.0
        better = self.best_value is None or sign * value > sign * self.best_value
        if better and not math.isnan(value):
            self.best_step, self.best_value, self.misses = step, value, 0
            return True
        self.misses += 1
        return False

    @property
    def exhausted(self) -> bool:
        """Whether patience has run out."""
        return self._settings.patience is not None and self.misses >= self._settings.patience
