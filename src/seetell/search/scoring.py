"""A query's products with rows kept as bytes, in whichever way is fastest where it runs.

Few queries are multiplied row by row (SimSIMD), which takes as long as reading the rows does; many are
multiplied as matrices (OpenVINO), which uses a row that is in the cache for all of them. Without SimSIMD few
take as long as sixteen do. All give the same scores: products of whole numbers are exact in each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seetell.core import settings
from seetell.core.processors import usable_processors

# Rows scored at once: their codes and scores stay in the processor's cache.
CHUNK_ROWS = 16384
# What rows that are not to be found score.
NEVER = np.float32(-1e30)
# So many queries and no more are multiplied row by row.
_FEW_QUERIES = 8

Ids = NDArray[np.int64]
Vectors = NDArray[np.float32]
Scorer = Callable[["Chunk", Vectors], NDArray[np.float32]]


@dataclass
class Chunk:
    """codes: uint8[CHUNK_ROWS, S], 128 for zero. sums: float64[CHUNK_ROWS], of each row's codes. scale, bias:
    float32[CHUNK_ROWS, 1]. ids: int64[CHUNK_ROWS]. A row whose bias is not 0 is not to be found."""

    codes: NDArray[np.uint8]
    sums: NDArray[np.float64]
    scale: NDArray[np.float32]
    bias: NDArray[np.float32]
    ids: Ids

    @classmethod
    def empty(cls, shared_dim: int) -> Chunk:
        return cls(
            np.full((CHUNK_ROWS, shared_dim), 128, np.uint8),
            np.full(CHUNK_ROWS, 128.0 * shared_dim),
            np.zeros((CHUNK_ROWS, 1), np.float32),
            np.full((CHUNK_ROWS, 1), NEVER, np.float32),
            np.zeros(CHUNK_ROWS, np.int64),
        )


def scorer(width: int, shared_dim: int, threads: int | None) -> Scorer:
    """How a chunk is scored against ``width`` queries float32[width, S]: float32[CHUNK_ROWS, width], good
    until the next call. A constant per query, the part that all rows share, is left out.

    Whatever a fast way raises, when it is made or later, a slower one answers: other libraries in the process
    may change what it is made of.

    threads: None reads ``SEETELL_THREADS``, else all that this process may use. Raises UsageError for
    nonsense there.
    """
    threads = threads or settings.threads() or usable_processors()
    makers = [row_by_row, as_matrices] if width <= _FEW_QUERIES else [as_matrices]
    return _FastestLeft([partial(_tried, make, width, shared_dim, threads) for make in makers])


class _FastestLeft:
    """A Scorer: the first of some ways that works, for as long as it does."""

    def __init__(self, makers: list[Callable[[], Scorer | None]]) -> None:
        self._makers = makers
        self._score = self._next()

    def __call__(self, chunk: Chunk, queries: Vectors) -> NDArray[np.float32]:
        while self._score is not in_floats:
            try:
                return self._score(chunk, queries)
            except Exception:
                self._score = self._next()
        return in_floats(chunk, queries)

    def _next(self) -> Scorer:
        while self._makers:
            made = self._makers.pop(0)()
            if made is not None:
                return made
        return in_floats


def _tried(
    make: Callable[[int, int, int], Scorer], width: int, shared_dim: int, threads: int
) -> Scorer | None:
    """The scorer, if it can be made here and gives what numpy gives."""
    # Processors without VNNI may multiply pairs of bytes into 16 bits, which overflows: then not in INT8.
    chunk = Chunk.empty(shared_dim)
    draw = np.random.default_rng(0)
    chunk.codes[:64] = draw.integers(192, 256, (64, shared_dim))
    chunk.sums[:64] = chunk.codes[:64].sum(axis=1)
    chunk.scale[:64], chunk.bias[:64] = 1, 0
    queries = draw.integers(64, 128, (width, shared_dim)).astype(np.float32)
    try:
        score = make(width, shared_dim, threads)
        given = score(chunk, queries)[:64]
    except Exception:
        return None
    return score if np.allclose(given, in_floats(chunk, queries)[:64], rtol=1e-3) else None


def _quantised(queries: Vectors) -> tuple[Vectors, NDArray[np.float32]]:
    """Queries as whole numbers within 127, and their scales float32[1, Q]."""
    scale = np.maximum(np.abs(queries).max(axis=1, keepdims=True), np.finfo(np.float32).tiny) / 127
    return np.rint(queries / scale), np.ascontiguousarray(scale.T, np.float32)


def in_floats(chunk: Chunk, queries: Vectors) -> NDArray[np.float32]:
    """With numpy alone."""
    whole, scale = _quantised(queries)
    product = (chunk.codes.astype(np.float32) - 128) @ whole.T
    return np.asarray(product * scale * chunk.scale + chunk.bias, np.float32)


def row_by_row(width: int, shared_dim: int, threads: int) -> Scorer:
    """With SimSIMD. Raises ImportError where it is not installed (extra ``search``)."""
    import simsimd

    def score(chunk: Chunk, queries: Vectors) -> NDArray[np.float32]:
        whole, scale = _quantised(queries)
        # Bytes times bytes, both with 128 for zero; what the 128s add is taken off again.
        shifted = (whole + 128).astype(np.uint8)
        product = np.array(simsimd.cdist(shifted, chunk.codes, "dot", threads=threads))  # [Q, CHUNK_ROWS]
        product -= 128 * chunk.sums
        product -= 128 * whole.sum(axis=1, keepdims=True)
        return np.asarray(product.T * scale * chunk.scale + chunk.bias, np.float32)

    return score


def as_matrices(width: int, shared_dim: int, threads: int) -> Scorer:
    """With OpenVINO."""
    import openvino as ov
    from openvino import opset13 as op

    codes = op.parameter([CHUNK_ROWS, shared_dim], np.uint8)
    queries = op.parameter([width, shared_dim], np.float32)
    offset, query_scale = op.parameter([1, width], np.float32), op.parameter([1, width], np.float32)
    scale, bias = op.parameter([CHUNK_ROWS, 1], np.float32), op.parameter([CHUNK_ROWS, 1], np.float32)
    # Written so that OpenVINO finds a product of bytes in it: its passes look for a FakeQuantize, and for
    # unsigned codes without a zero point. The 128 that zero is coded as is taken off the products instead.
    low, high = op.constant(np.float32(-128)), op.constant(np.float32(127))
    left = op.multiply(op.convert(codes, "f32"), op.constant(np.float32(1)))
    right = op.fake_quantize(queries, low, high, low, high, 256)
    product = op.subtract(op.matmul(left, right, False, True), offset)
    scores = op.add(op.multiply(op.multiply(product, query_scale), scale), bias)
    graph = ov.Model([op.result(scores)], [codes, queries, offset, query_scale, scale, bias])
    properties: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
    }
    compiled = ov.Core().compile_model(graph, "CPU", properties)
    request = compiled.create_infer_request()

    def score(chunk: Chunk, given: Vectors) -> NDArray[np.float32]:
        whole, scales = _quantised(given)
        shift = np.ascontiguousarray(128 * whole.sum(axis=1, keepdims=True).T)
        inputs = (chunk.codes, np.ascontiguousarray(whole), shift, scales, chunk.scale, chunk.bias)
        for number, value in enumerate(inputs):
            request.set_input_tensor(number, ov.Tensor(value, shared_memory=True))
        request.infer()
        return np.asarray(request.get_output_tensor(0).data)

    return score
