"""The weights of a bundle: one safetensors file that torch reads back and every graph points into.

Matrices and kernels are stored as float16, which halves the file and loses 11 bits of which trained
weights carry nothing; the graph casts them to float32 at once, so arithmetic stays float32. Vectors
(biases, norms, the statistics of batch norm, whose variances can underflow) are under one per cent of
the bytes and stay float32.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import onnx_ir as ir
import safetensors.torch
from numpy.typing import NDArray
from torch import Tensor

from seetell.core.errors import ExportError

WEIGHTS_NAME = "model.safetensors"
WeightsDtype = Literal["fp16", "fp32"]

# Rounding to float16 loses 2^-11 at most of a normal number; more than twice that in the mean (root of
# squares, relative) means overflow or numbers too small for the format.
_LARGEST_LOSS = 2.0**-10
_ONNX_DTYPES = {"F16": ir.DataType.FLOAT16, "F32": ir.DataType.FLOAT, "I64": ir.DataType.INT64}


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """Where one tensor lies in the file. ``offset`` counts from the file's first byte."""

    dtype: str
    shape: tuple[int, ...]
    offset: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class StoredWeights:
    """tensors: what is written, under the names of the state dict. kept_fp32: matrices that float16 does
    not hold, by name, with the relative loss it would have cost (infinite on overflow)."""

    tensors: dict[str, Tensor]
    kept_fp32: dict[str, float]

    def upcast(self) -> dict[str, Tensor]:
        """The float32 values the engines compute with, for ``load_state_dict``."""
        return {
            name: tensor.float() if tensor.is_floating_point() else tensor
            for name, tensor in self.tensors.items()
        }


def choose_storage(state: Mapping[str, Tensor], weights_dtype: WeightsDtype) -> StoredWeights:
    """Decide each tensor's stored dtype and round it. Tied tensors are kept once, under the first name."""
    tensors: dict[str, Tensor] = {}
    kept: dict[str, float] = {}
    seen: set[tuple[int, tuple[int, ...], tuple[int, ...]]] = set()
    for name, tensor in state.items():
        place = (tensor.data_ptr(), tuple(tensor.shape), tensor.stride())
        if tensor.numel() and place in seen:
            continue
        seen.add(place)
        whole = tensor.detach().cpu()
        whole = (whole.float() if whole.is_floating_point() else whole).contiguous().clone()
        if weights_dtype == "fp16" and whole.is_floating_point() and whole.ndim >= 2:
            loss = _relative_loss(whole)
            if loss <= _LARGEST_LOSS:
                whole = whole.half()
            else:
                kept[name] = loss
        tensors[name] = whole
    return StoredWeights(tensors, kept)


def _relative_loss(tensor: Tensor) -> float:
    norm = float(tensor.double().norm())
    if norm == 0:
        return 0.0
    error = float((tensor.half().double() - tensor.double()).norm())
    return error / norm if np.isfinite(error) else float("inf")


def write_weights(path: Path, stored: StoredWeights) -> dict[str, StoredTensor]:
    """Write the file and return where each tensor lies in it."""
    data = safetensors.torch.save(stored.tensors)
    path.write_bytes(data)
    (header_length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + header_length])
    start = 8 + header_length
    return {
        name: StoredTensor(
            entry["dtype"],
            tuple(entry["shape"]),
            start + entry["data_offsets"][0],
            entry["data_offsets"][1] - entry["data_offsets"][0],
        )
        for name, entry in header.items()
        if name != "__metadata__"
    }


def point_into_file(
    model: ir.Model, stored: StoredWeights, places: Mapping[str, StoredTensor], role: str
) -> None:
    """Replace the initialisers of ``model`` that are weights by references into the weights file.

    They are matched by content, so that whatever the exporter calls them, equal weights are stored once.
    Raises ExportError for a weight that the exporter has changed.
    """
    by_content: dict[str, list[str]] = {}
    for name, tensor in stored.upcast().items():
        if not tensor.is_floating_point():
            continue  # a counter; some number in the graph would equal it by chance
        by_content.setdefault(_content(tensor.numpy()), []).append(name)
    graph = model.graph
    replaced: dict[str, ir.Value] = {}
    casts: list[ir.Node] = []
    for old in list(graph.initializers.values()):
        assert old.const_value is not None and old.name is not None
        array = old.const_value.numpy()
        own = old.name.removeprefix("model.")
        names = by_content.get(_content(array), [])
        if own not in names and (array.ndim == 0 or not names):
            if own in stored.tensors:
                raise ExportError(
                    f"{role}: the weight {own} changed on its way into the graph, so it cannot be stored "
                    "once; export the graph unoptimised"
                )
            continue  # a table, a shape or a number, and no weight
        name = own if own in names else names[0]
        del graph.initializers[old.name]
        if name not in replaced:
            replaced[name] = _reference(graph, name, places[name], casts)
        ir.convenience.replace_all_uses_with(old, replaced[name])
    first = next(iter(graph), None)
    if first is not None and casts:
        graph.insert_before(first, casts)


def _reference(graph: ir.Graph, name: str, place: StoredTensor, casts: list[ir.Node]) -> ir.Value:
    """The float32 (or whole-number) value of a stored tensor, through a Cast if it is stored as float16."""
    dtype, shape = _ONNX_DTYPES[place.dtype], ir.Shape(place.shape)
    value = ir.Value(
        name=name,
        shape=shape,
        type=ir.TensorType(dtype),
        const_value=ir.ExternalTensor(
            WEIGHTS_NAME, place.offset, place.size_bytes, dtype, shape=shape, name=name
        ),
    )
    graph.register_initializer(value)
    if dtype != ir.DataType.FLOAT16:
        return value
    cast = ir.node("Cast", [value], attributes={"to": ir.DataType.FLOAT}, name=f"{name}/cast")
    cast.outputs[0].name = f"{name}/float"
    casts.append(cast)
    return cast.outputs[0]


def _content(array: NDArray[np.generic]) -> str:
    whole = np.ascontiguousarray(array)
    digest = hashlib.sha256(f"{whole.dtype}{list(whole.shape)}".encode())
    digest.update(whole.tobytes())
    return digest.hexdigest()
