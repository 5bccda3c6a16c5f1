"""Finding, opening and verifying bundles: the built-in one, a folder, or one kept in the cache.

Sizes are checked whenever a bundle is opened, which costs nothing and catches the cut-off copy; hashes when
asked (``seetell doctor``, ``pull``). Nothing in a bundle is executed or unpickled, and no file name in it can
lead out of its folder: the manifest's names hold no separators, and links that leave the folder are refused.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from seetell.bundle.hub_ids import MODELSCOPE, in_full, is_hub_id
from seetell.bundle.manifest import (
    MANIFEST_NAME,
    FileRecord,
    Manifest,
    Measurement,
    Role,
    manifest_json,
    read_manifest,
)
from seetell.core import settings
from seetell.core.errors import (
    BundleDamaged,
    BundleError,
    BundleNotFound,
    ConversionNeeded,
    EngineError,
    PickleRefused,
    PrecisionUnavailable,
    UsageError,
)
from seetell.core.files import atomic_write_text, cache_folder, storage_error

if TYPE_CHECKING:
    from seetell.bundle.tokenizer import Tokenizer

BUILTIN = "builtin"
TOKENIZER_NAME = "tokenizer.json"

# A branch, a tag, a commit, or a pull request as in refs/pr/1.
_REVISION = re.compile(r"[A-Za-z0-9][\w.\-]*(/[A-Za-z0-9][\w.\-]*)*")
_PICKLE_SUFFIXES = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt"})
_READ_BYTES = 1 << 20


class Bundle:
    """One opened bundle. ``folder`` is where it lies and ``manifest`` what it says; both are read-only."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        """Of a folder and its manifest already read; :func:`open_bundle` reads and checks it."""
        self.folder = folder
        self.manifest = manifest

    def __repr__(self) -> str:
        return f"Bundle({self.manifest.name!r}, {str(self.folder)!r})"

    def path(self, name: str) -> Path:
        """The file ``name`` of this bundle. Raises BundleDamaged when it is missing, no regular file, or a
        link that leaves the folder."""
        path = self.folder / name
        try:
            status = path.lstat()
            if stat.S_ISLNK(status.st_mode):
                real = path.resolve(strict=True)
                if not real.is_relative_to(self.folder.resolve()):
                    raise BundleDamaged(f"{path}: a link out of the bundle's folder; copy the file itself")
                status = real.stat()
        except OSError as error:
            reason = "missing" if isinstance(error, FileNotFoundError) else f"unreadable ({error.strerror})"
            raise BundleDamaged(f"{path}: {reason}; copy or convert the model again") from error
        except RuntimeError as error:  # a link that leads in circles, before Python 3.13
            raise BundleDamaged(f"{path}: a link that leads in circles") from error
        if not stat.S_ISREG(status.st_mode):
            raise BundleDamaged(f"{path}: not a file; copy or convert the model again")
        return path

    def graph_path(self, role: Role, precision: str = "fp32") -> Path:
        """The graph to run ``role`` with at ``precision`` (``fp32``, ``bf16`` or ``int8``).

        bf16 is a way to run the fp32 graph. In a bundle with int8 graphs a role without one runs its fp32
        graph: compression leaves fp32 what it may not touch.

        Raises:
            EngineError: the bundle lacks the role.
            PrecisionUnavailable: int8 is asked of a bundle without any int8 graph.
            BundleDamaged: the file is missing.
        """
        graph = self.manifest.graphs.get(role)
        if graph is None:
            raise EngineError(f"{self.manifest.name} has no {role}; it has {', '.join(self.manifest.graphs)}")
        if precision == "int8" and not self.has_int8:
            raise PrecisionUnavailable(
                f"{self.manifest.name} has no int8 graphs; make them with: "
                f"seetell compress {self.folder} OUT --quantize int8"
            )
        name = (graph.files.get("int8") if precision == "int8" else None) or graph.files.get("fp32")
        if name is None:
            raise PrecisionUnavailable(f"{self.manifest.name} has {role} in int8 only, not in {precision}")
        return self.path(name)

    @property
    def has_int8(self) -> bool:
        """Whether any role has an int8 graph."""
        return any("int8" in graph.files for graph in self.manifest.graphs.values())

    @property
    def has_floats(self) -> bool:
        """Whether every role has an fp32 graph."""
        return all("fp32" in graph.files for graph in self.manifest.graphs.values())

    def tokenizer(self) -> Tokenizer:
        """The bundle's tokenizer, read anew. Raises UsageError when the bundle has no text, BundleDamaged."""
        # Imported here: a bundle without text must not pay for the tokenizers library.
        from seetell.bundle.tokenizer import Tokenizer

        if self.manifest.text is None:
            raise UsageError(f"{self.manifest.name} has no text side, so no tokenizer")
        return Tokenizer.from_file(self.path(TOKENIZER_NAME), self.manifest.text)

    def verify(self, full: bool = False) -> None:
        """Check that every file the manifest names is there with its recorded size, and with ``full`` its
        SHA-256 too. Raises BundleDamaged naming the first file that is not."""
        needed = {name for graph in self.manifest.graphs.values() for name in graph.files.values()}
        if self.manifest.text is not None:
            needed.add(TOKENIZER_NAME)
        for name in sorted(needed - self.manifest.files.keys()):
            self.path(name)
        for name, record in self.manifest.files.items():
            path = self.path(name)
            size_bytes = path.stat().st_size
            if size_bytes != record.size_bytes:
                raise BundleDamaged(
                    f"{path}: {size_bytes:,} bytes instead of {record.size_bytes:,}; copy or convert it again"
                )
            if full and _sha256(path) != record.sha256:
                raise BundleDamaged(f"{path}: its content differs from the recorded hash; copy it again")

    @property
    def size_bytes(self) -> int:
        """Bytes of all files of the folder."""
        return _folder_size(self.folder)


