"""Cutting: a smaller model with the rows and columns of what is kept, and nothing of the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from seetell.learning.compression.pruning.units import Block, Group, blocks, channels, groups
from seetell.modeling.models.config import UnifiedConfig
from seetell.modeling.models.unified import UnifiedModel


@dataclass(frozen=True, slots=True)
class Kept:
    """What stays. units: group's name -> the places of its units, ascending; of a group not named, all.
    dropped: names of the transformer blocks that go as a whole, of each stack fewer than all."""

    units: Mapping[str, Sequence[int]] = field(default_factory=dict)
    dropped: frozenset[str] = frozenset()


def cut(model: UnifiedModel, kept: Kept) -> UnifiedModel:
    """A model with what is kept of ``model``, which stays as it is.

    It computes what ``model`` does where the gates of all else are zero. Raises ValueError where nothing
    would be left of a group or of a stack.
    """
    smaller = UnifiedModel(narrower(model, kept))
    state = dict(model.state_dict())
    for group in groups(model):
        places = kept.units.get(group.name)
        if places is None:
            continue
        for one in group.slices:
            state[one.tensor] = _taken(state[one.tensor], one.axis, one.width, places)
    smaller.load_state_dict(_renumbered(state, blocks(model), kept.dropped))
    return smaller.train(model.training)


def narrower(model: UnifiedModel, kept: Kept) -> UnifiedConfig:
    """The configuration of what is kept. Raises ValueError as :func:`cut`."""
    told: dict[str, Any] = model.config.model_dump()

    def count(group: Group) -> int:
        return len(kept.units.get(group.name, range(group.count)))

    stacks: dict[str, list[Block]] = {}
    for block in blocks(model):
        stacks.setdefault(block.part, []).append(block)
    for part, every in stacks.items():
        left = [block for block in every if block.name not in kept.dropped]
        if not left:
            raise ValueError(f"no block would be left of the {part} part")
        told[part]["depth"] = len(left)
        told[part]["widths"] = [
            {
                "num_heads": count(block.heads),
                "mlp_dim": count(block.units),
                "cross_heads": None if block.cross is None else count(block.cross),
            }
            for block in left
        ]
    inside = [[[count(group) for group in row] for row in stage] for stage in channels(model)]
    if inside:
        told["image"]["inner_channels"] = inside
    return UnifiedConfig.model_validate(told)


def _taken(tensor: Tensor, axis: int, width: int, places: Sequence[int]) -> Tensor:
    """Of a row of units ``width`` wide along ``axis``, those at ``places``."""
    rows = torch.as_tensor(places, dtype=torch.int64, device=tensor.device)
    rows = (rows[:, None] * width + torch.arange(width, device=tensor.device)).flatten()
    return tensor.index_select(axis, rows)


def _renumbered(
    state: Mapping[str, Tensor], every: Sequence[Block], dropped: frozenset[str]
) -> dict[str, Tensor]:
    """The tensors of the blocks that stay, under the numbers these have now."""
    names: dict[str, str] = {}
    left: dict[str, int] = {}
    for block in every:
        stack = block.name.rpartition(".")[0]
        if block.name not in dropped:
            names[block.name] = f"{stack}.{left.get(stack, 0)}"
            left[stack] = left.get(stack, 0) + 1
    prefixes = {block.name + ".": block.name for block in every}
    found: dict[str, Tensor] = {}
    for name, tensor in state.items():
        prefix = next((one for one in prefixes if name.startswith(one)), None)
        if prefix is None:
            found[name] = tensor
        elif prefixes[prefix] in names:
            found[f"{names[prefixes[prefix]]}.{name.removeprefix(prefix)}"] = tensor
    return found
