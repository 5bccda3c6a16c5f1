"""``seetell doctor``: what this machine can run, what is missing, and whether a model is sound here."""

from __future__ import annotations

import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seetell.cli.options import JsonOption
from seetell.cli.output import Output, size
from seetell.core.installation import install_command

if TYPE_CHECKING:
    from seetell.bundle.store import Bundle
    from seetell.runtime.engine import Engine

# Largest difference from the recorded fp32 outputs that another processor's rounding explains.
TOLERANCE = 1e-3
# Processors round int8 differently; a graph that is wrong points somewhere else altogether.
INT8_AGREEMENT = 0.9

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
EXTRAS = {
    "chat": "gguf",
    "heic": "pi-heif",
    "hub": "huggingface_hub",
    "onnxruntime": "onnxruntime",
    "prepare": "py3langid",
    "search": "lancedb",
    "serve": "fastapi",
    "train": "torch",
    "compress": "nncf",
    "wandb": "wandb",
}

Row = tuple[dict[str, Any], tuple[str, str]]


def doctor(
    model: Annotated[
        str | None, typer.Argument(metavar="MODEL", help="Also check this model: files, hashes, results.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Say what this machine can run. Check a model, if one is given."""
    with Output(json=json) as out:
        rows = [*_machine(), *_devices(), _cache(), _hub(), *_extras()]
        if model is None:
            rows += _builtin()
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
        rows.append(_row(package, found or f"missing: {install_command()}", ok=found is not None))
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


def _hub() -> Row:
    from seetell.core import settings
    from seetell.core.errors import UsageError

    try:
        return _row("hub", f"{settings.hub()}, of ids that name none", ok=True)
    except UsageError as error:
        return _row("hub", str(error), ok=False)


def _extras() -> list[Row]:
    rows = []
    for extra, package in EXTRAS.items():
        found = _version(package)
        text = f"{package} {found}" if found else "not installed"
        rows.append(_row(f"extra {extra}", text, installed=found is not None))
    if not all(row["installed"] for row, _ in rows):
        rows.append(_row("to add one", install_command("EXTRA")))
    return rows


def _builtin() -> list[Row]:
    from seetell.bundle.store import resolve
    from seetell.core.errors import BundleError

    try:
        bundle = resolve()
    except BundleError as error:
        return [_row("built-in model", str(error), ok=False)]
    manifest = bundle.manifest
    return [_row("built-in model", f"{manifest.name} {manifest.version}", ok=True), *_speed(bundle)]


def _speed(bundle: Bundle) -> list[Row]:
    """What ``auto`` takes for this model here, and what was measured; measures where nothing was yet."""
    from seetell.core import settings
    from seetell.core.errors import SeetellError
    from seetell.runtime.fastest_engine import FastestEngine
    from seetell.runtime.select import choose_engine

    try:
        engine = choose_engine(bundle, threads=settings.threads())
        if not isinstance(engine, FastestEngine):
            return [_row("runs in", f"{engine.precision}, all that this model has here")]
        found = engine.comparison
        engine.close()
    except SeetellError as error:
        return [_row("runs in", f"nothing here: {error}", ok=False)]
    chosen, fastest = found.chosen, found.fastest
    why = "fastest here" if chosen == fastest else f"as fast as {fastest.name}, and more exact"
    rows = [_row("runs in", f"{chosen.name}: {why if found.ms else 'nothing could be measured'}")]
    for works in list(found.ms.values())[:1]:
        rows.append(_row("measured", f"time to {', '.join(works)}"))
    for way, times in found.ms.items():
        took = " / ".join(f"{ms:.3g}" for ms in times.values()) + " ms"
        fields = {"check": f"measured {way.name}", "found": took, "ms": dict(times)}
        rows.append((fields, (f"  {way.name}", took)))
    rows += [_row(f"not {way.name}", reason) for way, reason in found.left_out.items()]
    return rows


def _check(source: str, out: Output) -> None:
    """Raises BundleError where the files are wrong, GateFailed where the results are."""
    from seetell.bundle.store import resolve
    from seetell.core.errors import GateFailed
    from seetell.runtime.openvino_engine import OpenVINOEngine

    bundle = resolve(source)
    bundle.verify(full=True)
    rows = _contents(bundle)
    checks = [("fp32", _fp32_roles)] if bundle.has_floats else []
    checks += [("int8", _int8_roles)] if bundle.has_int8 else []
    wrong: list[str] = []
    for precision, check in checks:
        engine = OpenVINOEngine(bundle, precision=precision)
        try:
            found = check(bundle, engine)
        finally:
            engine.close()
        for role in bundle.manifest.graphs:
            rows.append(found.get(role) or _row(role, "no recorded outputs to compare with"))
        wrong += [role for role, (fields, _) in found.items() if not fields["ok"] and role not in wrong]
    out.results(rows, ("", ""), f"{bundle.manifest.name} {bundle.manifest.version}")
    if wrong:
        raise GateFailed(
            f"{source}: {', '.join(wrong)} computes something else here than where it was made; "
            "convert it again, or report this machine"
        )


def _fp32_roles(bundle: Bundle, engine: Engine) -> dict[str, Row]:
    """role -> whether it gives the recorded numbers."""
    from seetell.bundle.check import run_check

    worst: dict[str, float] = {}
    for one in run_check(bundle, engine):
        worst[one.role] = max(worst.get(one.role, 0.0), one.max_abs_diff)
    return {
        role: _row(
            role,
            f"{'agrees with' if difference <= TOLERANCE else 'differs from'} the recorded outputs: largest "
            f"difference {difference:.1e}",
            ok=difference <= TOLERANCE,
            precision="fp32",
            max_abs_diff=difference,
        )
        for role, difference in worst.items()
    }


def _int8_roles(bundle: Bundle, engine: Engine) -> dict[str, Row]:
    """role -> whether its int8 graph points where the fp32 outputs recorded point."""
    from seetell.bundle.check import run_cosines

    lowest: dict[str, float] = {}
    for (role, _), value in run_cosines(bundle, engine).items():
        # NaN stays: no comparison with it is true.
        lowest[role] = value if not value >= lowest.get(role, 1.0) else lowest.get(role, 1.0)
    return {
        role: _row(
            role,
            f"int8 {'agrees with' if value >= INT8_AGREEMENT else 'differs from'} the recorded fp32 outputs: "
            f"lowest cosine {value:.4f} ({INT8_AGREEMENT:g} is allowed)",
            ok=value >= INT8_AGREEMENT,
            precision="int8",
            cosine=value,
        )
        for role, value in lowest.items()
    }


def _contents(bundle: Bundle) -> list[Row]:
    from seetell.runtime.openvino_engine import has_bf16

    files = len(bundle.manifest.files)
    floats = ["fp32", *(["bf16"] if has_bf16() else [])]
    available = [*(floats if bundle.has_floats else []), *(["int8"] if bundle.has_int8 else [])]
    return [
        _row("files", f"{files} files, {size(bundle.size_bytes)}, all as recorded", ok=True),
        _row("precisions", ", ".join(available)),
        *_speed(bundle),
    ]