def open_bundle(folder: Path) -> Bundle:
    """Open the bundle in ``folder`` and check its files' sizes. Raises BundleInvalid or BundleDamaged."""
    bundle = Bundle(folder, read_manifest(folder))
    bundle.verify()
    return bundle


def record_measurements(folder: Path, rows: Sequence[Measurement]) -> Manifest:
    """Write measured figures into a bundle's manifest and return it. A row takes the place of an earlier one
    of the same precision, task, dataset, split and metric. Raises BundleInvalid, StorageError."""
    manifest = read_manifest(folder)
    merged = {_measured(row): row for row in (*manifest.measurements, *rows)}
    updated = manifest.model_copy(update={"measurements": tuple(merged.values())})
    atomic_write_text(folder / MANIFEST_NAME, manifest_json(updated))
    return updated


def _measured(row: Measurement) -> tuple[str, ...]:
    return row.precision, row.task, row.dataset, row.split, row.metric


def file_record(path: Path) -> FileRecord:
    """The manifest's record of a file: its SHA-256 and size. Raises BundleDamaged if it cannot be read."""
    return FileRecord(sha256=_sha256(path), size_bytes=path.stat().st_size)


def builtin_folder() -> Path:
    """The folder of the built-in bundle within the installed package."""
    return Path(str(resources.files("seetell"))) / BUILTIN


def bundles_folder() -> Path:
    """The part of the cache that holds bundles, one folder each; it need not exist."""
    return cache_folder() / "models"


def cached_name(source: str, revision: str | None = None) -> str:
    """The name of a source's bundle in the cache: ``openai/clip@main`` is kept as ``openai--clip@main``, and
    ``modelscope:a/b`` as ``modelscope+a+b``, since names on that hub may hold ``--``."""
    source = in_full(source)
    name = source if revision is None else f"{source}@{revision}"
    if source.startswith(MODELSCOPE):
        return name.replace(":", "+").replace("/", "+")
    return name.replace("/", "--")


def resolve(
    source: str | os.PathLike[str] | None = None, *, revision: str | None = None, offline: bool | None = None
) -> Bundle:
    """Find and open a bundle.

    Args:
        source: None or ``builtin``; a folder with a ``bundle.json`` (or that file); the name of a bundle in
            the cache; or a hub id (``owner/name``, or ``owner/name/folder`` for one of its folders; of
            ModelScope ``modelscope:owner/name``) whose conversion is in the cache.
        revision: of a hub id.
        offline: nothing may be fetched; by default ``SEETELL_OFFLINE``. Only the advice given differs, as
            nothing is fetched here.

    Raises:
        BundleNotFound: there is no such folder, name or hub id.
        ConversionNeeded: a public checkpoint that has to be converted first; the message is the command.
        PickleRefused: a checkpoint whose weights are pickles only.
        BundleInvalid, BundleDamaged: the bundle breaks its contract or lacks a file.
        UsageError: a revision of something that has none.
    """
    text = os.fspath(source) if source is not None else BUILTIN
    if revision is not None and (not is_hub_id(text) or not _REVISION.fullmatch(revision)):
        raise UsageError(
            f"--revision belongs to a hub id such as openai/clip-vit-base-patch32, not to {text!r}"
        )
    if text == BUILTIN:
        return _open_builtin()
    if not text.strip():
        raise BundleNotFound("the model's name is empty; give builtin, a folder or a hub id")
    try:
        path = Path(text).expanduser()
    except RuntimeError:  # ~someone, of whom no home is known
        path = Path(text)
    if revision is None and path.name == MANIFEST_NAME and os.path.isfile(path):
        return open_bundle(path.parent)
    if revision is None and os.path.exists(path):
        return _open_folder(path) if os.path.isdir(path) else _refuse_file(path)
    if not isinstance(source, os.PathLike):
        kept = _cached(text, revision)
        if kept is not None:
            return open_bundle(kept)
        if is_hub_id(text):
            raise _conversion_needed(
                in_full(text), revision, settings.offline() if offline is None else offline
            )
    names = ", ".join([BUILTIN, *_cached_names()])
    raise BundleNotFound(f"{text}: no such folder or model; known here: {names}")


