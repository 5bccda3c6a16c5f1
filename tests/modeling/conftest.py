"""What the tests of parts and models share."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn


@pytest.fixture(autouse=True)
def _one_thread_and_seed() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def shaken() -> Callable[[nn.Module], nn.Module]:
    """Move every parameter and running statistic off its initial value, in evaluation mode.

    Zeros and ones at the start (biases, norms, the last norm of a residual block) hide wrong wiring.
    """

    def shake(module: nn.Module) -> nn.Module:
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
            for name, buffer in module.named_buffers():
                if name.endswith("running_mean"):
                    buffer.normal_(std=0.1)
                elif name.endswith("running_var"):
                    buffer.uniform_(0.5, 1.5)
        return module.eval()

    return shake


@pytest.fixture
def untouched() -> Callable[[nn.Module, Tensor], list[str]]:
    """Names of the parameters that a loss over ``output`` gives no gradient."""

    def names(module: nn.Module, output: Tensor) -> list[str]:
        module.zero_grad(set_to_none=True)
        # A plain sum after a LayerNorm is constant; random weights see every component.
        (output * torch.randn_like(output)).sum().backward()
        return [
            name
            for name, parameter in module.named_parameters()
            # softmax(q (k + b)) is the same for every b: a key's bias moves nothing, by construction.
            if not name.endswith("key.bias")
            and (parameter.grad is None or not bool(parameter.grad.abs().sum() > 0))
        ]

    return names
