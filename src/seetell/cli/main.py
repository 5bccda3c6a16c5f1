"""``seetell``: where the process starts and ends.

Everything that can happen to a run ends here in one line and an exit status, never in a traceback:
0 all done, 1 some inputs failed or the command could not go on, 2 wrong usage, 3 a quality gate or
audit failed, 130 stopped with Ctrl-C, 141 the reader of our output went away (``| head``).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn, TextIO

from seetell.cli import interrupt
from seetell.cli.statuses import (
    EXIT_FAILED,
    EXIT_GATE,
    EXIT_INTERRUPTED,
    EXIT_OUTPUT_CLOSED,
    EXIT_USAGE,
)
from seetell.core import own_process

DEBUG_VARIABLE = "SEETELL_DEBUG"


def main() -> None:
    """Entry point of the installed script."""
    status = EXIT_INTERRUPTED
    try:
        _open_missing_streams()
        interrupt.listen()
        own_process.declare()
        status = run(sys.argv[1:])
        sys.stdout.flush()
    except KeyboardInterrupt:
        status = EXIT_INTERRUPTED
    except BrokenPipeError:
        status = EXIT_OUTPUT_CLOSED
    except OSError:
        # Said already, when it was printed; what is left in the buffer cannot be written either.
        status = EXIT_FAILED
        _discard(sys.stdout)
    if status == EXIT_OUTPUT_CLOSED:
        _discard(sys.stdout)
    if status == EXIT_INTERRUPTED:
        _end_now(status)
    sys.exit(status)


def _end_now(status: int) -> NoReturn:
    """End with ``status`` and nothing in between. Under ``python -m`` an interrupt that came inside ``exec``
    of a text, as much generated code is run, would have Python end as if nobody had handled the signal."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


def _open_missing_streams() -> None:
    """Let a standard stream we were started without (``>&-``) lead nowhere. Left alone, the next file opened
    would get its number, and be printed into."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 (open until the end)


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit status."""
    # Imported inside, so that Ctrl-C while Python is still importing ends as cleanly as later on.
    try:
        from seetell.cli.app import invoke

        return invoke(list(arguments))
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except Exception as error:
        return _report(error)


def _report(error: Exception) -> int:
    """Say in one line what went wrong; the exit status it deserves."""
    from seetell.cli.output import OutputClosed, say
    from seetell.core.errors import GateFailed, SeetellError, UsageError

    if isinstance(error, OutputClosed | BrokenPipeError):
        return EXIT_OUTPUT_CLOSED
    if os.environ.get(DEBUG_VARIABLE):
        import traceback

        traceback.print_exception(error, file=sys.stderr)
    elif isinstance(error, SeetellError):
        say(f"error: {error}")
    else:
        summary = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        say(f"unexpected error: {summary} (set {DEBUG_VARIABLE}=1 to see where it happened)")
    if isinstance(error, GateFailed):
        return EXIT_GATE
    return EXIT_USAGE if isinstance(error, UsageError) else EXIT_FAILED


def _discard(stream: TextIO) -> None:
    """Send what is still buffered nowhere, or the interpreter complains about it while it exits."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    except OSError:
        return


if __name__ == "__main__":
    main()
