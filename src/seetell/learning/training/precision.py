"""What a run computes in where its recipe does not say: what is faster here, measured in a moment.

A processor that lists bf16 may train in it at half the speed of fp32, and a GPU at several times that.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache, partial
from pathlib import Path
from typing import Literal

import torch
from torch.nn import functional as F

from seetell.core.errors import StorageError
from seetell.core.files import cache_folder
from seetell.core.kept import keep, read_kept
from seetell.core.processors import identity
from seetell.learning.training import checkpoint as checkpoints
from seetell.learning.training.fingerprint import recipe_before
from seetell.runtime.timing import best_times_s

TrainingPrecision = Literal["fp32", "bf16"]

# Half a transformer's block and a convolution, some milliseconds of each; a GPU is kept busy by more.
_TOKENS, _WIDTH = 256, 384
_PHOTOS, _SIDE, _CHANNELS = 4, 28, 64
_GPU_TIMES = 128
_BUDGET_S = 1.0
# Closer than this they are equally fast, and fp32 is exact.
_TIE = 1.03
_FORMAT = 1


def precision_of_run(
    wanted: Literal["auto", "fp32", "bf16"], folder: Path, device: torch.device
) -> TrainingPrecision:
    """What the run in ``folder`` computes in: what its recipe says, else what it began in, for a run is one
    computation however often it is stopped; else what is faster."""
    if wanted == "auto" and checkpoints.latest(folder / "checkpoints") is not None:
        before = recipe_before(folder)
        wanted = "auto" if before is None else before.precision
    return settled_precision(wanted, device)


def settled_precision(wanted: Literal["auto", "fp32", "bf16"], device: torch.device) -> TrainingPrecision:
    """``wanted``, or where that is auto what is faster on ``device``."""
    return _faster(device) if wanted == "auto" else wanted


@lru_cache
def _faster(device: torch.device) -> TrainingPrecision:
    path = _path(device)
    kept = read_kept(path) or {}
    known: tuple[TrainingPrecision, ...] = ("fp32", "bf16")
    for precision in known:
        if kept.get("format") == _FORMAT and kept.get("precision") == precision:
            return precision
    took_s = step_times_s(device)
    found: TrainingPrecision = "bf16" if _TIE * took_s["bf16"] < took_s["fp32"] else "fp32"
    ms = {precision: 1000 * seconds for precision, seconds in took_s.items()}
    keep(path, {"format": _FORMAT, "precision": found, "ms": ms})
    return found


def step_times_s(device: torch.device) -> dict[TrainingPrecision, float]:
    """Seconds of a little work as training has it, forward and backward, in each precision."""
    times = 1 if device.type == "cpu" else _GPU_TIMES
    # Random numbers of their own: a run's must not depend on whether this was measured.
    random = torch.Generator().manual_seed(0)

    def made(*shape: int) -> torch.Tensor:
        drawn = torch.randn(shape, generator=random).to(device)
        # As the loop keeps what convolutions see.
        layout = torch.channels_last if len(shape) == 4 else torch.contiguous_format
        return drawn.contiguous(memory_format=layout).requires_grad_()

    tokens, wide, narrow = made(times * _TOKENS, _WIDTH), made(4 * _WIDTH, _WIDTH), made(_WIDTH, 4 * _WIDTH)
    photos, kernel = made(times * _PHOTOS, _CHANNELS, _SIDE, _SIDE), made(_CHANNELS, _CHANNELS, 3, 3)

    def step(half: bool) -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            seen = F.relu(F.conv2d(photos, kernel, padding=1))
            read = F.linear(F.gelu(F.linear(tokens, wide)), narrow)
            loss = seen.float().square().mean() + read.float().square().mean()
        torch.autograd.grad(loss, (tokens, wide, narrow, photos, kernel))
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    runs: dict[TrainingPrecision, partial[None]] = {"fp32": partial(step, False), "bf16": partial(step, True)}
    threads = torch.get_num_threads()
    try:
        # What one thread does faster all do, and several wait for each other wherever other programs stop
        # one of them: on a busy machine that would be all there is to see.
        torch.set_num_threads(1)
        with torch.enable_grad():
            for run in runs.values():
                run()
            return best_times_s(runs, budget_s=_BUDGET_S, by_processor=device.type == "cpu")
    finally:
        torch.set_num_threads(threads)


def _path(device: torch.device) -> Path | None:
    """Where the answer for this machine, its share and this torch is kept; None where there is no cache."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else identity()
    key = "\n".join((device.type, name, str(torch.get_num_threads()), torch.__version__, str(_FORMAT)))
    try:
        return cache_folder() / "rates" / f"training-{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"
    except StorageError:
        return None
