"""The Engine protocol over the torch modules themselves.

Training validates through it, and parity checks run through it, so that one decoding loop and one set
of tasks see the torch model exactly as they see an exported one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seetell.bundle.manifest import GraphSpec, Role
from seetell.core.errors import EngineError
from seetell.modeling.export.roles.base import RoleModule, graph_specs
from seetell.modeling.export.roles.registry import role_modules
from seetell.modeling.models.assembled import AssembledModel
from seetell.runtime.engine import Arrays


class TorchEngine:
    """Runs the roles of a model where the model is; weights are read anew by every run.

    Args:
        model: put in evaluation mode, now and at every run; who trains on calls ``train()`` again.
        precision: ``fp32``, or ``bf16`` for autocast as in training.
        without: roles and outputs to leave out, as in ``role_modules``.
    """

    def __init__(
        self,
        model: AssembledModel,
        *,
        precision: Literal["fp32", "bf16"] = "fp32",
        without: Collection[str] = (),
    ) -> None:
        self._model = model
        self._precision = precision
        self._roles: dict[Role, RoleModule] = role_modules(model, without)
        self._closed = False

    @property
    def name(self) -> str:
        return "torch"

    @property
    def precision(self) -> str:
        return self._precision

    @property
    def device(self) -> str:
        return "cpu" if self._torch_device().type == "cpu" else "gpu"

    @property
    def modules(self) -> tuple[RoleModule, ...]:
        """One module per role."""
        return tuple(self._roles.values())

    @property
    def graphs(self) -> dict[Role, GraphSpec]:
        """The ``graphs`` of a manifest for this engine; they name no files."""
        return graph_specs(self._roles.values(), with_files=False)

    def inputs(self, role: str) -> frozenset[str]:
        module = self._module(role)
        return frozenset() if module is None else frozenset(module.inputs)

    def outputs(self, role: str) -> frozenset[str]:
        module = self._module(role)
        return frozenset() if module is None else frozenset(module.outputs)

    def run(
        self, role: str, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None
    ) -> Arrays:
        if self._closed:
            raise EngineError(f"{role}: this engine is closed")
        module = self._module(role)
        if module is None:
            raise EngineError(f"this model has no {role}; it has: {', '.join(sorted(self._roles))}")
        differing = set(inputs) ^ set(module.inputs)
        unknown = set(outputs or ()) - set(module.outputs)
        if differing or unknown:
            raise EngineError(f"{role}: missing or unknown names: {', '.join(sorted(differing | unknown))}")
        tensors = [self._tensor(inputs[name], spec.dtype) for name, spec in module.inputs.items()]
        if self._model.training:
            self._model.eval()
        device = self._torch_device()
        half = torch.autocast(device.type, torch.bfloat16) if self._precision == "bf16" else nullcontext()
        try:
            with torch.no_grad(), half:
                found = dict(zip(module.outputs, module(*tensors), strict=True))
        except (RuntimeError, IndexError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise EngineError(f"{role} failed in torch: {reason}") from error
        wanted = module.outputs if outputs is None else outputs
        return {name: _array(found[name]) for name in wanted}

    def close(self) -> None:
        self._closed = True

    def _module(self, role: str) -> RoleModule | None:
        return next((module for name, module in self._roles.items() if name == role), None)

    def _torch_device(self) -> torch.device:
        return next(self._model.parameters()).device

    def _tensor(self, array: NDArray[Any], dtype: str) -> Tensor:
        # Copied where read-only or strided, which torch would warn about or refuse.
        ready = np.require(array, dtype, ["C", "W", "A"])
        return torch.from_numpy(ready).to(self._torch_device())


def _array(tensor: Tensor) -> NDArray[Any]:
    whole = tensor.float() if tensor.is_floating_point() else tensor
    found: NDArray[Any] = whole.detach().cpu().contiguous().numpy()
    return found
