"""What a task needs from an inference engine, and nothing more.

OpenVINO, ONNX Runtime and torch (for validation and parity checks) stand behind this one Protocol, so
that one decoding loop and one set of tasks serve them all. Role, input and output names and their
shapes are the bundle contract's (``seetell.bundle.manifest``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]


class Engine(Protocol):
    """Runs the graphs of one bundle. Thread-safe; a graph is compiled when it is first run."""

    @property
    def name(self) -> str:
        """``openvino``, ``onnxruntime`` or ``torch``."""
        ...

    @property
    def precision(self) -> str:
        """The precision in force, never ``auto``: ``fp32``, ``bf16`` or ``int8``."""
        ...

    @property
    def device(self) -> str:
        """The device in force, never ``auto``: ``cpu`` or ``gpu``."""
        ...

    def inputs(self, role: str) -> frozenset[str]:
        """Names of the inputs of ``role``; empty when the bundle lacks the role."""
        ...

    def outputs(self, role: str) -> frozenset[str]:
        """Names of the outputs of ``role``; empty when the bundle lacks the role."""
        ...

    def run(
        self, role: str, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None
    ) -> Arrays:
        """Run one graph. ``outputs`` limits what is copied back (default: all).

        Raises EngineError naming the role when the engine fails.
        """
        ...

    def close(self) -> None:
        """Free the compiled graphs. Running afterwards raises EngineError."""
        ...
