"""One writer to a folder: a lock that the system lets go of when its process dies."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from seetell.core.errors import StorageError
from seetell.core.files import storage_error

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]  # an absent module


@contextmanager
def locked(file: Path, busy: Callable[[str], str]) -> Iterator[None]:
    """Hold ``file``, made with its folder where it is missing, until the block ends or the process dies.

    busy: what to say where another process holds it, of that process's number.
    Raises StorageError there, and where the file cannot be made.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise storage_error(error, file.parent) from error
    try:
        if fcntl is not None:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
                raise StorageError(busy(holder)) from error
        with suppress(OSError):  # the number is for people; a full disk is met again, and said, later
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def in_turn(file: Path) -> Iterator[None]:
    """Hold ``file``, made where it is missing, and wait for whoever holds it. Where there are no locks, or it
    cannot be made, nothing is waited for."""
    descriptor = None
    if fcntl is not None:
        with suppress(OSError):
            descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)
