"""Exponential moving average of a model's weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from seetell.core.errors import CheckpointError


class Ema:
    """A shadow of a model's parameters and buffers: ``shadow += (1 - d) * (weight - shadow)``.

    ``d`` rises with the updates done, ``min(decay, (1 + n) / (10 + n))`` as in TensorFlow's
    ExponentialMovingAverage, so that the random first weights are soon forgotten. Whole-number buffers
    (counters) are copied. Shadows of floats are kept in float32 whatever the weights are: in bfloat16
    an update by 1/2000 would be rounded away.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self._shadow: dict[str, Tensor] = {
            name: (tensor.detach().float().clone() if tensor.is_floating_point() else tensor.detach().clone())
            for name, tensor in model.state_dict().items()
        }

    def decay_at(self, updates: int) -> float:
        """The decay used for update number ``updates``, counted from 0."""
        return min(self.decay, (1 + updates) / (10 + updates))

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move the shadow towards the model's present weights."""
        rate = 1.0 - self.decay_at(self.updates)
        self.updates += 1
        shadows: list[Tensor] = []
        weights: list[Tensor] = []
        for name, tensor in model.state_dict().items():
            shadow = self._shadow[name]
            if shadow.is_floating_point():
                shadows.append(shadow)
                weights.append(tensor.detach().float())
            else:
                shadow.copy_(tensor)
        # One call for all tensors: hundreds of small ones would cost more in calls than in arithmetic.
        torch._foreach_lerp_(shadows, weights, rate)

    @contextmanager
    def applied_to(self, model: nn.Module) -> Iterator[None]:
        """Within the block the model has the averaged weights; afterwards its own again."""
        own = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        model.load_state_dict(self._shadow)
        try:
            yield
        finally:
            model.load_state_dict(own)

    def state_dict(self) -> dict[str, Tensor]:
        """The averaged weights under the model's own names."""
        return dict(self._shadow)

    def load_state_dict(self, shadow: Mapping[str, Tensor], updates: int) -> None:
        """Continue from a saved average. Raises CheckpointError when it is of another model."""
        if shadow.keys() != self._shadow.keys():
            raise CheckpointError("the averaged weights in the checkpoint are of another model")
        for name, tensor in self._shadow.items():
            if tensor.shape != shadow[name].shape:
                raise CheckpointError(f"the averaged weight {name} in the checkpoint has another shape")
            tensor.copy_(shadow[name])
        self.updates = updates
