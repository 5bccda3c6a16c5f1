"""The conversation on a terminal, and over lines of a pipe: each line is said, each answer printed."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from seetell.cli import interrupt
from seetell.cli.output import say

if TYPE_CHECKING:
    from seetell.cli.chat_talk import Talk

PROMPT = "> "
HELP = """/new            forget what was said
/system TEXT    begin anew, told to answer so; nothing for the model's own way
/save FILE      write the conversation, a message a line
/help           this
/exit           end, as Ctrl-D does"""


def converse(talk: Talk, *, on_terminal: bool) -> None:
    """Until there is nothing more to read. Of a pipe, what goes wrong with one line ends the conversation."""
    if not on_terminal:
        for line in sys.stdin:
            if line.strip():
                talk.say(line.rstrip("\n"))
        return
    with suppress(ImportError):
        # Editing a line, and earlier ones with the arrow keys. Windows has its own.
        import readline  # noqa: F401 (with it `input` lets lines be edited and brought back)
    say("Ctrl-C stops an answer, Ctrl-D ends; /help says more")
    for line in _typed():
        if line.startswith("/"):
            if line.split()[0] in ("/exit", "/quit"):
                return
            _command(talk, line)
        elif line.strip():
            _turn(talk, line)


def _typed() -> Iterator[str]:
    while True:
        try:
            yield input(PROMPT)
        except EOFError:
            say("")
            return
        except KeyboardInterrupt:
            # As in a shell: the line is given up, and the conversation is not.
            interrupt.forget()
            say("")


def _turn(talk: Talk, text: str) -> None:
    from seetell.core.errors import InputError, UsageError

    try:
        talk.say(text)
    except KeyboardInterrupt:
        interrupt.forget()
        say("stopped")
    except (InputError, UsageError) as error:
        # Too long a conversation, say; /new goes on.
        say(f"error: {error}")


def _command(talk: Talk, line: str) -> None:
    name, _, rest = line.partition(" ")
    rest = rest.strip()
    if name == "/new":
        talk.again()
    elif name == "/system":
        talk.begin(rest or None)
    elif name == "/save" and rest:
        _save(talk, Path(rest).expanduser())
    else:
        for one in HELP.splitlines():
            say(one)


def _save(talk: Talk, path: Path) -> None:
    from seetell.core.errors import StorageError
    from seetell.core.files import atomic_write_text

    lines = [json.dumps(message, ensure_ascii=False) for message in talk.messages]
    try:
        atomic_write_text(path, "".join(line + "\n" for line in lines))
    except StorageError as error:
        say(f"error: {error}")
    else:
        say(f"{path}: {len(lines)} messages written")
