"""Writing files so that a reader, a crash or a full disk never meets half of one; and the cache folder.

Everything is written beside its destination under a temporary name, flushed to the disk, and then renamed,
which POSIX makes atomic. Whatever goes wrong, the old content stays and the temporary name is removed; only a
killed process can leave one behind, always named ``.NAME.XXXXXXXX.tmp``. Whoever next writes a folder of that
name removes such a folder. A device or a pipe is written through: a file must not take its place.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from seetell.core import settings
from seetell.core.errors import StorageError

try:
    import fcntl
except ImportError:  # not on Windows, where nothing is swept
    fcntl = None  # type: ignore[assignment]  # an absent module

# A folder younger than this may belong to a process that has made it and not locked it yet.
_SWEPT_FROM_AGE_S = 60

_REASONS = {
    errno.ENOSPC: "the disk is full; free some space and try again",
    errno.EDQUOT: "the disk quota is used up; free some space and try again",
    errno.EACCES: "no permission to write there",
    errno.EPERM: "no permission to write there",
    errno.EROFS: "the file system is read-only",
    errno.EISDIR: "a folder of that name stands in the way",
    errno.ENOTDIR: "a file stands where a folder is needed",
    errno.ENAMETOOLONG: "the name is too long",
}


def storage_error(error: OSError, path: Path) -> StorageError:
    """The one-line StorageError for a failed write to ``path``."""
    reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
    return StorageError(f"cannot write {path}: {reason}")


def atomic_write_bytes(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path``, whole or not at all. Missing parent folders are made; a link is followed;
    a device, a pipe or a socket is written to.

    Raises StorageError.
    """
    with atomic_file(path) as file:
        file.write(data)


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write in parts, which stands under its name only when the block has ended well.

    As :func:`atomic_write_bytes`, for what is too large to hold in memory. Errors of the block pass through,
    except OSErrors of a failed write, which become StorageError.
    """
    if _is_special(path):
        with _through(path) as file:
            yield file
        return
    target = Path(os.path.realpath(path))
    temporary = _temporary_name(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        # O_EXCL: never through something already there. 0o666 is narrowed by the user's umask.
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            with suppress(OSError):  # a file that is replaced keeps its permissions
                os.chmod(temporary, target.stat().st_mode & 0o7777)
            os.replace(temporary, target)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
        _sync_folder(target.parent)
    except OSError as error:
        # A failed write names no file; an OSError about another file is the block's own affair.
        if not _names(error, temporary, target):
            raise
        raise storage_error(error, path) from error


def require_writable(path: Path) -> None:
    """Raises StorageError where :func:`atomic_write_bytes` would fail at once, before the work is done whose
    result it is to write. Nothing is left behind."""
    try:
        if _is_special(path):
            if not os.access(path, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            return
        target = Path(os.path.realpath(path))
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        # What is missing of the folders above will be made.
        folder = next(above for above in target.parents if os.path.lexists(above))
        tried = _temporary_name(folder / target.name)
        os.close(os.open(tried, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        tried.unlink()
    except OSError as error:
        raise storage_error(error, path) from error


def _is_special(path: Path) -> bool:
    """Whether something is there that is neither a file nor a folder."""
    # Of the path as it is: what stands for a pipe in /dev/fd has no path of its own.
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


@contextmanager
def _through(path: Path) -> Iterator[BinaryIO]:
    """What is no file, opened to be written to. What has been written when an error comes stays written."""
    try:
        descriptor = os.open(path, os.O_WRONLY)
        with os.fdopen(descriptor, "wb") as file:
            yield file
    except OSError as error:
        if not _names(error, path):
            raise
        raise storage_error(error, path) from error


def _names(error: OSError, *paths: Path) -> bool:
    """Whether the error is about one of these or a folder they are in, or names no file at all."""
    if not isinstance(error.filename, str | bytes):
        return True
    named = Path(os.fsdecode(error.filename))
    return any(named in (path, *path.parents) for path in paths)


def atomic_write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8 to ``path``, whole or not at all. Raises StorageError."""
    atomic_write_bytes(path, text.encode("utf-8"))


