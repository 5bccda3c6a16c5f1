"""The commands that the documentation shows, each with the extras that its page says to install."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tests.test_docs import PAGES, ROOT, fences

INSTALL = re.compile(r"pip install -c constraints\.txt (?:-e )?'?\.(?:\[([\w,]+)\])?'?(?:\s|$)")
# What a page shows under a command that is meant to fail.
FAILURE = re.compile(r"^error: |\"error\": \{", re.M)


@dataclass(frozen=True)
class Command:
    """``extras`` are those of the last line above it, on its page, that installs seetell; none without one.
    ``printed`` is what the page shows under it."""

    page: str
    extras: tuple[str, ...]
    line: str
    printed: str = ""

    @property
    def fails(self) -> bool:
        return FAILURE.search(self.printed) is not None


def shown_commands() -> list[Command]:
    """Of every English page, in order."""
    return [one for page in PAGES if ".zh-CN" not in page.name for one in commands_of(page)]


def commands_of(page: Path) -> list[Command]:
    """Of one page; the lines that install seetell are not among them."""
    name = str(page.relative_to(ROOT))
    extras: tuple[str, ...] = ()
    found = []
    for language, body in fences(page.read_text(encoding="utf-8")):
        if language not in {"sh", "bash", "console"}:
            continue
        for line, printed in _split(body, console=language == "console"):
            install = INSTALL.match(line)
            if install:
                extras = tuple(sorted(install[1].split(","))) if install[1] else ()
            else:
                found.append(Command(name, extras, line, printed))
    return found


def _split(body: str, *, console: bool) -> list[tuple[str, str]]:
    """Commands and what is printed under each."""
    pairs: list[tuple[str, str]] = []
    goes_on = False
    for line in body.splitlines():
        if goes_on:
            pairs[-1] = (f"{pairs[-1][0]}\n{line}", "")
        elif line.startswith("$ ") if console else line.strip():
            pairs.append((line.removeprefix("$ "), ""))
        elif pairs:
            pairs[-1] = (pairs[-1][0], f"{pairs[-1][1]}{line}\n")
            continue
        goes_on = bool(pairs) and line.endswith(("\\", "|"))
    return pairs
