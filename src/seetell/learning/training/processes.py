"""The processes of a run: one, or several that Accelerate's launcher (or torchrun) started.

Several work on one batch: each takes its share of the photos, gradients are averaged between them, and
everything that is written or measured is the first process's to do. Nothing here is home-made but the
choice: a run of one process does without Accelerate's wrappers, and is bit by bit what it always was.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal, TypeVar

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.utils import DistributedType, broadcast_object_list
from torch import Tensor, nn

from seetell.core.errors import RecipeError
from seetell.learning.training.devices import choose_device

T = TypeVar("T")

_DATA_PARALLEL = (DistributedType.MULTI_GPU, DistributedType.MULTI_CPU)


class Processes:
    """rank: which process this is, from 0. count: how many there are. device: where this one computes."""

    def __init__(self, wanted: Literal["auto", "cpu", "cuda"]) -> None:
        """Join the others, as the environment of the launcher says. Raises DeviceUnavailable, and RecipeError
        for a way of sharing the work that checkpoints cannot be written from."""
        self._accelerator: Accelerator | None = None
        self.rank, self.count = 0, 1
        self.device = choose_device(wanted)
        if int(os.environ.get("WORLD_SIZE", "1")) <= 1:
            return
        self._accelerator = Accelerator(
            cpu=self.device.type == "cpu",
            # A batch may lack the data of an objective, and then its head has no gradient.
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
        )
        if self._accelerator.distributed_type not in _DATA_PARALLEL:
            raise RecipeError(
                f"{self._accelerator.distributed_type.value} is not how seetell trains: each process holds "
                "the whole model; choose MULTI_GPU or MULTI_CPU in `accelerate config`"
            )
        self.rank, self.count = self._accelerator.process_index, self._accelerator.num_processes
        self.device = self._accelerator.device

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes and measures."""
        return self.rank == 0

    def joined(self, step: nn.Module) -> nn.Module:
        """``step``, which is on :attr:`device`, as something to call: gradients are then averaged between
        processes."""
        if self._accelerator is None:
            return step
        wrapped: nn.Module = self._accelerator.prepare_model(step)
        return wrapped

    def accumulating(self, wrapped: nn.Module, last: bool) -> AbstractContextManager[Any]:
        """Around forward and backward of one of several batches of a step: gradients are averaged after the
        last one only."""
        if self._accelerator is None or last:
            return nullcontext()
        waiting: AbstractContextManager[Any] = self._accelerator.no_sync(wrapped)
        return waiting

    def mean(self, values: Tensor) -> Tensor:
        """The mean over processes. NaN of one is NaN for all, so that all of them stop."""
        if self._accelerator is None:
            return values
        found: Tensor = self._accelerator.reduce(values, reduction="mean")
        return found

    def any(self, flag: bool) -> bool:
        """Whether it is so in any process."""
        if self._accelerator is None:
            return flag
        return bool(self.mean(torch.tensor(float(flag), device=self.device)) > 0)

    def on_first(self, work: Callable[[], T]) -> T:
        """What ``work`` gives in the first process, in all of them. It may be pickled on its way."""
        if self._accelerator is None:
            return work()
        box: list[Any] = [work() if self.is_first else None]
        found: T = broadcast_object_list(box)[0]
        return found

    @contextmanager
    def first_first(self) -> Iterator[None]:
        """The first process goes through the block before the others do."""
        if self._accelerator is None:
            yield
            return
        with self._accelerator.main_process_first():
            yield
