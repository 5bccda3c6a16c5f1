"""What can be left out of our model piece by piece, and where in it that lies.

Heads of attention, hidden units of MLPs, channels inside the blocks of a ResNet, and whole transformer
blocks. None is seen from outside: the width of the tokens stays, so what is left is again a model of ours.
Fusions other than cross-attention, and the decoder beside them, are left whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from torch import nn

from seetell.modeling.models.unified import UnifiedModel
from seetell.modeling.parts.attention import Attention
from seetell.modeling.parts.block import TransformerBlock
from seetell.modeling.parts.fusion.cross_attention import CrossAttentionFusion
from seetell.modeling.parts.mlp import Mlp
from seetell.modeling.parts.resnet import ResidualBlock, ResNet

Part = Literal["image", "text", "fusion"]
Kind = Literal["heads", "units", "channels"]


@dataclass(frozen=True, slots=True)
class Slice:
    """One tensor that a group's units are rows or columns of: ``width`` of them each, along ``axis``."""

    tensor: str
    axis: int
    width: int = 1


@dataclass(frozen=True, slots=True)
class Group:
    """Units that do the same work in one place, so that any of them can be left out.

    name: of the place, a path in the model. gate: the module that reads what the units give, along the last
    axis, or for channels the second. width: values of one unit there. slices: what goes with a unit.
    """

    name: str
    kind: Kind
    count: int
    gate: str
    width: int
    slices: tuple[Slice, ...]


@dataclass(frozen=True, slots=True)
class Block:
    """A transformer block. name: its path. part: whose configuration tells of it. gates: the modules that
    give what it adds to the tokens."""

    name: str
    part: Part
    heads: Group
    cross: Group | None
    units: Group

    @property
    def groups(self) -> tuple[Group, ...]:
        return tuple(group for group in (self.heads, self.cross, self.units) if group is not None)

    @property
    def gates(self) -> tuple[str, ...]:
        return tuple(group.gate for group in self.groups)


def blocks(model: UnifiedModel) -> list[Block]:
    """The transformer blocks, from the photo on."""
    found: list[Block] = []
    for part, path, stack in _stacks(model):
        for index, block in enumerate(stack):
            assert isinstance(block, TransformerBlock)
            found.append(_block(f"{path}.blocks.{index}", part, block))
    return found


def channels(model: UnifiedModel) -> list[list[list[Group]]]:
    """Of each block of each stage of the ResNet, the channels between its convolutions; empty without one."""
    for path, module in model.named_modules():
        if isinstance(module, ResNet):
            return [
                [
                    _channels(f"{path}.stages.{stage}.{place}", block)
                    for place, block in enumerate(_residual(row))
                ]
                for stage, row in enumerate(module.stages)
            ]
    return []


def groups(model: UnifiedModel) -> list[Group]:
    """All of them."""
    inside = [group for stage in channels(model) for row in stage for group in row]
    return inside + [group for block in blocks(model) for group in block.groups]


def _stacks(model: UnifiedModel) -> Iterator[tuple[Part, str, nn.ModuleList]]:
    seeing = getattr(model.image_encoder, "transformer", None)
    if seeing is not None:
        yield "image", "image_encoder.transformer", seeing.blocks
    yield "text", "text_trunk", model.text_trunk.blocks
    if isinstance(model.fusion, CrossAttentionFusion):
        yield "fusion", "fusion.stack", model.fusion.stack.blocks


def _residual(stage: nn.Module) -> Iterator[ResidualBlock]:
    for block in stage.children():
        assert isinstance(block, ResidualBlock)
        yield block


def _block(name: str, part: Part, block: TransformerBlock) -> Block:
    assert isinstance(block.mlp, Mlp)
    hidden = block.mlp.up.out_features
    mlp = f"{name}.mlp"
    slices = (Slice(f"{mlp}.up.weight", 0), Slice(f"{mlp}.up.bias", 0), Slice(f"{mlp}.down.weight", 1))
    cross = block.cross_attention
    return Block(
        name,
        part,
        _heads(f"{name}.attention", block.attention),
        None if cross is None else _heads(f"{name}.cross_attention", cross),
        Group(mlp, "units", hidden, f"{mlp}.down", 1, slices),
    )


def _heads(name: str, attention: Attention) -> Group:
    width = attention.head_dim
    slices = [
        Slice(f"{name}.{projection}.{tensor}", 0, width)
        for projection in ("query", "key", "value")
        for tensor in ("weight", "bias")
    ]
    slices.append(Slice(f"{name}.out.weight", 1, width))
    return Group(name, "heads", attention.num_heads, f"{name}.out", width, tuple(slices))


def _channels(name: str, block: ResidualBlock) -> list[Group]:
    convs = list(block.convs)
    found: list[Group] = []
    for index in range(len(convs) - 1):
        kernel = convs[index][0]  # type: ignore[index]  # a ConvNorm is a Sequential
        here = f"{name}.convs.{index}"
        slices = [Slice(f"{here}.0.weight", 0)]
        slices += [
            Slice(f"{here}.1.{tensor}", 0) for tensor in ("weight", "bias", "running_mean", "running_var")
        ]
        slices.append(Slice(f"{name}.convs.{index + 1}.0.weight", 1))
        found.append(
            Group(here, "channels", kernel.out_channels, f"{name}.convs.{index + 1}", 1, tuple(slices))
        )
    return found
