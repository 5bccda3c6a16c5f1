"""The forgetting guard: what a model could do before it was taught further, measured while it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from seetell.core.errors import GateFailed, RecipeError
from seetell.learning.training.sections import GuardSettings

Measure = Callable[[nn.Module], float]


@dataclass(frozen=True, slots=True)
class Measured:
    """A value, and after which step it was measured."""

    step: int
    value: float


class ForgettingGuard:
    """Measures once before training, by :meth:`begin`, and then by :meth:`check`. ``start`` and ``last`` are
    what it has measured so far; whoever goes on with a run restores them.

    Args:
        settings: the floor, or how far below its beginning the metric may fall.
        name: of the metric, for messages and the log.
        measure: the metric of a model in evaluation mode.
        run_folder: for the advice given.
    """

    def __init__(self, settings: GuardSettings, name: str, measure: Measure, run_folder: Path) -> None:
        self._settings = settings
        self._measure = measure
        self._folder = run_folder
        self.name = name
        self.start: float | None = None
        self.last: Measured | None = None

    @property
    def floor(self) -> float:
        """The least the metric may be. Known after :meth:`begin`, or when ``start`` was restored."""
        if self._settings.floor is not None:
            return self._settings.floor
        assert self.start is not None and self._settings.max_drop is not None
        return self.start - self._settings.max_drop

    def begin(self, model: nn.Module) -> float:
        """Measure the model before training. Raises RecipeError where it is below the floor already."""
        self.start = self._measure(model)
        if self.start < self.floor:
            raise RecipeError(
                f"guard.floor: {self.floor:g} is above what the model has before training, "
                f"{self.name} {self.start:.2f}; take a lower one, or max_drop"
            )
        return self.start

    def due(self, step: int, last_step: int, validate_every: int | None) -> bool:
        """Whether it measures after ``step`` of ``last_step``."""
        every = self._settings.every or validate_every
        return step == last_step or (every is not None and step % every == 0)

    def check(self, model: nn.Module) -> float:
        """Measure the model as it is now."""
        return self._measure(model)

    @property
    def is_crossed(self) -> bool:
        """Whether what was measured last is below the floor, or not a number."""
        return self.last is not None and not self.last.value >= self.floor

    def crossed(self, best_step: int | None) -> GateFailed:
        """What to say of the last value, below the floor. best_step: the best one that was above it."""
        assert self.last is not None
        start = "" if self.start is None else f" from {self.start:.2f}"
        kept = "" if best_step is None else f", take step {best_step}, above the floor (--checkpoint best),"
        lower = "lower guard.floor" if self._settings.max_drop is None else "larger guard.max_drop"
        return GateFailed(
            f"step {self.last.step}: {self.name} fell{start} to {self.last.value:.2f}, below the floor of "
            f"{self.floor:.2f}, so the run stopped; go half-way back to the weights it began with by "
            f"`seetell convert {self._folder} OUT --interpolate 0.5`{kept} or let it go on with a {lower}"
        )
