"""Low-rank adapters on linear layers: LoRA (Hu et al. 2021, section 4.1).

    h = W x + b + (alpha / rank) B A x,    A: [rank, in], B: [out, rank]

W and b stay as they are and only A and B learn. B begins at zero, so that an adapted layer begins as the
layer it was. An adapted layer is still a Linear with its ``weight`` and ``bias`` under their old names, so
that whoever names, loads or exports weights need not know of it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_DOWN, _UP, _SCALE = "lora_down", "lora_up", "lora_scale"


class LoraLinear(nn.Linear):
    """float[..., in] -> float[..., out], a Linear and its adapter.

    Args:
        base: its weight and bias are taken over, not copied, and learn no more.
        rank: r, the width of the adapter.
        alpha: the adapter's output is scaled by ``alpha / rank``.
    """

    lora_scale: Tensor

    def __init__(self, base: nn.Linear, rank: int, alpha: float) -> None:
        if rank < 1:
            raise ValueError(f"the rank of an adapter is at least 1, not {rank}")
        # Tensors of the meta device have no storage: the base's own take their place.
        super().__init__(
            base.in_features, base.out_features, bias=base.bias is not None, device=torch.device("meta")
        )
        self.weight = base.weight
        self.bias = base.bias
        for parameter in (self.weight, self.bias):
            if parameter is not None:
                parameter.requires_grad_(False)
        self.lora_down = nn.Parameter(self.weight.new_empty(rank, base.in_features))
        self.lora_up = nn.Parameter(self.weight.new_zeros(base.out_features, rank))
        nn.init.kaiming_uniform_(self.lora_down, a=math.sqrt(5))  # as the authors' code begins A
        # In the state dict, so that adapters can be merged by whoever has the weights alone.
        self.register_buffer(_SCALE, self.weight.new_tensor(alpha / rank))
        self._unmerged: Tensor | None = None
        self.train(base.training)

    @property
    def merged(self) -> bool:
        """Whether ``weight`` has the adapter in it."""
        return self._unmerged is not None

    def forward(self, x: Tensor) -> Tensor:
        out = F.linear(x, self.weight, self.bias)
        if self.merged:
            return out
        return out + self.lora_scale.to(out.dtype) * F.linear(F.linear(x, self.lora_down), self.lora_up)

    @torch.no_grad()
    def merge(self) -> None:
        """Put the adapter into ``weight``, for speed; merging twice is merging once."""
        if self._unmerged is None:
            # Kept, not computed again: in floating point (W + D) - D is not W.
            self._unmerged = self.weight.detach().clone()
            self.weight.copy_(_merged(self.weight, self.lora_down, self.lora_up, self.lora_scale))

    @torch.no_grad()
    def unmerge(self) -> None:
        """Give ``weight`` back bit by bit as it was."""
        if self._unmerged is not None:
            self.weight.copy_(self._unmerged)
            self._unmerged = None

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if self._unmerged is not None:
            # Stored with its adapter beside it, the merged weight would have it twice.
            destination[f"{prefix}weight"] = self._unmerged

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *others: Any) -> None:
        self.unmerge()
        super()._load_from_state_dict(state_dict, prefix, *others)


def add_adapters(model: nn.Module, names: Collection[str], rank: int, alpha: float) -> None:
    """Put an adapter on every linear layer of ``model`` that ``names`` names, in place.

    A layer that stands at several places is adapted once, and at all of them. Raises ValueError for a name
    that is no linear layer's, or is of one whose weight is another layer's, too: both would change.
    """
    found = dict(model.named_modules())
    owners: dict[int, set[int]] = {}
    for module in model.modules():
        for parameter in module._parameters.values():
            if parameter is not None:
                owners.setdefault(id(parameter), set()).add(id(module))
    adapted: dict[int, LoraLinear] = {}
    for name in names:
        layer = found.get(name)
        if not isinstance(layer, nn.Linear) or isinstance(layer, LoraLinear):
            raise ValueError(f"{name} is no linear layer that an adapter fits on")
        if len(owners[id(layer.weight)]) > 1:
            raise ValueError(f"the weight of {name} is another layer's, too")
        adapted[id(layer)] = LoraLinear(layer, rank, alpha)
    for module in list(model.modules()):
        for place, child in list(module._modules.items()):
            if child is not None and id(child) in adapted:
                module._modules[place] = adapted[id(child)]


def adapters(model: nn.Module) -> dict[str, LoraLinear]:
    """The adapted layers of ``model`` by name."""
    return {name: module for name, module in model.named_modules() if isinstance(module, LoraLinear)}


def merge_weights(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict without adapters: each is put into the weight it stands on. Others pass as they are.

    Raises KeyError naming the tensor that an adapter lacks.
    """
    merged = {
        name: tensor
        for name, tensor in weights.items()
        if name.rpartition(".")[2] not in (_DOWN, _UP, _SCALE)
    }
    for name in weights:
        layer, _, last = name.rpartition(".")
        if last == _UP:
            lead = f"{layer}." if layer else ""
            merged[f"{lead}weight"] = _merged(
                *(weights[f"{lead}{part}"] for part in ("weight", _DOWN, _UP, _SCALE))
            )
    return merged


def _merged(weight: Tensor, down: Tensor, up: Tensor, scale: Tensor) -> Tensor:
    # In float64: the rounding is then that of one addition, whatever the rank.
    return (weight.double() + scale.double() * (up.double() @ down.double())).to(weight.dtype)