def _open_builtin() -> Bundle:
    folder = builtin_folder()
    if not (folder / MANIFEST_NAME).is_file():
        raise BundleNotFound(
            f"the built-in model is not part of this installation (no {folder}); give --model"
        )
    return open_bundle(folder)


def _open_folder(folder: Path) -> Bundle:
    if os.path.exists(folder / MANIFEST_NAME):  # unlike Path.exists, false where nothing may be looked at
        return open_bundle(folder)
    try:
        suffixes = {path.suffix.lower() for path in folder.iterdir()}
    except OSError as error:
        raise BundleNotFound(f"{folder}: cannot be listed ({error.strerror})") from error
    if ".safetensors" in suffixes:
        raise ConversionNeeded(f"{folder}: a checkpoint, not a bundle; run: seetell convert {folder} OUT")
    if suffixes & _PICKLE_SUFFIXES:
        raise _pickle_refused(folder)
    raise BundleNotFound(f"{folder}: no {MANIFEST_NAME} in it, so not a bundle, and no checkpoint either")


def _refuse_file(path: Path) -> Bundle:
    if path.suffix.lower() in _PICKLE_SUFFIXES:
        raise _pickle_refused(path)
    if path.suffix.lower() == ".safetensors":
        raise ConversionNeeded(f"{path}: weights only, not a bundle; run: seetell convert {path.parent} OUT")
    if path.suffix.lower() == ".gguf":
        raise BundleNotFound(
            f"{path}: a language model's file, no bundle; run: seetell convert {shlex.quote(str(path))} OUT"
        )
    raise BundleNotFound(f"{path}: a model is a folder with a {MANIFEST_NAME}, not a file")


def _pickle_refused(path: Path) -> PickleRefused:
    return PickleRefused(
        f"{path}: its weights are pickles, which can run code when read; if you trust where it comes from, "
        f"convert it with: seetell convert {path} OUT --allow-pickle"
    )


def _conversion_needed(source: str, revision: str | None, offline: bool) -> ConversionNeeded:
    what = source if revision is None else f"{source} --revision {revision}"
    where = " on a machine with a network (this one is set offline)" if offline else ""
    return ConversionNeeded(f"{source}: not converted yet; run{where}: seetell convert {what} OUT")


# --- the cache ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StoredBundle:
    """One line of ``seetell models list``. ``manifest`` is None and ``problem`` says why when the bundle
    cannot be opened."""

    name: str
    folder: Path
    size_bytes: int
    manifest: Manifest | None
    problem: str | None


def list_bundles() -> tuple[StoredBundle, ...]:
    """The built-in bundle, if this installation has it, and those in the cache, by name."""
    places = [(BUILTIN, builtin_folder())] if (builtin_folder() / MANIFEST_NAME).is_file() else []
    places += [(name, bundles_folder() / name) for name in _cached_names()]
    stored = []
    for name, folder in places:
        manifest, problem = None, None
        try:
            manifest = open_bundle(folder).manifest
        except BundleError as error:
            problem = str(error)
        stored.append(StoredBundle(name, folder, _folder_size(folder), manifest, problem))
    return tuple(stored)


def remove(name: str) -> int:
    """Delete a bundle from the cache and return the bytes freed.

    ``name`` is as :func:`list_bundles` gives it, or a hub id. Never touches anything outside the cache.
    Raises UsageError for the built-in bundle, BundleNotFound, StorageError.
    """
    if name == BUILTIN:
        raise UsageError("the built-in model is part of seetell and cannot be removed")
    folder = _cached(name, None)
    if folder is None:
        names = ", ".join(_cached_names()) or "none"
        raise BundleNotFound(f"{name}: no such model in the cache; there are: {names}")
    size_bytes = _folder_size(folder)
    try:
        if folder.is_symlink():  # the link is ours, what it leads to is not
            folder.unlink()
        else:
            shutil.rmtree(folder)
    except OSError as error:
        raise storage_error(error, folder) from error
    return size_bytes


def _cached_names() -> list[str]:
    try:
        folders = list(bundles_folder().iterdir())
    except OSError:
        return []
    # A leading dot marks what is still being written.
    return sorted(path.name for path in folders if path.is_dir() and not path.name.startswith("."))


def _cached(source: str, revision: str | None) -> Path | None:
    """The folder in the cache of a name or hub id. Compared with the names that are there, so that no
    ``source`` can point elsewhere."""
    name = cached_name(source, revision)
    return bundles_folder() / name if name in _cached_names() else None


def _folder_size(folder: Path) -> int:
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(parent, name)).st_size
            except OSError:  # removed meanwhile
                continue
    return total


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(_READ_BYTES):
                digest.update(block)
    except OSError as error:
        raise BundleDamaged(f"{path}: cannot be read ({error.strerror})") from error
    return digest.hexdigest()
