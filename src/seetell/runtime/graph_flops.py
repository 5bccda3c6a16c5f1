"""Arithmetic counted from a bundle's own graphs: what the closed formulas are for known checkpoints.

The graphs say all there is to know, so this serves any bundle, whatever it was made of.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from seetell.bundle.architecture import ANSWER_TOKENS, CAPTION_TOKENS, QUESTION_TOKENS
from seetell.bundle.flops import FLOPS_PER_MAC, Work
from seetell.core.errors import EngineError
from seetell.runtime.graphs import first_line
from seetell.runtime.openvino_engine import import_openvino

if TYPE_CHECKING:
    from seetell.bundle.catalogue import Purpose
    from seetell.bundle.manifest import Role, TensorSpec
    from seetell.bundle.store import Bundle


def bundle_work(bundle: Bundle, purpose: Purpose) -> Work | None:
    """The arithmetic of one photo for ``purpose``, counted as :mod:`seetell.bundle.architecture` counts it.

    None if the bundle lacks the roles. Raises EngineError if a graph cannot be read.
    """
    graphs = bundle.manifest.graphs
    if "image_encoder" not in graphs:
        return None
    image = count_flops(bundle, "image_encoder", {"B": 1})
    if purpose == "search":
        return Work(image)
    image_tokens = _length(bundle, "image_encoder", "image_tokens")
    if image_tokens is None:
        return None
    if purpose == "caption":
        return _written(bundle, image, image_tokens, CAPTION_TOKENS)
    if "fusion_encoder" not in graphs:
        return None
    question = {"B": 1, "T": QUESTION_TOKENS, "N": image_tokens}
    seen = image + count_flops(bundle, "fusion_encoder", question)
    if bundle.manifest.answers:
        return Work(seen)
    return _written(bundle, seen, QUESTION_TOKENS, ANSWER_TOKENS)


def _written(bundle: Bundle, before: int, memory_tokens: int, tokens: int) -> Work | None:
    if not {"decoder_memory", "text_decoder"} <= bundle.manifest.graphs.keys():
        return None
    memory = count_flops(bundle, "decoder_memory", {"B": 1, "N": memory_tokens})
    # A step after half of the others stands for all: the work grows evenly with the cache.
    step = count_flops(bundle, "text_decoder", {"B": 1, "T": 1, "P": tokens // 2, "N": memory_tokens})
    return Work(before + memory, tokens * step)


def count_flops(bundle: Bundle, role: Role, sizes: Mapping[str, int]) -> int:
    """Operations of one run of ``role``: matrix products, attention and convolutions.

    Args:
        sizes: the lengths of the axes the manifest names, such as ``{"B": 1, "T": 10}``.

    Raises EngineError for a graph that cannot be read or an axis without a length.
    """
    graph = bundle.manifest.graphs.get(role)
    # Those of int8 do the same arithmetic.
    path = bundle.graph_path(role, "fp32" if graph is None or "fp32" in graph.files else "int8")
    inputs = bundle.manifest.graphs[role].inputs
    shapes = {name: [axis_length(axis, sizes, role) for axis in spec.axes] for name, spec in inputs.items()}
    try:
        model = import_openvino().Core().read_model(str(path))
        model.reshape(shapes)
        return FLOPS_PER_MAC * sum(_macs(node) for node in model.get_ordered_ops())
    except Exception as error:  # OpenVINO raises RuntimeError and others from native code
        raise EngineError(f"{role} ({path.name}) cannot be counted: {first_line(error)}") from error


def axis_length(axis: str | int, sizes: Mapping[str, int], role: str) -> int:
    """The length of an axis; ``P+T`` is a sum. Raises EngineError for one that ``sizes`` lacks."""
    if isinstance(axis, int):
        return axis
    try:
        return sum(sizes[name] for name in axis.split("+"))
    except KeyError as error:
        raise EngineError(f"{role}: no length is known for its axis {axis}") from error


def _length(bundle: Bundle, role: Role, output: str) -> int | None:
    """The length of an output's second axis, where the manifest has it as a number."""
    spec: TensorSpec | None = bundle.manifest.graphs[role].outputs.get(output)
    length = spec.axes[1] if spec is not None and len(spec.axes) > 1 else None
    return length if isinstance(length, int) else None


def _macs(node: Any) -> int:
    """Multiply-adds of one operation; 0 for all that is no product."""
    kind = node.get_type_name()
    if kind == "MatMul":
        first = _shape(node.input(0))
        inner = first[-2] if node.get_attributes()["transpose_a"] and len(first) > 1 else first[-1]
        return math.prod(_shape(node.output(0))) * inner
    if kind == "Convolution":  # its kernel is [outputs, inputs, height, width]
        return math.prod(_shape(node.output(0))) * math.prod(_shape(node.input(1))[1:])
    if kind == "GroupConvolution":  # [groups, outputs of a group, inputs of a group, height, width]
        return math.prod(_shape(node.output(0))) * math.prod(_shape(node.input(1))[2:])
    if kind == "ScaledDotProductAttention":
        query, value = _shape(node.input(0)), _shape(node.input(2))
        return math.prod(query[:-1]) * value[-2] * (query[-1] + value[-1])
    return 0


def _shape(end: Any) -> list[int]:
    return [int(length) for length in end.get_shape()]
