"""What part of the arithmetic a machine could do in a step's time the step did: model FLOPs utilisation.

The operations of matrix products, attention and convolutions are counted on a real step, forward and
backward, once for each picture size (Chowdhery et al. 2022, "PaLM", appendix B, defines the measure). What a
frozen part does not compute is not counted; what ``chunk`` computes twice is counted twice.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from seetell.learning.batch import Batch
from seetell.learning.training.gemm_rate import gemm_rate

_Size = tuple[int, int]


def _attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return int(sdpa_flop_count(query, key, value))  # type: ignore[no-untyped-call]  # torch leaves it untyped


def _attention_backward(gradient: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return int(sdpa_backward_flop_count(gradient, query, key, value))  # type: ignore[no-untyped-call]  # as above


def _convolution_backward(
    gradient: list[int],
    inputs: list[int],
    weight: list[int],
    _bias: Any,
    _stride: Any,
    _padding: Any,
    _dilation: Any,
    transposed: bool,
    _output_padding: Any,
    _groups: int,
    wanted: list[bool],
    **_: Any,
) -> int:
    """The gradients of the inputs and of the weights, those that are wanted: each multiplies as often as the
    way forward."""
    cells = inputs if transposed else gradient
    forward = 2 * inputs[0] * math.prod(cells[2:]) * math.prod(weight)
    return forward * sum(wanted[:2])


# torch's own table has the attention of GPUs alone, and takes the gradient of a grouped convolution's weights
# as if every channel met every other.
_OWN = {
    torch.ops.aten.convolution_backward: _convolution_backward,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}


class Utilisation:
    """Counts steps, and relates their pace to the device's rate, which is measured when first needed."""

    def __init__(self, device: torch.device, processes: int) -> None:
        """processes: how many share the photos. Each measures while the others do, so that those of one
        machine share its rate."""
        self._device = device
        self._processes = processes
        self._flops_per_photo: dict[_Size, float] = {}

    def knows(self, batch: Batch) -> bool:
        """Whether a batch of this picture size was counted."""
        return _size(batch) in self._flops_per_photo

    @contextmanager
    def counting(self, batch: Batch) -> Iterator[None]:
        """Around forward and backward of a batch; counts them unless :meth:`knows` the batch's size."""
        if self.knows(batch):
            yield
            return
        with FlopCounterMode(display=False, custom_mapping=_OWN) as counter:
            yield
        self._flops_per_photo[_size(batch)] = counter.get_total_flops() / len(batch.keys)

    def flops_per_photo(self, batch: Batch) -> float:
        """Operations for each photo of a batch like this one, which was counted."""
        return self._flops_per_photo[_size(batch)]

    def share(self, batch: Batch, photos_per_s: float) -> float:
        """The utilisation, 0 to 1, when all processes together train on so many photos a second."""
        wanted = self.flops_per_photo(batch) * photos_per_s / self._processes
        return wanted / gemm_rate(self._device)


def _size(batch: Batch) -> _Size:
    height, width = (batch.pixel_values if batch.maps is None else batch.maps).shape[2:]
    return int(height), int(width)
