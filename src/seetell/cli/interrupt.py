"""Ctrl-C that cannot get lost.

Python raises KeyboardInterrupt wherever the main thread happens to be. Should that be inside a destructor or
a callback from compiled code, the exception is dropped and the run goes on. So the handler remembers too, and
every result asks before it is written.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType

_interrupted = threading.Event()


def listen() -> None:
    """Remember SIGINT from now on, besides raising KeyboardInterrupt. Leaves an ignored SIGINT ignored."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _remember)


def check() -> None:
    """Raise KeyboardInterrupt if Ctrl-C was pressed and got lost."""
    if _interrupted.is_set():
        raise KeyboardInterrupt


def _remember(signal_number: int, frame: FrameType | None) -> None:
    _interrupted.set()
    raise KeyboardInterrupt
