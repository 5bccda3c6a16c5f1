"""A factor on what a unit or a whole block gives: its derivative tells how much the unit matters, and zero is
what leaving it out must amount to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn

from seetell.learning.compression.pruning.units import Group, blocks, groups
from seetell.modeling.models.unified import UnifiedModel


@contextmanager
def gated(model: UnifiedModel, gates: Mapping[str, Tensor]) -> Iterator[None]:
    """Within, the model computes with these factors.

    gates: by the name of a group, float[count], or of a block, float[] on all that it adds to the tokens.
    """
    places = {group.name: group for group in groups(model)}
    whole = {block.name: block for block in blocks(model)}
    with ExitStack() as hooks:
        for name, gate in gates.items():
            if name in places:
                group = places[name]
                module = model.get_submodule(group.gate)
                handle = module.register_forward_pre_hook(_before(group, gate))
                hooks.callback(handle.remove)
                continue
            for path in whole[name].gates:
                handle = model.get_submodule(path).register_forward_hook(_after(gate))
                hooks.callback(handle.remove)
        yield


def _before(group: Group, gate: Tensor) -> Any:
    factor = gate[:, None, None] if group.kind == "channels" else gate.repeat_interleave(group.width)

    def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (inputs[0] * factor, *inputs[1:])

    return hook


def _after(gate: Tensor) -> Any:
    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return output * gate

    return hook
