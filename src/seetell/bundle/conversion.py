"""A public checkpoint becomes a bundle in the cache the first time it is asked for.
A bundle that somebody has put on a hub is taken as it is, its files compared with their hashes.

The files are fetched in this process, with progress; the conversion, which needs torch, runs in another one,
so that the process that asked never imports torch. What was converted is kept by hub id and revision, or by
what is in a local checkpoint's files, and found again from then on.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path

from seetell.bundle.checkpoint_files import bundle_files, choose_files, names_in
from seetell.bundle.hub import Progress, fetch_checkpoint, holds_bundle
from seetell.bundle.hub_ids import is_hub_id
from seetell.bundle.store import Bundle, bundles_folder, cached_name, open_bundle, resolve
from seetell.core.errors import (
    BundleNotFound,
    CheckpointError,
    ConversionNeeded,
    SeetellError,
    StorageError,
)
from seetell.core.files import atomic_folder

# What the extra `train` brings and a conversion needs.
_NEEDED = ("torch", "onnx", "onnxscript", "yaml")
# How long a conversion that is stopped may take to come out of compiled code and clear up.
_CLEARING_S = 20


def resolve_or_convert(
    source: str | os.PathLike[str] | None = None,
    *,
    revision: str | None = None,
    offline: bool | None = None,
    fetching: Progress | None = None,
    converting: Callable[[str], None] | None = None,
) -> Bundle:
    """As ``store.resolve``, but a public checkpoint that was never converted is, where torch is installed.

    Args:
        source, revision, offline: as in ``store.resolve``; with ``offline`` a hub id's files must be in the
            cache that they are fetched to.
        fetching: as ``progress`` of ``hub.fetch_checkpoint``.
        converting: called with the checkpoint's name when its conversion starts; that takes a while.

    Raises what ``store.resolve`` and ``hub.fetch_checkpoint`` do; ConversionNeeded, with the command, where
    the extra ``train`` is missing; CheckpointError with the reason where it cannot be converted.
    """
    try:
        return resolve(source, revision=revision, offline=offline)
    except ConversionNeeded:
        checkpoint = os.fspath(source) if source is not None else ""
        local = Path(checkpoint).expanduser()
        is_local = local.is_dir()
        if not is_local and not is_hub_id(checkpoint):
            raise  # weights without their folder; the message says what to do
        target = bundles_folder() / (_local_name(local) if is_local else cached_name(checkpoint, revision))
        if is_local and target.is_dir():
            return open_bundle(target)
        able = all(find_spec(name) for name in _NEEDED)
        # Before gigabytes are fetched in vain.
        if not able and (is_local or not _is_bundle(checkpoint, revision, offline)):
            raise
    if not is_local:
        # The files come into a cache, where the other process finds them.
        fetched = fetch_checkpoint(checkpoint, revision=revision, offline=offline, progress=fetching)
        if fetched.is_bundle:
            return _kept(fetched.folder, target)
    if converting is not None:
        converting(checkpoint)
    _convert(str(local) if is_local else checkpoint, target, revision)
    return open_bundle(target)


def _is_bundle(hub_id: str, revision: str | None, offline: bool | None) -> bool:
    """False, too, where that cannot be found out."""
    try:
        return holds_bundle(hub_id, revision=revision, offline=offline)
    except SeetellError:
        return False


def _kept(folder: Path, target: Path) -> Bundle:
    """The bundle of a folder it was fetched to, whole, among ours. Raises BundleError and StorageError."""
    files = bundle_files(names_in(folder))
    assert files is not None  # as the caller has seen
    try:
        with atomic_folder(target) as new:
            # Not what another tool has fetched of the same repository.
            for name in files.names:
                # The same content, kept once where both lie on one disk.
                content = (folder / name).resolve()
                try:
                    os.link(content, new / name)
                except OSError:
                    shutil.copyfile(content, new / name)
            open_bundle(new).verify(full=True)
    except StorageError:
        # Another process may have been faster.
        if not target.is_dir():
            raise
    return open_bundle(target)


def _local_name(folder: Path) -> str:
    """A name in the cache that changes with the checkpoint's files: their sizes and times of change."""
    try:
        files = choose_files(names_in(folder), source=str(folder), allow_pickle=False)
        digest = hashlib.sha256(os.fsencode(folder.resolve()))
        for name in sorted({*files.weights, *files.small, files.config}):
            status = (folder / name).stat()
            digest.update(f"{name} {status.st_size} {status.st_mtime_ns}\n".encode())
    except OSError as error:
        raise BundleNotFound(f"{folder}: cannot be read ({error.strerror})") from error
    return f"{cached_name(folder.resolve().name)}@{digest.hexdigest()[:12]}"


def _convert(checkpoint: str, target: Path, revision: str | None) -> None:
    command = [sys.executable, "-m", "seetell.cli.main", "convert", checkpoint, str(target)]
    if revision is not None:
        command += ["--revision", revision]
    # Offline: everything is in the cache by now, and must be what was fetched a moment ago.
    environment = {**os.environ, "SEETELL_OFFLINE": "1"}
    done = _run(command, environment)
    # Another process may have converted the same one meanwhile, and been faster.
    if done.returncode and not target.is_dir():
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        reason = said[-1].removeprefix("error: ") if said else f"it ended with {done.returncode}"
        raise CheckpointError(f"{checkpoint}: cannot be converted: {reason}")


def _run(command: list[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[bytes]:
    """As ``subprocess.run``, but a process that is no longer wanted may first remove what it has written."""
    quiet = subprocess.DEVNULL
    with subprocess.Popen(
        command, env=environment, stdin=quiet, stdout=quiet, stderr=subprocess.PIPE
    ) as process:
        try:
            _, said = process.communicate()
        except BaseException:  # Ctrl-C above all
            process.terminate()
            try:
                process.wait(_CLEARING_S)
            except subprocess.TimeoutExpired:
                process.kill()
            raise
    return subprocess.CompletedProcess(command, process.returncode, b"", said)
