"""Which engine, precision and device a bundle runs with on this machine: what ``auto`` means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from seetell.core.errors import DeviceUnavailable, UsageError
from seetell.runtime import onnxruntime_engine
from seetell.runtime.engine import Engine

if TYPE_CHECKING:
    from seetell.bundle.store import Bundle

Precision = Literal["auto", "fp32", "bf16", "int8"]
Device = Literal["auto", "cpu", "gpu"]


def choose_engine(
    bundle: Bundle,
    *,
    precision: str = "auto",
    device: str = "auto",
    threads: int | None = None,
    streams: int = 1,
) -> Engine:
    """The engine for ``bundle``.

    ``precision`` auto is int8 if the manifest records a passed gate, else bf16 where the processor computes
    in it, else fp32. ``device`` auto is an NVIDIA GPU where one and onnxruntime-gpu are installed, else the
    processor. OpenVINO drives processors and Intel's GPUs, ONNX Runtime NVIDIA's. ``streams`` is OpenVINO's;
    ONNX Runtime shares its threads among whatever runs.

    Raises UsageError for unknown words, PrecisionUnavailable and DeviceUnavailable.
    """
    for name, value, allowed in (
        ("precision", precision, get_args(Precision)),
        ("device", device, get_args(Device)),
    ):
        if value not in allowed:
            raise UsageError(f"{name} {value!r} is unknown; choose from {', '.join(allowed)}")
    if threads is not None and threads < 1:
        raise UsageError(f"threads is at least 1, not {threads}")
    if streams < 1 or (threads is not None and streams > threads):
        most = "" if threads is None else f" and at most threads, {threads}"
        raise UsageError(f"streams is at least 1{most}, not {streams}")
    passed = bundle.manifest.gate is not None and bundle.manifest.gate.passed and bundle.has_int8
    if device != "cpu" and onnxruntime_engine.has_cuda():
        chosen = ("int8" if passed else "fp32") if precision == "auto" else precision
        return onnxruntime_engine.ONNXRuntimeEngine(bundle, precision=chosen, device="gpu", threads=threads)
    return _on_processor(bundle, precision, "cpu" if device == "auto" else device, threads, streams, passed)


def _on_processor(
    bundle: Bundle, precision: str, device: str, threads: int | None, streams: int, passed: bool
) -> Engine:
    # Imported here: the engine takes a tenth of a second, and `has_cuda` may have made it needless.
    try:
        from seetell.runtime import openvino_engine

        openvino_engine.import_openvino()
    except ImportError:
        if device == "gpu":
            raise DeviceUnavailable("no GPU can be used: OpenVINO and onnxruntime-gpu are missing") from None
        chosen = ("int8" if passed else "fp32") if precision == "auto" else precision
        return onnxruntime_engine.ONNXRuntimeEngine(bundle, precision=chosen, device="cpu", threads=threads)
    if precision == "auto":
        precision = "int8" if passed else "bf16" if openvino_engine.has_bf16(device) else "fp32"
    return openvino_engine.OpenVINOEngine(
        bundle, precision=precision, device=device, threads=threads, streams=streams
    )
