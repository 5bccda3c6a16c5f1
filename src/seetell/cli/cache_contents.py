"""What the cache holds, thing by thing, and how a thing leaves it.

``SEETELL_CACHE`` may name a folder that holds more than ours: only what bears our names is listed, and
nothing else is ever removed.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from seetell.bundle.fetching import fetched_folder
from seetell.bundle.manifest import MANIFEST_NAME
from seetell.bundle.store import (
    BUILTIN,
    Bundle,
    bundles_folder,
    cached_name,
    list_bundles,
    open_bundle,
    remove,
    resolve,
)
from seetell.core.errors import BundleError, SeetellError
from seetell.core.files import cache_folder, storage_error, sweep
from seetell.runtime.graphs import fingerprint

Kind = Literal["model", "fetched", "compiled", "speed"]

WHAT: Mapping[Kind, str] = {
    "model": "a model that was converted here",
    "fetched": "its files, as ModelScope has them",
    "compiled": "its graphs, compiled for this machine",
    "speed": "how fast this machine computes",
}
UNKNOWN = "graphs compiled for another model, or another version of one"
_FINGERPRINT = re.compile(r"[0-9a-f]{16}")
_FETCHED = re.compile(r"modelscope\+[^+]+\+[^+]+")
_RATES = "rates"


@dataclass(frozen=True, slots=True)
class Kept:
    """One thing in the cache. model: the name of the model it is or belongs to, None where none is known."""

    kind: Kind
    model: str | None
    path: Path
    size_bytes: int

    @property
    def what(self) -> str:
        return UNKNOWN if self.kind == "compiled" and self.model is None else WHAT[self.kind]


def contents(model: str | None = None) -> list[Kept]:
    """What is kept, or what is kept of one model, named as for any other command.

    Raises what finding that model raises.
    """
    names = {one.name: one.folder for one in list_bundles() if _is_bundle(one.folder)}
    if model is None:
        return [*_models(names), *_fetched(), *_compiled(names), *_rates()]
    name = _name_of(model, {*names, *(one.model for one in _fetched())})
    if name is None:
        name, names = model, {**names, model: resolve(model, offline=True).folder}
    return [one for one in (*_models(names), *_fetched(), *_compiled(names)) if one.model == name]


def clear(things: Sequence[Kept]) -> int:
    """Remove them, and what writers that were killed left half-made; the bytes freed. Raises StorageError."""
    folder = cache_folder()
    before = sum(one.size_bytes for one in things) + _half_made_bytes()
    for one in things:
        if one.kind == "model":
            remove(one.path.name)
            continue
        try:
            if one.path.is_dir():
                shutil.rmtree(one.path)
            else:
                one.path.unlink(missing_ok=True)
        except OSError as error:
            raise storage_error(error, one.path) from error
    sweep(bundles_folder())
    for place in (*_engine_folders(), folder / _RATES, fetched_folder(), bundles_folder()):
        with suppress(OSError):  # not empty, or not there
            place.rmdir()
    return before - _half_made_bytes()


def _is_bundle(folder: Path) -> bool:
    return (folder / MANIFEST_NAME).is_file()


def _name_of(model: str, names: Collection[str | None]) -> str | None:
    return next((name for name in (model, cached_name(model)) if name in names), None)


def _models(names: Mapping[str, Path]) -> Iterator[Kept]:
    for name, folder in names.items():
        if folder.parent == bundles_folder():
            yield Kept("model", name, folder, _size_bytes(folder))


def _fetched() -> Iterator[Kept]:
    for path in _listed(fetched_folder()):
        if _FETCHED.fullmatch(path.name) and path.is_dir():
            yield Kept("fetched", path.name, path, _size_bytes(path))


def _compiled(names: Mapping[str, Path]) -> Iterator[Kept]:
    for place in _engine_folders():
        kept = [path for path in _listed(place) if _FINGERPRINT.fullmatch(path.name) and path.is_dir()]
        owners = _owners(_VERSIONS[place.name], names) if kept else {}
        for path in kept:
            yield Kept("compiled", owners.get(path.name), path, _size_bytes(path))


def _rates() -> Iterator[Kept]:
    for path in _listed(cache_folder() / _RATES):
        if path.suffix == ".json":
            yield Kept("speed", None, path, path.stat().st_size)


def _owners(version: Callable[[], str], names: Mapping[str, Path]) -> dict[str, str]:
    """Which model a folder of compiled graphs belongs to; those of another version of the engine to none."""
    try:
        engine_version = version()
    except SeetellError:  # the engine is no longer installed
        return {}
    found = {}
    for name, folder in names.items():
        with suppress(BundleError, OSError):
            found[fingerprint(_opened(name, folder), engine_version)] = name
    return found


def _opened(name: str, folder: Path) -> Bundle:
    return resolve(BUILTIN) if name == BUILTIN else open_bundle(folder)


def _openvino_version() -> str:
    from seetell.runtime import openvino_engine

    return openvino_engine.version()


def _onnxruntime_version() -> str:
    from seetell.runtime import onnxruntime_engine

    return onnxruntime_engine.version()


_VERSIONS = {"openvino": _openvino_version, "onnxruntime": _onnxruntime_version}


def _engine_folders() -> list[Path]:
    return [cache_folder() / engine for engine in _VERSIONS]


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _half_made_bytes() -> int:
    return sum(_size_bytes(path) for path in _listed(bundles_folder()) if path.name.startswith("."))


def _size_bytes(folder: Path) -> int:
    """Of a file with several names once."""
    sizes = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # removed meanwhile
                status = os.lstat(os.path.join(parent, name))
                sizes[status.st_dev, status.st_ino] = status.st_size
    return sum(sizes.values())
