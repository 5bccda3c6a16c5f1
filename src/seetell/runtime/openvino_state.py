"""A text decoder in OpenVINO that keeps its keys and values between runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from seetell.core.errors import EngineError
from seetell.runtime.graphs import first_line
from seetell.runtime.states import ROLE, present_name

if TYPE_CHECKING:
    import openvino


def make_stateful(model: openvino.Model, caches: Mapping[str, tuple[int, int]]) -> None:
    """Turn the caches of a decoder's graph from inputs and outputs into variables of its own, in place.

    caches: as ``states.cache_names`` gives them.
    """
    from openvino import opset13 as ops
    from openvino._offline_transformations import apply_make_stateful_transformation

    apply_make_stateful_transformation(model, {name: present_name(name) for name in caches})
    # Empty at first, for as many rows as are read; left to itself the variable would have no rows at all.
    rows = ops.gather(
        ops.shape_of(model.input("beam_idx"), "i64"), ops.constant(np.zeros(1, np.int64)), ops.constant(0)
    )
    for node in model.get_ops():
        if node.get_type_name() != "ReadValue":
            continue
        _, heads, _, head_dim = node.get_output_partial_shape(0)
        sizes = ops.constant(np.array([heads.get_length(), 0, head_dim.get_length()], np.int64))
        empty = ops.broadcast(ops.constant(np.float32(0)), ops.concat([rows, sizes], 0))
        node.set_arguments([empty])
    model.validate_nodes_and_infer_types()


class OpenVINOState:
    """A :class:`seetell.runtime.states.DecoderState`: one request of a graph whose caches are its own."""

    def __init__(self, request: openvino.InferRequest, is_closed: Callable[[], bool]) -> None:
        """is_closed: whether the engine it came from is."""
        self._request = request
        self._is_closed = is_closed

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        if self._is_closed():
            raise EngineError(f"{ROLE}: this model is closed; load it again")
        try:
            found = self._request.infer(dict(inputs), share_inputs=True, share_outputs=True)
            return np.array(found["logits"])
        except Exception as error:  # OpenVINO raises RuntimeError and others from native code
            raise EngineError(f"{ROLE} failed in OpenVINO: {first_line(error)}") from error

    def clear(self) -> None:
        self._request.reset_state()
