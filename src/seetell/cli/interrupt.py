"""Ctrl-C that cannot get lost.

Python raises KeyboardInterrupt wherever the main thread happens to be. Should that be inside a destructor or
a callback from compiled code, the exception is dropped and the run goes on. So the handler remembers too, and
every result asks before it is written.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# What a shell reports for a process that SIGTERM ended.
EXIT_TERMINATED = 128 + signal.SIGTERM

_interrupted = threading.Event()


def listen() -> None:
    """Remember SIGINT from now on, besides raising KeyboardInterrupt. Leaves an ignored SIGINT ignored."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _remember)


def check() -> None:
    """Raise KeyboardInterrupt if Ctrl-C was pressed and got lost."""
    if _interrupted.is_set():
        raise KeyboardInterrupt


def forget() -> None:
    """Ctrl-C was answered in another way than by ending: it stopped a part of the work."""
    _interrupted.clear()


@contextmanager
def clearing_up() -> Iterator[None]:
    """Within the block SIGTERM ends the process as an error does: what is half written is removed first."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminate(signal_number: int, frame: FrameType | None) -> None:
    raise SystemExit(EXIT_TERMINATED)


def _remember(signal_number: int, frame: FrameType | None) -> None:
    _interrupted.set()
    raise KeyboardInterrupt
