"""Where a compression keeps what it has made so far, so that one that was stopped goes on from there.

WORK/lock             held while a run is at it
WORK/STAGE/           the bundle that a stage made
WORK/STAGE.json       what it was made from, and what is known of it; written when the stage is whole
WORK/run/             the training run of the stage `distil`, which goes on from its own checkpoints
WORK/run.json         what that run was begun with

WORK lies beside OUT as OUT.stages, unless told otherwise, and goes when OUT stands.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from seetell.bundle.manifest import MANIFEST_NAME
from seetell.bundle.store import Bundle, open_bundle
from seetell.core.errors import BundleError, StorageError, UsageError
from seetell.core.files import atomic_write_text, storage_error
from seetell.core.locking import locked
from seetell.learning.compression.stages import Name, Stage

_LOCK = "lock"
_RUN = "run"
_FOLDERS = ("source", "prune", "merge", "distil", "quantize", _RUN)
_FILES = (_LOCK, *(f"{name}.json" for name in _FOLDERS))


def check_places(source: Path, out: Path, work: Path, overwrite: bool) -> None:
    """A slip of the keyboard must not cost a folder of other things, or the source itself.

    Raises StorageError.
    """
    filled = out.exists() and (not out.is_dir() or any(out.iterdir()))
    if filled and not overwrite:
        raise StorageError(f"{out} exists already; choose another name, or --overwrite to replace it")
    if filled and not (out / MANIFEST_NAME).is_file():
        raise StorageError(f"{out} is no bundle, and --overwrite replaces nothing else; choose another name")
    if source.resolve().is_relative_to(out.resolve()):
        raise StorageError(f"{out} holds the model itself; choose another name")
    for name, place in (("the model", source), ("OUT", out)):
        if work.resolve().is_relative_to(place.resolve()):
            raise StorageError(f"--work {work} lies inside {name}; choose another folder")
    if not work.exists():
        return
    if not work.is_dir():
        raise StorageError(f"{work} is a file, and stages are kept there; choose another folder with --work")
    others = set(os.listdir(work)) - {*_FOLDERS, *_FILES}
    # What a killed run has left half written is ours, too.
    if any(not (name.startswith(".") and name.endswith(".tmp")) for name in others):
        raise StorageError(f"{work} holds other files; choose another folder for the stages with --work")


def check_report(report: Path, out: Path) -> None:
    """Raises UsageError where the report would stand in the way of the figures beside it, or of OUT."""
    if report.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--report {report}: name a file that ends in .html; the figures go beside it")
    if report.resolve().is_relative_to(out.resolve()):
        raise UsageError(f"--report {report}: OUT gets a report of its own; choose a place outside of it")


class Workplace:
    """The folder, held by this process: :func:`held_workplace` makes it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def run_folder(self) -> Path:
        """Of the training run."""
        return self.folder / _RUN

    def bundle_folder(self, name: Name) -> Path:
        """Of the bundle that a stage makes."""
        return self.folder / name

    def kept(self, name: Name, made_from: Mapping[str, Any]) -> tuple[Bundle | None, Stage, Any] | None:
        """What a run before has made of the same: its bundle (of ``source`` there is none), what is known of
        it, and what that was measured on. None where there is nothing whole of the same."""
        record = self._read(name)
        if record is None or record.get("made_from") != _as_read(made_from):
            return None
        try:
            stage = Stage.of(record["stage"])
            bundle = None if name == "source" else open_bundle(self.bundle_folder(name))
            if bundle is not None:
                bundle.verify(full=True)
        except (BundleError, KeyError, TypeError, ValueError):
            return None
        return bundle, stage, record.get("measured_on")

    def changed(self, name: str, made_from: Mapping[str, Any]) -> list[str]:
        """In what a record of ``name`` that is there differs from ``made_from``; empty without one."""
        record = self._read(name)
        before = {} if record is None else record.get("made_from")
        if not isinstance(before, dict):
            return []
        wanted = _as_read(made_from)
        return [key for key in before if before[key] != wanted.get(key)]

    def keep(self, stage: Stage, made_from: Mapping[str, Any], measured_on: Any) -> None:
        """Write the record of a stage that is whole. Raises StorageError."""
        document = {"made_from": made_from, "measured_on": measured_on, "stage": stage.plain()}
        self._write(stage.name, document)

    def forget(self, name: Name) -> None:
        """Remove a stage. Raises StorageError."""
        self._remove(f"{name}.json", name)

    def begin_run(self, made_from: Mapping[str, Any]) -> None:
        """Have the training run's folder be one of ``made_from``: what is there goes where it was begun with
        something else. Raises StorageError."""
        record = self._read(_RUN)
        if record is None or record.get("made_from") != _as_read(made_from):
            self._remove(f"{_RUN}.json", _RUN)
            self._write(_RUN, {"made_from": made_from})

    @property
    def holds_stages(self) -> bool:
        """Whether anything is kept here."""
        return any((self.folder / f"{name}.json").exists() for name in _FOLDERS)

    def clear(self) -> None:
        """Remove all that is ours, and the folder with it unless it holds anything else."""
        for name in _FOLDERS:
            shutil.rmtree(self.folder / name, ignore_errors=True)
        for name in _FILES:
            with suppress(OSError):
                (self.folder / name).unlink(missing_ok=True)
        self.sweep()
        with suppress(OSError):
            self.folder.rmdir()

    def sweep(self) -> None:
        """Remove what a killed run has left half written."""
        with suppress(OSError):
            for entry in os.scandir(self.folder):
                if entry.name.startswith(".") and entry.name.endswith(".tmp"):
                    if entry.is_dir(follow_symlinks=False):
                        shutil.rmtree(entry.path, ignore_errors=True)
                    else:
                        os.unlink(entry.path)

    def _remove(self, *names: str) -> None:
        for name in names:
            path = self.folder / name
            try:
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
            except OSError as error:
                raise storage_error(error, path) from error

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            document = json.loads((self.folder / f"{name}.json").read_bytes())
        except (OSError, ValueError, RecursionError):
            return None
        return document if isinstance(document, dict) else None

    def _write(self, name: str, document: Mapping[str, Any]) -> None:
        atomic_write_text(self.folder / f"{name}.json", json.dumps(document) + "\n")


@contextmanager
def held_workplace(folder: Path, out: Path, *, keep: bool) -> Iterator[Workplace]:
    """The folder, made where it is missing and held by this process until the block ends; then it goes, but
    stays with ``keep`` where the block raises.

    Raises StorageError where another process is at it, or it cannot be made.
    """

    def busy(holder: str) -> str:
        return (
            f"{out} is being made by another process (number {holder}); wait for it, or choose another name"
        )

    lock = folder / _LOCK
    with locked(lock, busy):
        # Whoever held it may just have finished, and removed the very file that is locked now.
        if _holder(lock) != str(os.getpid()):
            raise StorageError(busy(_holder(lock) or "just finished"))
        place = Workplace(folder)
        place.sweep()
        whole = False
        try:
            yield place
            whole = True
        finally:
            if whole or not (keep and place.holds_stages):
                place.clear()


def _holder(lock: Path) -> str:
    try:
        return lock.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def _as_read(document: Mapping[str, Any]) -> Any:
    """As a record that was written and read has it: lists for tuples."""
    return json.loads(json.dumps(document))
