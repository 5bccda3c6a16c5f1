"""The one door to NNCF: activations calibrated, weights per channel, as ONNX QDQ nodes.

Only layers with weights are quantised. Residual additions, norms, softmax and the products of attention
keep float32: they are few of the operations and most of what int8 breaks.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import warnings
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from onnx import numpy_helper

from seetell.core.errors import MissingExtra
from seetell.learning.compression.graphs import WorkingGraph, drop_unused
from seetell.runtime.engine import Arrays

Profile = Literal["portable", "cpu"]


def import_nncf() -> Any:
    """NNCF, silent, and without its usage reports: a toolkit that works offline sends none.

    Raises MissingExtra.
    """
    # Read once, when NNCF is first imported.
    os.environ.setdefault("NNCF_CI", "1")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import nncf
    except ImportError as error:
        raise MissingExtra("nncf", "compress", "to quantise") from error
    nncf.set_log_level(logging.ERROR)
    return nncf


def quantise(working: WorkingGraph, samples: Sequence[Arrays], profile: Profile) -> Any:
    """The graph with Q/DQ nodes before its layers, as an ONNX model; ``working`` stays as it is.

    Weights keep their float values: they are quantised when they are stored, once for all graphs, by the
    rule NNCF follows. Biases are corrected for what quantising changes in the mean.

    Args:
        working: float32.
        samples: inputs of the role, at least one.
        profile: ``portable`` has symmetric signed activations, which every engine takes; ``cpu`` asymmetric
            ones, which use the range of one-sided activations better.
    """
    nncf = import_nncf()
    from nncf.common.quantization.structs import QuantizationScheme
    from nncf.quantization.advanced_parameters import (
        AdvancedQuantizationParameters,
        OverflowFix,
        QuantizationParameters,
    )

    layers = {layer.node for layer in working.layers if layer.data is not None}
    convolutions = [
        node for node in working.model.graph.node if node.name in layers and node.op_type == "Conv"
    ]
    symmetric = profile == "portable"
    activations = QuantizationParameters(
        mode=QuantizationScheme.SYMMETRIC if symmetric else QuantizationScheme.ASYMMETRIC
    )
    weights = QuantizationParameters(mode=QuantizationScheme.SYMMETRIC, per_channel=True)
    # Its progress bars go to standard output, where results are.
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        model = nncf.quantize(
            working.model,
            nncf.Dataset(list(samples)),
            subset_size=len(samples),
            # Of each layer given what the layers below it give in int8, not what they gave in floats: a chain
            # of convolutions without norms adds their faults up. It runs the graph once for every layer, and
            # transformers do not need it.
            fast_bias_correction=2 * len(convolutions) < len(layers),
            ignored_scope=nncf.IgnoredScope(
                names=[node.name for node in working.model.graph.node if node.name not in layers],
                validate=False,
            ),
            advanced_parameters=AdvancedQuantizationParameters(
                # Old processors saturate; halving the range of weights would cost everyone a bit.
                overflow_fix=OverflowFix.DISABLE,
                activations_quantization_params=activations,
                weights_quantization_params=weights,
                backend_params={"compress_weights": False},
            ),
        )
    _free_weights(model)
    if symmetric:
        _make_signed(model)
    del model.graph.value_info[:]  # of the types before
    return model


def _free_weights(model: Any) -> None:
    """Take the quantisers of constants out."""
    constants = {one.name for one in model.graph.initializer}
    quantised = {
        node.output[0]: node.input[0]
        for node in model.graph.node
        if node.op_type == "QuantizeLinear" and node.input[0] in constants
    }
    freed = {
        node.output[0]: quantised[node.input[0]]
        for node in model.graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in quantised
    }
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = freed.get(name, name)
    drop_unused(model)


def _make_signed(model: Any) -> None:
    """Turn unsigned quantisers with a zero point of 0 into signed ones of the same range.

    NNCF makes them where an activation is never negative; TensorRT takes signed ones only. A bit of such an
    activation's resolution is the price.
    """
    constants = {one.name: one for one in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type != "QuantizeLinear" or len(node.input) < 3:
            continue
        scale, zero = (numpy_helper.to_array(constants[name]) for name in node.input[1:3])
        if zero.dtype != np.uint8 or np.any(zero):
            continue
        wider = np.asarray(scale * np.float32(255 / 127), np.float32)
        constants[node.input[1]].CopyFrom(numpy_helper.from_array(wider, node.input[1]))
        constants[node.input[2]].CopyFrom(numpy_helper.from_array(zero.astype(np.int8), node.input[2]))
