"""How fast a device multiplies matrices in torch: what a training step's arithmetic is measured against.

In fp32 or bf16, whichever is faster there: a run that computes in the slower one is to be seen as slow.
"""

from __future__ import annotations

import time
from functools import lru_cache

import torch

# Large enough that nothing but the multiplication counts, and some milliseconds each.
_CPU_SIZE, _GPU_SIZE = 1024, 8192
_BUDGET_S = 0.1
_LEAST_RUNS = 3


@lru_cache
def gemm_rate(device: torch.device) -> float:
    """Floating-point operations a second (a multiply-add is two), the best of a moment's runs.

    Other programs can only slow a run down. Measured once per process.
    """
    return max(_rate(device, dtype) for dtype in (torch.float32, torch.bfloat16))


def _rate(device: torch.device, dtype: torch.dtype) -> float:
    size = _CPU_SIZE if device.type == "cpu" else _GPU_SIZE
    # Random numbers of its own: a run's must not depend on whether this was measured.
    random = torch.Generator().manual_seed(0)
    left = torch.randn(size, size, generator=random).to(device, dtype)
    right = torch.randn(size, size, generator=random).to(device, dtype)
    best_s, runs, began_at = float("inf"), 0, time.perf_counter()
    with torch.no_grad():
        left @ right  # the first one also sets the library up
        while runs < _LEAST_RUNS or time.perf_counter() - began_at < _BUDGET_S:
            _finish(device)
            before = time.perf_counter()
            left @ right
            _finish(device)
            best_s = min(best_s, time.perf_counter() - before)
            runs += 1
    return 2.0 * size**3 / max(best_s, 1e-9)


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
