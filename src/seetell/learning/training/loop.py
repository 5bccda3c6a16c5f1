"""The training loop. It knows neither model nor objectives: batches go in, a dict with ``loss`` comes out.

A run is exactly repeatable from any checkpoint. Batches depend on their number alone, and torch's random
state is set anew from the seed and the step before every step, so that a validation or a restart in
between changes nothing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from seetell.core.ahead import made_ahead
from seetell.core.errors import NonFiniteLoss
from seetell.learning.batch import Batch
from seetell.learning.training import checkpoint as checkpoints
from seetell.learning.training.allocation import keep_freed_memory
from seetell.learning.training.devices import move_batch
from seetell.learning.training.ema import Ema
from seetell.learning.training.guard import ForgettingGuard, Measured
from seetell.learning.training.metrics_log import MetricsLog, NoLog
from seetell.learning.training.optimisation import (
    build_optimizer,
    clip_gradients,
    learning_rate,
    set_learning_rate,
    warmup_steps,
)
from seetell.learning.training.precision import settled_precision
from seetell.learning.training.processes import Processes
from seetell.learning.training.progress import ProgressDisplay
from seetell.learning.training.recipe import Recipe
from seetell.learning.training.stopping import EarlyStopping, StopSignals
from seetell.learning.training.trackers import open_trackers
from seetell.learning.training.tuning import hold_frozen_statistics, rate_scales, tuned_summary
from seetell.learning.training.utilisation import Utilisation

Validate = Callable[[nn.Module], Mapping[str, float]]
Outcome = Literal["finished", "stopped_early", "interrupted"]


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """How a run ended. ``checkpoint`` is its last one; ``best_step`` the best by ``validate.stop_on``."""

    outcome: Outcome
    step: int
    checkpoint: Path
    best_step: int | None
    best_value: float | None


class TrainingLoop:
    """One run, from its latest checkpoint or the beginning to its end.

    Args:
        recipe: what to do.
        step: ``step(batch)`` -> ``{"loss": scalar, ...}``; ``model`` is its part that averages follow and
            ``validate`` measures.
        make_batch: the batch of a micro-step; micro-steps count on through accumulation.
        total_steps: optimiser steps of the whole run.
        folder: the run's folder, of metrics and checkpoints.
        fingerprint: which run this is; a checkpoint of another is refused.
        validate: measures the model, in evaluation mode and with averaged weights; None for no validation.
        guard: measures what must not be forgotten; None for nothing of the kind.
        skipped: photos left out so far, for the log.
        processes: those that share the run; ``make_batch`` then gives this one's part of a batch.
    """

    def __init__(
        self,
        recipe: Recipe,
        step: nn.Module,
        model: nn.Module,
        make_batch: Callable[[int], Batch],
        *,
        total_steps: int,
        folder: Path,
        fingerprint: str,
        validate: Validate | None = None,
        guard: ForgettingGuard | None = None,
        skipped: Callable[[], int] = lambda: 0,
        processes: Processes | None = None,
    ) -> None:
        self._recipe = recipe
        self._processes = processes or Processes(recipe.device)
        self._device = self._processes.device
        self._precision = settled_precision(recipe.precision, self._device)
        # channels_last: convolutions on CPUs and tensor cores run faster so; batches arrive in it.
        self._step = step.to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's overloads forget device with memory_format
        self._called = self._processes.joined(self._step)
        self._model = model
        self._make_batch = make_batch
        self._total = total_steps
        self._folder = folder
        self._fingerprint = fingerprint
        self._validate = validate if recipe.validation is not None else None
        self._guard = guard
        self._skipped = skipped
        self._utilisation = Utilisation(self._device, self._processes.count)
        scale = rate_scales(model, recipe.tune)
        names = {id(parameter): name for name, parameter in model.named_parameters()}
        self._optimizer = build_optimizer(
            step,
            recipe.optimizer,
            # What serves the training alone is no layer of the model.
            lambda parameter: scale(names[id(parameter)]) if id(parameter) in names else 1.0,
        )
        self._warmup = warmup_steps(recipe.schedule, total_steps)
        self._ema = Ema(model, recipe.ema.decay) if recipe.ema is not None else None
        self._stopping = EarlyStopping(recipe.validation) if recipe.validation is not None else None
        self._done = 0
        # Whether what is to be measured after the present step has not been, or not to its end.
        self._unmeasured = False
        self._saved_step: int | None = None
        self._saved_at = time.monotonic()

    def run(self) -> TrainingResult:
        """Train to the end, or to a stop. Resumes from the folder's latest checkpoint.

        Raises NonFiniteLoss, CheckpointError, StorageError, GateFailed where the guard's floor is crossed,
        or was by the checkpoint it goes on from, and what batches raise.
        """
        if self._device.type == "cpu":
            keep_freed_memory()
        self._resume()
        self._stop_below_floor()
        outcome: Outcome = "finished"
        with ExitStack() as stack:
            stop = stack.enter_context(StopSignals())
            log = stack.enter_context(self._log())
            shown = self._processes.is_first
            display = stack.enter_context(ProgressDisplay(self._total, self._done, shown=shown))
            batches = stack.enter_context(closing(self._batches()))
            if told := tuned_summary(self._model):
                display.say(told)
            if self._done:
                display.say(f"going on from step {self._done} of {self._total}")
            self._begin_guard(log, display)
            if self._unmeasured:
                self._measure(log, display)
            if self._exhausted:
                outcome = "stopped_early"
            while self._done < self._total and outcome == "finished":
                self._one_step(batches, log, display)
                self._measure(log, display)
                if self._exhausted:
                    outcome = "stopped_early"
                elif self._processes.any(stop.requested):
                    outcome = "interrupted"
                    display.say("stopping: writing a checkpoint; run the same command to go on")
                if self._processes.any(self._checkpoint_due()) or outcome != "finished":
                    self._save()
                    display.restart_clock()
        path = self._save()
        best = self._stopping
        return TrainingResult(
            outcome, self._done, path, best.best_step if best else None, best.best_value if best else None
        )

    # One step ---------------------------------------------------------------------------------

    def _one_step(self, batches: Iterator[Batch], log: MetricsLog, display: ProgressDisplay) -> None:
        torch.manual_seed(_step_seed(self._recipe.seed, self._done) + self._processes.rank)
        rate = learning_rate(
            self._done,
            peak=self._recipe.optimizer.lr,
            warmup=self._warmup,
            total=self._total,
            min_ratio=self._recipe.schedule.min_lr_ratio,
        )
        set_learning_rate(self._optimizer, rate)
        self._step.train()
        hold_frozen_statistics(self._step)
        hold_frozen_statistics(self._model, self._recipe.tune.freeze)
        self._optimizer.zero_grad(set_to_none=True)
        losses: dict[str, float] = {}
        photos = 0
        began_at, waited_s = time.monotonic(), 0.0
        keys: list[str] = []
        padding: list[float] = []
        counted = False
        for micro in range(self._recipe.accumulate):
            asked_at = time.monotonic()
            batch = next(batches)
            waited_s += time.monotonic() - asked_at
            keys.extend(batch.keys)
            padding.append(batch.padding_share)
            counted |= not self._utilisation.knows(batch)
            photos += len(batch.keys) * self._processes.count
            for name, value in self._backward(batch, micro == self._recipe.accumulate - 1).items():
                losses[name] = losses.get(name, 0.0) + value / self._recipe.accumulate
        try:
            norm = clip_gradients(self._step, self._recipe.optimizer.grad_clip)
        except NonFiniteLoss as error:
            raise NonFiniteLoss(f"step {self._done}: {error}; {_named(keys)}; {_ADVICE}") from error
        self._optimizer.step()
        if self._ema is not None:
            self._ema.update(self._model)
        self._done += 1
        waiting = waited_s / max(time.monotonic() - began_at, 1e-9)
        # A step that is counted takes longer than its like.
        pace = display.pace(photos, typical=not counted)
        mfu = self._utilisation.share(batch, pace)
        if counted:
            # The first time, the device's rate has just been measured.
            display.restart_clock()
        display.step(self._done, losses, mfu)
        extras = {
            "lr": rate,
            "gradient_norm": norm,
            "photos_per_s": pace,
            "waiting_share": waiting,
            "padding_share": sum(padding) / len(padding),
            "mfu": mfu,
        }
        log.write(self._done, "train", {**losses, **extras, "skipped_photos": self._skipped()})

    def _backward(self, batch: Batch, last: bool) -> dict[str, float]:
        """Forward and backward of one batch, the ``last`` of its step or not; its losses as plain numbers."""
        on_device = move_batch(batch, self._device)
        half = self._precision == "bf16"
        with self._processes.accumulating(self._called, last), self._utilisation.counting(batch):
            with torch.autocast(self._device.type, dtype=torch.bfloat16) if half else nullcontext():
                losses: dict[str, Tensor] = self._called(on_device)
            # One copy to the host for all of them.
            each = torch.stack([loss.detach().float() for loss in losses.values()])
            values = self._processes.mean(each).tolist()
            named = dict(zip(losses, values, strict=True))
            if not all(math.isfinite(value) for value in values):
                bad = ", ".join(name for name, value in named.items() if not math.isfinite(value))
                raise NonFiniteLoss(
                    f"step {self._done}: {bad} is not finite; {_named(batch.keys)}; {_ADVICE}"
                )
            (losses["loss"] / self._recipe.accumulate).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return named

    # Between steps ----------------------------------------------------------------------------

    def _log(self) -> MetricsLog:
        if not self._processes.is_first:
            return NoLog()
        document = self._recipe.model_dump(mode="json", by_alias=True)
        trackers = open_trackers(self._recipe.trackers, self._folder, document, self._done)
        return MetricsLog(self._folder, resume_step=self._done, trackers=trackers)

    def _batches(self) -> Generator[Batch]:
        settings, per_step = self._recipe.loading, self._recipe.accumulate
        # Threads and not processes: decoding and resizing release Python's lock, and photos that are decoded
        # are shared.
        return made_ahead(
            self._make_batch,
            range(self._done * per_step, self._total * per_step),
            ahead=settings.ahead,
            threads=settings.threads,
            name="seetell-batches",
        )

    def _validation_due(self) -> bool:
        settings = self._recipe.validation
        if self._validate is None or settings is None:
            return False
        return self._done % settings.every == 0 or self._done == self._total

    def _measure(self, log: MetricsLog, display: ProgressDisplay) -> None:
        """Measure what is due after this step. A checkpoint comes first: measuring may fail, and the steps
        before it must not be lost by that; the same command then measures again."""
        guarded, validated = self._guard_due(), self._validation_due()
        if not (guarded or validated):
            self._unmeasured = False
            return
        self._unmeasured = True
        self._save()
        # First of the two, so that a validation does not call a step the best that has forgotten too much.
        if guarded:
            self._check_guard(log, display)
        if validated:
            self._run_validation(log, display)
        self._unmeasured = False
        self._note_progress()
        display.restart_clock()

    def _run_validation(self, log: MetricsLog, display: ProgressDisplay) -> None:
        """Validate with averaged weights, and know the best."""
        validate = self._validate
        assert validate is not None and self._stopping is not None
        with self._as_measured():
            measured = self._processes.on_first(lambda: dict(validate(self._model)))
        chosen = {name: value for name, value in measured.items() if self._worth_logging(name)}
        log.write(self._done, "validate", chosen)
        shown = "  ".join(f"{name} {value:.2f}" for name, value in chosen.items())
        display.say(f"step {self._done}: {shown}")
        self._stopping.observe(self._done, measured)

    @contextmanager
    def _as_measured(self) -> Iterator[None]:
        """Within the block the model is in evaluation mode with its averaged weights."""
        self._step.eval()
        with torch.no_grad(), self._ema.applied_to(self._model) if self._ema else nullcontext():
            yield

    def _begin_guard(self, log: MetricsLog, display: ProgressDisplay) -> None:
        if self._guard is None or self._guard.start is not None:
            return
        guard = self._guard
        with self._as_measured():
            value = guard.start = self._processes.on_first(lambda: guard.begin(self._model))
        log.write(self._done, "guard", {self._guard.name: value})
        display.say(f"before training: {self._guard.name} {value:.2f}; its floor is {self._guard.floor:.2f}")
        display.restart_clock()

    def _guard_due(self) -> bool:
        every = None if self._recipe.validation is None else self._recipe.validation.every
        guard = self._guard
        if guard is None or not guard.due(self._done, self._total, every):
            return False
        # A run that goes on in the middle of a step's measuring may have done this part of it.
        return guard.last is None or guard.last.step != self._done

    def _check_guard(self, log: MetricsLog, display: ProgressDisplay) -> None:
        """Measure what must not be forgotten."""
        guard = self._guard
        assert guard is not None
        with self._as_measured():
            value = self._processes.on_first(lambda: guard.check(self._model))
        log.write(self._done, "guard", {guard.name: value})
        display.say(f"step {self._done}: {guard.name} {value:.2f}")
        guard.last = Measured(self._done, value)
        self._note_progress()
        self._stop_below_floor()

    def _stop_below_floor(self) -> None:
        # Kept in the checkpoint, so that the same command again does not pass where it has failed.
        if self._guard is not None and self._guard.is_crossed:
            raise self._guard.crossed(self._stopping.best_step if self._stopping else None)

    def _worth_logging(self, name: str) -> bool:
        settings = self._recipe.validation
        if settings is None or not settings.metrics:
            return True
        return name in settings.metrics or name == settings.stop_on

    @property
    def _exhausted(self) -> bool:
        return self._stopping is not None and self._stopping.exhausted

    def _checkpoint_due(self) -> bool:
        settings = self._recipe.checkpoint
        by_step = settings.every is not None and self._done % settings.every == 0
        minutes = (time.monotonic() - self._saved_at) / 60
        return by_step or (settings.every_minutes is not None and minutes >= settings.every_minutes)

    # Checkpoints ------------------------------------------------------------------------------

    @property
    def _checkpoint_folder(self) -> Path:
        return self._folder / "checkpoints"

    def _resume(self) -> None:
        path = checkpoints.latest(self._checkpoint_folder)
        if path is None:
            return
        progress = checkpoints.read_progress(path)
        if progress.fingerprint != self._fingerprint:
            raise checkpoints.another_run(path)
        checkpoints.load_checkpoint(path, progress, self._step, self._optimizer, self._ema)
        self._done = self._saved_step = progress.step
        self._unmeasured = progress.awaits_measuring
        if self._stopping is not None:
            self._stopping.restore(progress.best_step, progress.best_value, progress.misses)
        if self._guard is not None:
            self._guard.start = progress.guard_start
            # Of another metric it says nothing.
            if progress.guard_value is not None and progress.guard_metric == self._guard.name:
                self._guard.last = Measured(progress.guard_step or 0, progress.guard_value)

    def _save(self) -> Path:
        """Write a checkpoint of the present step, unless there is one with the same content."""
        path = checkpoints.checkpoint_path(self._checkpoint_folder, self._done)
        if self._saved_step == self._done:
            return path
        progress = self._progress()
        if self._processes.is_first:
            checkpoints.save_checkpoint(
                self._checkpoint_folder, progress, self._step, self._optimizer, self._ema
            )
            self._prune()
        self._saved_step, self._saved_at = self._done, time.monotonic()
        return path

    def _note_progress(self) -> None:
        """Say in the checkpoint of the present step what has been measured since it was written."""
        if self._processes.is_first:
            path = checkpoints.checkpoint_path(self._checkpoint_folder, self._done)
            checkpoints.note_progress(path, self._progress())
            self._prune()

    def _prune(self) -> None:
        best = self._stopping.best_step if self._stopping else None
        checkpoints.prune(self._checkpoint_folder, self._recipe.checkpoint.keep, best)

    def _progress(self) -> checkpoints.Progress:
        best, last = self._stopping, self._guard.last if self._guard else None
        return checkpoints.Progress(
            step=self._done,
            fingerprint=self._fingerprint,
            best_step=best.best_step if best else None,
            best_value=best.best_value if best else None,
            misses=best.misses if best else 0,
            ema_updates=self._ema.updates if self._ema else 0,
            guard_start=self._guard.start if self._guard else None,
            guard_metric=self._guard.name if self._guard else None,
            guard_step=last.step if last else None,
            guard_value=last.value if last else None,
            awaits_measuring=self._unmeasured,
        )


_ADVICE = "lower optimizer.lr or optimizer.grad_clip, or look at these photos and texts"


def _step_seed(seed: int, step: int) -> int:
    # Far apart for neighbouring seeds, so that seed 1 is not seed 0 one step later.
    return (seed * 1_000_003 + step) % (2**63)


def _named(keys: list[str] | tuple[str, ...]) -> str:
    shown = ", ".join(keys[:4])
    return f"its {len(keys)} photos are {shown}" + (", ..." if len(keys) > 4 else "")
