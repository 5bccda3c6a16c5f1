"""The layers of an image encoder that do not learn, run by OpenVINO: two to three times torch's pace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from torch import Tensor, nn

from seetell.bundle.manifest import Role
from seetell.modeling.export.onnx_export import export_graph
from seetell.modeling.export.roles.base import RoleModule, spec
from seetell.runtime.openvino_engine import import_openvino

# Photos a request computes at once.
_TOGETHER = 8


class _Map(RoleModule):
    role: Role = "image_encoder"

    def __init__(
        self, layers: nn.Module, size: tuple[int, int], shape: tuple[int, int, int], stage: int
    ) -> None:
        super().__init__(
            {"pixel_values": spec("float32", "B", 3, *size)}, {"maps": spec("float32", "B", *shape)}, ()
        )
        self.layers = layers
        self.stage = stage

    def forward(self, pixel_values: Tensor) -> Tensor:
        stages: tuple[Tensor, ...] = self.layers.forward_stages(pixel_values)  # type: ignore[operator]  # a Module's attribute
        return stages[self.stage]


def map_of(
    layers: nn.Module, size: tuple[int, int], shape: tuple[int, int, int], stage: int
) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """A function float32[B, 3, H, W] -> float32[B, C, h, w], exact to float32, that may be called from
    several threads: the map of ``stage`` of the layers.

    Args:
        layers: with ``forward_stages``, in evaluation mode.
        size: (H, W) in pixels. shape: (C, h, w).
    """
    model = ir.to_proto(export_graph(_Map(layers, size, shape, stage)))
    core = import_openvino().Core()
    # Streams of a thread each wait for no other, which matters beside a training on the same processors.
    exact = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "THROUGHPUT"}
    compiled: Any = core.compile_model(core.read_model(model.SerializeToString()), "CPU", exact)

    def run(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        requests = []
        for start in range(0, len(pixels), _TOGETHER):
            request = compiled.create_infer_request()
            request.start_async({0: pixels[start : start + _TOGETHER]})
            requests.append(request)
        for request in requests:
            request.wait()
        return np.concatenate([request.get_output_tensor(0).data for request in requests])

    return run
