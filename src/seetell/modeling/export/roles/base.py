"""What every role of every model shares: names, dtypes and axes of a graph, and how caches are named.

The same modules are exported to ONNX, run by the torch engine and compared with each other, so the names,
dtypes and axes of the contract are written down in this package and nowhere else.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Literal

from torch import Tensor, nn

from seetell.bundle.manifest import GraphSpec, Role, TensorSpec
from seetell.modeling.parts.attention import Attention, KeyValue
from seetell.modeling.parts.block import TransformerBlock
from seetell.modeling.parts.text import TextTransformer

Specs = dict[str, TensorSpec]
_Dtype = Literal["float32", "int64", "bool"]


def spec(dtype: _Dtype, *axes: str | int) -> TensorSpec:
    """One input or output; axes named by letters are dynamic."""
    return TensorSpec(dtype=dtype, axes=axes)


class RoleModule(nn.Module):
    """One graph: tensors in the order of ``inputs``, a tuple in the order of ``outputs``.

    Axes named in the specs are dynamic: B batch, T tokens, P cached tokens, N image or memory tokens, H and
    W pixels. ``multiple_of`` is what H and W have to be multiples of.
    """

    role: Role
    inputs: Specs
    outputs: Specs
    multiple_of: int = 1

    def __init__(self, inputs: Specs, outputs: Specs, without: Collection[str]) -> None:
        super().__init__()
        self.inputs = inputs
        self.outputs = {name: spec for name, spec in outputs.items() if name not in without}

    def _chosen(self, found: dict[str, Tensor]) -> tuple[Tensor, ...]:
        return tuple(found[name] for name in self.outputs)


def graph_specs(modules: Iterable[RoleModule], *, with_files: bool = True) -> dict[Role, GraphSpec]:
    """What a manifest says about each role. Without files it serves an engine that has none (torch)."""
    return {
        module.role: GraphSpec(
            files={"fp32": f"{module.role}.onnx"} if with_files else {},
            inputs=module.inputs,
            outputs=module.outputs,
        )
        for module in modules
    }


def text_inputs(length: str | int = "T") -> Specs:
    """``input_ids`` and ``attention_mask`` of that length."""
    return {"input_ids": spec("int64", "B", length), "attention_mask": spec("bool", "B", length)}


def blocks_of(stack: TextTransformer) -> list[TransformerBlock]:
    """The blocks, in order, as what they are."""
    return [block for block in stack.blocks if isinstance(block, TransformerBlock)]


def cache_specs(prefix: str, attentions: Sequence[Attention], length: str) -> Specs:
    """``PREFIX.i.key`` and ``.value``, float32[B, kv_heads, length, head_dim] each."""
    return {
        f"{prefix}.{index}.{part}": spec("float32", "B", one.kv_heads, length, one.head_dim)
        for index, one in enumerate(attentions)
        for part in ("key", "value")
    }


def named(prefix: str, caches: Sequence[KeyValue]) -> dict[str, Tensor]:
    """Caches under the names :func:`cache_specs` gives them."""
    return {
        f"{prefix}.{index}.{part}": tensor
        for index, pair in enumerate(caches)
        for part, tensor in zip(("key", "value"), pair, strict=True)
    }


def pairs(tensors: Sequence[Tensor]) -> list[KeyValue]:
    """A flat row of keys and values, two by two."""
    return list(zip(tensors[::2], tensors[1::2], strict=True))
