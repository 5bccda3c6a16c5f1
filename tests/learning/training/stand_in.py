"""A training step small enough to run hundreds of times, with everything that makes resuming hard: dropout
(torch's random numbers), batch norm (buffers), an optimiser with moments, and a scalar of its own.

Run as a program it trains in a folder and, at the step named, kills itself: ``stand_in.py FOLDER STEP``.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from seetell.learning.batch import Batch
from seetell.learning.training.loop import TrainingLoop
from seetell.learning.training.recipe import Recipe, parse_recipe

TOTAL = 14


class TinyStep(nn.Module):
    """Learns to tell the mean of a picture. ``at`` is called before each forward with its number."""

    def __init__(self) -> None:
        super().__init__()
        self.model = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.3), nn.Flatten(), nn.Linear(144, 1)
        )
        self.log_weight = nn.Parameter(torch.zeros(()))
        self.at = lambda: None

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        self.at()
        aim = batch.pixel_values.mean(dim=(1, 2, 3)) * 10
        error = (self.model(batch.pixel_values).squeeze(1) - aim).square().mean()
        return {"loss": error * torch.exp(-self.log_weight) + self.log_weight, "error": error.detach()}


def make_batch(step: int) -> Batch:
    """Eight random pictures, by the step's number alone."""
    pixels = np.random.default_rng(step).random((8, 3, 8, 8), dtype=np.float32)
    return Batch(tuple(f"photo-{step}-{row}" for row in range(8)), torch.from_numpy(pixels))


def recipe(**changes: Any) -> Recipe:
    """A recipe for the stand-in; its data are never read."""
    document: dict[str, Any] = {
        "data": [{"format": "coco_captions", "path": "none", "batch_size": 8}],
        "objectives": [{"name": "captioning"}],
        "optimizer": {"lr": 0.01},
        "schedule": {"warmup_steps": 3},
        "precision": "fp32",
        "device": "cpu",
        "steps": TOTAL,
        "ema": {"decay": 0.9},
        "checkpoint": {"dir": "unused", "every": 4, "every_minutes": None},
        "loading": {"threads": 2},
    }
    return parse_recipe({**document, **changes}, "test")


def loop(folder: Path, settings: Recipe | None = None, **changes: Any) -> tuple[TrainingLoop, TinyStep]:
    """A new process's view of the run in ``folder``: nothing is carried over but what is on the disk."""
    torch.manual_seed(0)
    step = TinyStep()
    settings = settings or recipe()
    arguments: dict[str, Any] = {"total_steps": settings.steps, "folder": folder, "fingerprint": "this run"}
    return TrainingLoop(settings, step, step.model, make_batch, **{**arguments, **changes}), step


def main() -> None:
    folder, kill_at = Path(sys.argv[1]), int(sys.argv[2])
    running, step = loop(folder)
    calls = 0

    def kill() -> None:
        nonlocal calls
        calls += 1
        if calls == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    step.at = kill
    running.run()


if __name__ == "__main__":
    main()
