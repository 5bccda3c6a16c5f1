"""Which engine, precision and device a bundle runs with on this machine: what ``auto`` means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from seetell.core.errors import DeviceUnavailable, PrecisionUnavailable, UsageError
from seetell.runtime import onnxruntime_engine
from seetell.runtime.comparison import Way
from seetell.runtime.engine import Engine
from seetell.runtime.fastest_engine import FastestEngine, Setting

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

    ``precision`` auto is the fastest here of fp32, bf16 where the device can compute in it, and int8 if the
    manifest records a passed gate; and int8 computes what it leaves in floats in what is fastest for that. It
    is measured when a graph is first run, once on a machine. ``device`` auto is an NVIDIA GPU where one and
    onnxruntime-gpu are installed, else the processor. OpenVINO drives processors and Intel's GPUs, ONNX
    Runtime NVIDIA's. ``streams`` is OpenVINO's; ONNX Runtime shares its threads among whatever runs.

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
    if device != "cpu" and onnxruntime_engine.has_cuda():
        return _onnxruntime(bundle, precision, "gpu", threads)
    on = "cpu" if device == "auto" else device
    # Imported here: the engine takes a tenth of a second, and `has_cuda` may have made it needless.
    try:
        from seetell.runtime import openvino_engine

        openvino_engine.import_openvino()
    except ImportError:
        if on == "gpu":
            raise DeviceUnavailable("no GPU can be used: OpenVINO and onnxruntime-gpu are missing") from None
        return _onnxruntime(bundle, precision, on, threads)
    return _openvino(bundle, precision, on, threads, streams)


def _openvino(bundle: Bundle, precision: str, device: str, threads: int | None, streams: int) -> Engine:
    from seetell.runtime import openvino_engine

    def make(way: Way) -> Engine:
        return openvino_engine.OpenVINOEngine(
            bundle,
            precision=way.precision,
            floats=way.floats,
            decoder_floats=way.decoder_floats,
            device=device,
            threads=threads,
            streams=streams,
        )

    ways = _ways(bundle, precision, openvino_engine.has_bf16(device))
    if len(ways) == 1:
        return make(ways[0])
    setting = Setting("openvino", openvino_engine.version(), device, threads, streams)
    return FastestEngine(bundle, ways, make, setting, by_processor=device == "cpu")


def _onnxruntime(bundle: Bundle, precision: str, device: str, threads: int | None) -> Engine:
    def make(way: Way) -> Engine:
        return onnxruntime_engine.ONNXRuntimeEngine(
            bundle, precision=way.precision, device=device, threads=threads
        )

    ways = _ways(bundle, precision, bf16=False)
    if len(ways) == 1:
        return make(ways[0])
    # Its threads are busy while they wait for each other, so that processor time would tell nothing.
    setting = Setting("onnxruntime", onnxruntime_engine.version(), device, threads, 1)
    return FastestEngine(bundle, ways, make, setting, by_processor=False)


def _ways(bundle: Bundle, precision: str, bf16: bool) -> list[Way]:
    """What a precision can mean for a bundle, the most exact first. bf16: the device can compute in it.

    Raises PrecisionUnavailable where none may be chosen.
    """
    manifest = bundle.manifest
    int8 = [Way("int8", "f32"), *([Way("int8", "bf16")] if bf16 else [])]
    if bf16 and "text_decoder" in manifest.graphs and len(manifest.graphs) > 1:
        # A large product may gain by what costs time in a small one.
        int8[1:1] = [Way("int8", "f32", "bf16"), Way("int8", "bf16", "f32")]
    if precision == "int8":
        return int8
    if precision == "bf16":
        return [Way("bf16", "bf16")]
    if precision == "fp32":
        return [Way("fp32")]
    if not manifest.graphs:
        return [Way("fp32")]
    passed = manifest.gate is not None and manifest.gate.passed and bundle.has_int8
    floats = [Way("fp32"), *([Way("bf16", "bf16")] if bf16 else [])] if bundle.has_floats else []
    ways = [*floats, *(int8 if passed else [])]
    if not ways:
        raise PrecisionUnavailable(
            f"{manifest.name} has graphs in int8 alone, which no gate has passed; ask for precision int8 to "
            "run it all the same"
        )
    return ways
