"""The weights of a bundle: one safetensors file that torch reads back and every graph points into.

Matrices and kernels are stored as float16, which halves the file and loses 11 bits of which trained
weights carry nothing; the graph casts them to float32 at once, so arithmetic stays float32. Vectors
(biases, norms, the statistics of batch norm, whose variances can underflow) and small kernels are about one
per cent of the bytes and stay float32.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from torch import Tensor

from seetell.bundle.tensor_file import write_tensors
from seetell.core.errors import ExportError

WEIGHTS_NAME = "model.safetensors"
WeightsDtype = Literal["fp16", "fp32"]

# Rounding to float16 loses 2^-11 at most of a normal number; more than twice that in the mean (root of
# squares, relative) means overflow or numbers too small for the format.
_LARGEST_LOSS = 2.0**-10
# Elements looked at together when losses are measured.
_PIECE = 1 << 22
# Kernels with fewer numbers stay float32. They hold next to nothing of a model, and everything that follows
# carries on what they round: the 230,000 numbers of EfficientNet-Lite2 that lie in such kernels make more
# than half of what its outputs change by.
_SMALL_KERNEL = 20_000
_DTYPE_NAMES = {torch.float16: "F16", torch.float32: "F32", torch.int64: "I64"}
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
    """How a model's weights are stored. Nothing is copied before it is asked for, one tensor at a time.

    sources: the model's own tensors, under the names of its state dict; of tied ones the first name.
    dtypes: what each is stored as. kept_fp32: matrices that float16 does not hold, by name, with the
    relative loss it would have cost (infinite on overflow).
    """

    sources: dict[str, Tensor]
    dtypes: dict[str, torch.dtype]
    kept_fp32: dict[str, float]

    def tensor(self, name: str) -> Tensor:
        """One tensor as it is stored."""
        return self.sources[name].to("cpu", self.dtypes[name]).contiguous()

    def round_in_place(self) -> None:
        """Give the model itself the values that engines will compute with."""
        for name, source in self.sources.items():
            if self.dtypes[name] == torch.float16:
                source.copy_(self.tensor(name))


def choose_storage(state: Mapping[str, Tensor], weights_dtype: WeightsDtype) -> StoredWeights:
    """Decide each tensor's stored dtype. Tied tensors are kept once, under the first name."""
    sources: dict[str, Tensor] = {}
    dtypes: dict[str, torch.dtype] = {}
    kept: dict[str, float] = {}
    seen: set[tuple[int, tuple[int, ...], tuple[int, ...]]] = set()
    for name, tensor in state.items():
        place = (tensor.data_ptr(), tuple(tensor.shape), tensor.stride())
        if tensor.numel() and place in seen:
            continue
        seen.add(place)
        whole = tensor.detach()
        dtype = torch.float32 if whole.is_floating_point() else whole.dtype
        small = whole.ndim == 4 and whole.numel() < _SMALL_KERNEL
        if weights_dtype == "fp16" and whole.is_floating_point() and whole.ndim >= 2 and not small:
            loss = _relative_loss(whole)
            if loss <= _LARGEST_LOSS:
                dtype = torch.float16
            else:
                kept[name] = loss
        sources[name], dtypes[name] = whole, dtype
    return StoredWeights(sources, dtypes, kept)


def _relative_loss(tensor: Tensor) -> float:
    squares = errors = 0.0
    # In pieces: an embedding in float64 would be the largest thing in memory.
    for piece in torch.split(tensor.flatten(), _PIECE):
        exact = piece.double()
        squares += float(exact.square().sum())
        errors += float((piece.half().double() - exact).square().sum())
    if squares == 0:
        return 0.0
    return math.sqrt(errors / squares) if math.isfinite(errors) else float("inf")


def write_weights(path: Path, stored: StoredWeights) -> dict[str, StoredTensor]:
    """Write the file tensor by tensor, and return where each lies in it."""
    tensors = {
        name: (_DTYPE_NAMES[stored.dtypes[name]], tuple(source.shape))
        for name, source in stored.sources.items()
    }
    places = write_tensors(path, tensors, lambda name: _flat(stored.tensor(name).numpy()))
    return {name: StoredTensor(*tensors[name], *place) for name, place in places.items()}


def names_by_content(stored: StoredWeights) -> dict[str, list[str]]:
    """The names of the tensors that hold the same float32 values, by a digest of these."""
    found: dict[str, list[str]] = {}
    for name in stored.sources:
        tensor = stored.tensor(name)
        if not tensor.is_floating_point():
            continue  # a counter; some number in the graph would equal it by chance
        found.setdefault(_content(tensor.float().numpy()), []).append(name)
    return found


def point_into_file(
    model: ir.Model, contents: Mapping[str, list[str]], places: Mapping[str, StoredTensor], role: str
) -> None:
    """Replace the initialisers of ``model`` that are weights by references into the weights file.

    They are matched by content (``names_by_content``), so that whatever the exporter calls them, equal
    weights are stored once. Raises ExportError for a weight that the exporter has changed.
    """
    graph = model.graph
    replaced: dict[str, ir.Value] = {}
    casts: list[ir.Node] = []
    for old in list(graph.initializers.values()):
        assert old.const_value is not None and old.name is not None
        array = old.const_value.numpy()
        own = old.name.removeprefix("model.")
        names = contents.get(_content(array), [])
        if own not in names and (array.ndim == 0 or not names):
            if own in places:
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
    digest = hashlib.sha256(f"{array.dtype}{list(array.shape)}".encode())
    digest.update(_flat(array))
    return digest.hexdigest()


def _flat(array: NDArray[np.generic]) -> memoryview:
    """The bytes of an array, not copied where it is contiguous."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
