"""``seetell doctor``: what this machine can run, what is missing, and whether a model is sound here."""

from __future__ import annotations

import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seetell.cli.options import JsonOption
from seetell.cli.output import Output, size

if TYPE_CHECKING:
    from seetell.bundle.store import Bundle

# Largest difference from the recorded fp32 outputs that another processor's rounding explains.
TOLERANCE = 1e-3

NEEDED = (
    "numpy",
    "openvino",
    "pillow",
    "pydantic",
    "rich",
    "safetensors",
    "simplejpeg",
    "tokenizers",
    "typer",
)
# extra -> a package that only it brings
EXTRAS = {"demo": "scikit-image", "train": "torch", "onnxruntime": "onnxruntime"}

Row = tuple[dict[str, Any], tuple[str, str]]


def doctor(
    model: Annotated[
        str | None, typer.Argument(metavar="MODEL", help="Also check this model: files, hashes, results.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Say what this machine can run. Check a model, if one is given."""
    with Output(json=json) as out:
        rows = [*_machine(), *_devices(), _cache(), *_extras()]
        if model is None:
            rows.append(_builtin())
        out.results(rows, ("", ""), "This machine")
        if model is not None:
            _check(model, out)


def _row(name: str, value: str, **more: Any) -> Row:
    return {"check": name, "found": value, **more}, (name, value)


def _version(package: str) -> str | None:
    from importlib import metadata  # not at the top: `seetell --help` does without

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _machine() -> list[Row]:
    import os

    rows = [
        _row("seetell", _version("seetell") or "not installed, run from its source"),
        _row("Python", f"{platform.python_version()} ({sys.executable})"),
        _row("system", f"{platform.system()} {platform.release()} {platform.machine()}"),
        _row("processors", str(os.cpu_count() or "unknown")),
    ]
    for package in NEEDED:
        found = _version(package)
        rows.append(_row(package, found or "missing: pip install seetell", ok=found is not None))
    return rows


def _devices() -> list[Row]:
    try:
        from seetell.runtime.openvino_engine import import_openvino

        core = import_openvino().Core()
        rows = []
        for device in core.available_devices:
            able = set(core.get_property(device, "OPTIMIZATION_CAPABILITIES"))
            precisions = [
                name
                for name, needs in (("fp32", "FP32"), ("bf16", "BF16"), ("int8", "INT8"))
                if needs in able
            ]
            full_name = str(core.get_property(device, "FULL_DEVICE_NAME")).strip()
            rows.append(
                _row(
                    f"OpenVINO {device}",
                    f"{full_name}: {', '.join(precisions)}",
                    device=device.lower(),
                    precisions=precisions,
                )
            )
        return rows
    except Exception as error:  # the doctor reports a broken engine, it does not fall over it
        return [_row("OpenVINO", f"does not start: {error}", ok=False)]


def _cache() -> Row:
    import tempfile

    from seetell.core.errors import StorageError
    from seetell.core.files import cache_folder, storage_error

    folder = Path()
    try:
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (OSError, StorageError) as error:
        if isinstance(error, OSError):
            error = storage_error(error, folder)
        advice = "set SEETELL_CACHE to a folder that can be written, or every start compiles anew"
        return _row("cache", f"{error}; {advice}", ok=False)
    return _row("cache", f"{folder} can be written", ok=True)


def _extras() -> list[Row]:
    rows = []
    for extra, package in EXTRAS.items():
        found = _version(package)
        text = f"{package} {found}" if found else f"not installed: pip install 'seetell[{extra}]'"
        rows.append(_row(f"extra {extra}", text, installed=found is not None))
    return rows


def _builtin() -> Row:
    from seetell.bundle.store import resolve
    from seetell.core.errors import BundleError

    try:
        bundle = resolve()
    except BundleError as error:
        return _row("built-in model", str(error), ok=False)
    return _row("built-in model", f"{bundle.manifest.name} {bundle.manifest.version}", ok=True)


def _check(source: str, out: Output) -> None:
    """Raises BundleError where the files are wrong, GateFailed where the results are."""
    from seetell.bundle.check import run_check
    from seetell.bundle.store import resolve
    from seetell.core.errors import GateFailed
    from seetell.runtime.openvino_engine import OpenVINOEngine

    bundle = resolve(source)
    bundle.verify(full=True)
    rows = _contents(bundle)
    engine = OpenVINOEngine(bundle, precision="fp32")
    try:
        differences = run_check(bundle, engine)
    finally:
        engine.close()
    worst: dict[str, float] = {}
    for one in differences:
        worst[one.role] = max(worst.get(one.role, 0.0), one.max_abs_diff)
    for role in bundle.manifest.graphs:
        if role not in worst:
            rows.append(_row(role, "no recorded outputs to compare with"))
            continue
        agrees = worst[role] <= TOLERANCE
        verdict = "agrees with" if agrees else "differs from"
        rows.append(
            _row(
                role,
                f"{verdict} the recorded outputs: largest difference {worst[role]:.1e}",
                ok=agrees,
                max_abs_diff=worst[role],
            )
        )
    out.results(rows, ("", ""), f"{bundle.manifest.name} {bundle.manifest.version}")
    wrong = [role for role, difference in worst.items() if not difference <= TOLERANCE]
    if wrong:
        raise GateFailed(
            f"{source}: {', '.join(wrong)} computes something else here than where it was made "
            f"(allowed {TOLERANCE:g}); convert it again, or report this machine"
        )


def _contents(bundle: Bundle) -> list[Row]:
    from seetell.runtime.openvino_engine import has_bf16

    files = len(bundle.manifest.files)
    available = ["fp32", *(["bf16"] if has_bf16() else []), *(["int8"] if bundle.has_int8 else [])]
    return [
        _row("files", f"{files} files, {size(bundle.size_bytes)}, all as recorded", ok=True),
        _row("precisions", ", ".join(available)),
    ]