@contextmanager
def atomic_folder(path: Path, overwrite: bool = False) -> Iterator[Path]:
    """A new folder that appears under its name only when it is complete.

    Yields a temporary folder beside ``path`` to fill. When the block ends, its files are flushed and it is
    renamed to ``path``; when the block raises, it is removed. Errors of the block pass through, except
    OSErrors of a failed write, which become StorageError.

    Args:
        path: the folder to make. An empty one may be there.
        overwrite: replace what is there, with all it holds; the caller has asked whoever owns it.

    Raises:
        StorageError: the folder exists and ``overwrite`` is false; or it cannot be written.
    """
    target = Path(os.path.realpath(path))
    temporary = _temporary_name(target)
    try:
        if _is_special(path) or (not overwrite and _occupied(target)):
            raise StorageError(f"{path} exists already; choose another name or remove it first")
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep(target.parent, _temporary_prefix(target))
        temporary.mkdir()
    except OSError as error:
        raise storage_error(error, path) from error
    lock = _locked(temporary)
    try:
        try:
            yield temporary
        except OSError as error:
            # A failed write names no file, a failed open or copy names one of ours. An OSError about
            # anything else, an unreadable input say, is the block's own affair.
            if error.filename is None or Path(os.fsdecode(error.filename)).is_relative_to(temporary):
                raise storage_error(error, path) from error
            raise
        try:
            _sync_tree(temporary)
            _move_into_place(temporary, target, overwrite, path)
            _sync_folder(target.parent)
        except OSError as error:
            raise storage_error(error, path) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def folder_name(path: Path) -> str:
    """What a folder is called, as text that can be written down: UTF-8 whatever the locale says it is."""
    return os.fsencode(path.resolve().name).decode("utf-8", "replace")


def cache_folder() -> Path:
    """Where converted models and compiled graphs are kept: ``SEETELL_CACHE``, else the platform's own place.

    It need not exist yet. Raises StorageError when the user has no home folder and the variable is not set.
    """
    override = settings.cache_override()
    if override is not None:
        return override
    try:
        home = Path.home()
    except RuntimeError as error:
        raise StorageError("no home folder to keep a cache in; set SEETELL_CACHE to a folder") from error
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "seetell"
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else home / "AppData" / "Local") / "seetell" / "Cache"
    # The XDG base directory specification: a relative path is to be ignored.
    xdg = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (xdg if xdg.is_absolute() else home / ".cache") / "seetell"


def _temporary_name(target: Path, ending: str = "tmp") -> Path:
    return target.with_name(f"{_temporary_prefix(target)}{secrets.token_hex(4)}.{ending}")


def _temporary_prefix(target: Path) -> str:
    # Cut so that a long name does not become too long; the random part after it keeps writers apart.
    return f".{target.name[:80]}."


def _locked(folder: Path) -> int | None:
    """A descriptor that holds a lock on ``folder``, until it is closed or its process dies; None where
    another has it, or where there are no locks."""
    if fcntl is None:
        return None
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def sweep(folder: Path) -> None:
    """Remove the temporary folders in ``folder`` whose writers were killed; of models these are gigabytes."""
    _sweep(folder, ".")


def _sweep(folder: Path, prefix: str) -> None:
    with suppress(OSError):
        for entry in os.scandir(folder):
            mine = entry.name.startswith(prefix) and entry.name.endswith(".tmp")
            if not mine or not entry.is_dir(follow_symlinks=False):
                continue
            if time.time() - entry.stat(follow_symlinks=False).st_mtime < _SWEPT_FROM_AGE_S:
                continue
            lock = _locked(Path(entry.path))
            if lock is not None:
                shutil.rmtree(entry.path, ignore_errors=True)
                os.close(lock)


def _occupied(target: Path) -> bool:
    if not target.exists():
        return False
    return not target.is_dir() or any(target.iterdir())


def _move_into_place(temporary: Path, target: Path, overwrite: bool, shown: Path) -> None:
    if not _occupied(target):
        try:
            os.replace(temporary, target)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
            # Another process has made it since it was looked at.
    if not overwrite or _is_special(target):
        raise StorageError(f"{shown} exists already; choose another name or remove it first")
    # A folder that holds something cannot be replaced by one rename: it steps aside, and returns if the
    # second fails. It holds what was there, so nothing sweeps it.
    aside = _temporary_name(target, "old")
    os.replace(target, aside)
    try:
        os.replace(temporary, target)
    except OSError:
        os.replace(aside, target)
        raise
    if aside.is_dir():
        shutil.rmtree(aside, ignore_errors=True)
    else:
        aside.unlink(missing_ok=True)


def _sync_tree(folder: Path) -> None:
    for parent, _, names in os.walk(folder):
        for name in names:
            descriptor = os.open(os.path.join(parent, name), os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        _sync_folder(Path(parent))


def _sync_folder(folder: Path) -> None:
    """Make a rename itself survive a power cut. Some file systems cannot, which is no reason to fail."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
