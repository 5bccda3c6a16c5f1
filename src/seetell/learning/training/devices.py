"""Where a run computes, and moving batches there."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

from seetell.core.errors import DeviceUnavailable
from seetell.learning.batch import Batch, TeacherInputs

T = TypeVar("T")
B = TypeVar("B", Batch, TeacherInputs)


def choose_device(wanted: Literal["auto", "cpu", "cuda"]) -> torch.device:
    """The device of a run. Raises DeviceUnavailable for ``cuda`` where there is none."""
    available = torch.cuda.is_available()
    if wanted == "cuda" and not available:
        raise DeviceUnavailable("device: cuda is not available to torch here; use device=cpu")
    return torch.device("cuda" if available and wanted != "cpu" else "cpu")


def move_batch(batch: B, device: torch.device) -> B:
    """The batch with every tensor on ``device``; the batch itself where it is there already."""
    return batch if device.type == "cpu" else _moved(batch, device)


def _moved(value: T, device: torch.device) -> T:
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)  # type: ignore[return-value]  # Tensor is T here
    if is_dataclass(value) and not isinstance(value, type):
        changes: dict[str, Any] = {
            one.name: _moved(getattr(value, one.name), device) for one in fields(value)
        }
        return replace(value, **changes)
    if isinstance(value, tuple):
        return tuple(_moved(one, device) for one in value)  # type: ignore[return-value]  # T is a tuple here
    return value
