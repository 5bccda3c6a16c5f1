"""What a command prints: results on standard output, everything else on standard error.

Three readers, one call: with ``--json`` a program (one object per line, nothing else), on a terminal a
person (rich tables, colour, wide characters aligned), and in a pipe a line-wise tool (tab-separated).
"""

from __future__ import annotations

import json
import math
import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

import typer

from seetell.cli import interrupt
from seetell.core.lines import printable

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from seetell.cli.keeper import Keeper

T = TypeVar("T")

NAME_WIDTH = 36


class OutputClosed(Exception):
    """Whoever read our standard output went away (``| head``)."""


def say(message: str, stream: TextIO | None = None) -> None:
    """One line for people, on standard error unless told otherwise."""
    target = stream if stream is not None else sys.stderr
    _write(target, printable(message) + "\n")


def write_text(text: str) -> None:
    """Text as it stands on standard output, at once; who writes it has made it harmless."""
    _write(sys.stdout, text)


def json_line(fields: Mapping[str, Any], encoding: str | None = None) -> str:
    """``fields`` as one line of JSON that any encoding (by default that of standard output) can carry where
    UTF-8 cannot."""
    try:
        line = json.dumps(fields, ensure_ascii=False, allow_nan=False)
    except ValueError:
        # JSON has no word for infinity and not-a-number.
        fields = _finite(fields)
        line = json.dumps(fields, ensure_ascii=False, allow_nan=False)
    try:
        line.encode(encoding or sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        # Bytes of file names that are no UTF-8, or a terminal of another encoding.
        return json.dumps(fields, ensure_ascii=True, allow_nan=False)
    return line


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(one) for key, one in value.items()}
    return [_finite(one) for one in value] if isinstance(value, list | tuple) else value


class Output:
    """The output of one command. As a context manager it ends with exit status 1 if inputs failed.

    ``pretty`` chooses tables or tab-separated lines; by default tables are for terminals. ``quiet`` leaves
    out progress and remarks, and the results, too, where they are kept elsewhere. ``keepers`` are given every
    result and failure; they are opened when the block begins.
    """

    def __init__(
        self,
        *,
        json: bool,
        pretty: bool | None = None,
        quiet: bool = False,
        keepers: Sequence[AbstractContextManager[Keeper]] = (),
    ) -> None:
        self.json = json
        self.quiet = quiet
        self.failed = 0
        self.succeeded = 0
        self._to_open = keepers
        self._keepers: list[Keeper] = []
        self._open = ExitStack()
        self._last: list[Callable[[], str | None]] = []
        self.pretty = not json and (sys.stdout.isatty() if pretty is None else pretty)
        self._console: Console | None = None
        self._widest_name = NAME_WIDTH
        # What a progress bar is drawn on at present.
        self._live: Console | None = None

    def __enter__(self) -> Output:
        with ExitStack() as opened:
            if self._to_open:
                opened.enter_context(interrupt.clearing_up())
            self._keepers = [opened.enter_context(one) for one in self._to_open]
            self._open = opened.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.__exit__(kind, error, trace)
        for last in self._last:
            if (remark := last()) is not None:
                self.note(remark)
        if kind is not None:
            return
        for keeper in self._keepers:
            self.note(f"{keeper.path}: written")
        if self.failed:
            if self.failed + self.succeeded > 1:
                self._tell(f"{self.succeeded} done, {self.failed} failed")
            raise typer.Exit(1)

    def result(self, fields: Mapping[str, Any], *cells: str) -> None:
        """One result: its fields for programs, its cells for people. The first cell names the input."""
        self.succeeded += 1
        for keeper in self._keepers:
            keeper.result(fields, cells)
        if self._silent:
            return
        if self.json:
            self._put(json_line(fields))
        elif self.pretty:
            self._print(self._grid(cells))
        else:
            self._put("\t".join(printable(cell) for cell in cells))

    def results(
        self,
        rows: Sequence[tuple[Mapping[str, Any], Sequence[str]]],
        headers: Sequence[str],
        title: str,
        *,
        titled_lines: bool = False,
        counted: bool = True,
    ) -> None:
        """Results that belong together, as a table on a terminal. Each row is (fields, cells).

        titled_lines: in a pipe each line begins with the title, because it names the input.
        counted: each row is an input done, for the summary when others failed.
        """
        done = self.succeeded + (len(rows) if counted else 0)
        if not self.pretty or self._silent:
            for fields, cells in rows:
                self.result(fields, *([title] if titled_lines else []), *cells)
            self.succeeded = done
            return
        from rich import box
        from rich.table import Table
        from rich.text import Text

        self.succeeded = done
        for fields, cells in rows:
            for keeper in self._keepers:
                keeper.result(fields, [title, *cells] if titled_lines else cells)
        table = Table(box=box.SIMPLE_HEAD, show_header=any(headers), pad_edge=False)
        for number, header in enumerate(headers):
            numeric = all(_is_number(cells[number]) for _, cells in rows)
            table.add_column(header, justify="right" if numeric else "left", overflow="fold")
        for _, cells in rows:
            table.add_row(*(Text(printable(cell)) for cell in cells))
        self.heading(title)
        self._print(table)

    def show(self, what: RenderableType) -> None:
        """Anything rich can draw; for terminals only."""
        self._print(what)

    def failure(self, name: str, error: BaseException, **more: Any) -> None:
        """One input that could not be used; the others go on."""
        self.failed += 1
        kind = getattr(error, "kind", "unexpected")
        message = printable(str(error)) or type(error).__name__
        fields = {"photo": name, **more, "error": {"kind": kind, "message": message}}
        for keeper in self._keepers:
            keeper.failure(name, fields, error)
        if self.json and not self._silent:
            self._put(json_line(fields))
        else:
            shown = printable(name)
            self._tell(f"error: {message}" if shown in message else f"error: {shown}: {message}")

    def note(self, message: str) -> None:
        """A remark for people, on standard error."""
        if not self.quiet:
            self._tell(message)

    def at_end(self, remark: Callable[[], str | None]) -> None:
        """Have a remark, or none, when the block ends, however it does."""
        self._last.append(remark)

    @property
    def _silent(self) -> bool:
        """Whether results are kept and not to be printed."""
        return self.quiet and bool(self._keepers)

    def _tell(self, message: str) -> None:
        if self._live is not None and sys.stderr.isatty():
            # Above the progress bar, which would otherwise be drawn through it, and on the same console:
            # standard output may be a file.
            from rich.text import Text

            self._live.print(Text(printable(message)), soft_wrap=True)
        else:
            say(message)

    def heading(self, text: str) -> None:
        """A line between parts of a longer answer; programs do not see it."""
        if self.pretty:
            from rich.text import Text

            self._print(Text("\n" + printable(text), style="bold"))
        elif not self.json:
            self._put(printable(text))

    def remark(self, text: str) -> None:
        """A smaller line under an answer; programs do not see it."""
        if self.pretty:
            from rich.text import Text

            self._print(Text(printable(text), style="dim"))

    def fit_names(self, names: Iterable[str]) -> None:
        """Make the column of names, the first of each result, no wider than these need."""
        if self.pretty:
            from rich.cells import cell_len

            self._widest_name = max((cell_len(printable(name)) for name in names), default=NAME_WIDTH)

    def progress(
        self, items: Iterable[T], label: str, total: int | Callable[[], int] | None = None
    ) -> Iterator[T]:
        """``items`` as they come, with a bar on the terminal once two seconds have passed.

        total: how many, or what counts them; it is called when the bar is shown, from another thread.
        """
        from seetell.cli.progress import Bar

        console = self._bar_console()
        self._live = console
        try:
            with Bar(console, label, total) as bar:
                for item in items:
                    yield item
                    bar.advance()
        finally:
            self._live = None

    @property
    def wants_total(self) -> bool:
        """Whether a bar may be drawn, so that counting the inputs first is worth it."""
        return self._bar_stream() is not None

    def _bar_stream(self) -> TextIO | None:
        if self.quiet:
            return None
        if sys.stdout.isatty() and not self.json:
            return sys.stdout
        # What reads a pipe (`| head`) may print to the same terminal, and would be drawn over.
        return sys.stderr if sys.stderr.isatty() and not _is_pipe(sys.stdout) else None

    def _bar_console(self) -> Console | None:
        stream = self._bar_stream()
        if stream is None:
            return None
        if stream is sys.stdout:
            return self._stdout_console()
        from rich.console import Console

        return Console(stderr=True)

    def _stdout_console(self) -> Console:
        if self._console is None:
            from rich.console import Console

            self._console = Console(highlight=False, emoji=False, markup=False)
        return self._console

    def _print(self, what: RenderableType) -> None:
        self._stdout_console().print(what)

    def _grid(self, cells: Sequence[str]) -> RenderableType:
        from rich.table import Table
        from rich.text import Text

        if len(cells) < 2:
            return Text(printable("".join(cells)))
        # A grid of one row each time, of fixed first width: rows come one by one and still align. All but the
        # name stands in one column, which has the rest of the width.
        grid = Table.grid(padding=(0, 2))
        grid.add_column(width=self._name_width, overflow="ellipsis", no_wrap=True)
        grid.add_column(overflow="fold")
        name, answer, *more = self._shortened(cells)
        found = Text(printable(answer))
        for number, cell in enumerate(more, 1):
            if cell:
                found.append(f"  {printable(cell)}", style="dim" if number == len(more) else None)
        grid.add_row(Text(printable(name), style="cyan"), found)
        return grid

    @property
    def _name_width(self) -> int:
        # At least half of a narrow terminal is the answer's.
        return max(1, min(NAME_WIDTH, self._widest_name, self._stdout_console().width // 2 - 2))

    def _shortened(self, cells: Sequence[str]) -> Sequence[str]:
        """The end of a path says more than its beginning."""
        from rich.cells import cell_len

        if len(cells) < 2 or cell_len(cells[0]) <= self._name_width:
            return cells
        name = cells[0]
        while name and cell_len(name) > self._name_width - 1:
            name = name[1:]
        return ["…" + name, *cells[1:]]

    def _put(self, line: str) -> None:
        _write(sys.stdout, line + "\n")


def percent(value: float | None) -> str:
    """A probability for people; a dash where there is none."""
    return "–" if value is None else f"{100 * value:.0f}%"


def with_percent(text: str, value: float | None) -> str:
    """What is thought, and how probable that is where it is told."""
    return text if value is None else f"{text} {percent(value)}"


def size(size_bytes: int) -> str:
    """A size for people, in decimal units as disks and downloads have them."""
    value = float(size_bytes)
    for unit in ("B", "kB", "MB"):
        if value < 999.5:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} GB"


def _is_number(cell: str) -> bool:
    return cell.strip("%–-. ").replace(".", "").isdigit() or cell in {"–", ""}


def _is_pipe(stream: TextIO) -> bool:
    try:
        mode = os.fstat(stream.fileno()).st_mode
    except (OSError, ValueError):  # no file of the system's, in a test say
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def _write(stream: TextIO, text: str) -> None:
    if stream is sys.stdout:
        interrupt.check()
    try:
        try:
            stream.write(text)
        except UnicodeEncodeError:
            encoding = stream.encoding or "ascii"
            stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        # Each result at once: whatever reads the pipe should not wait for a full buffer.
        stream.flush()
    except BrokenPipeError as error:
        raise OutputClosed from error
    except OSError as error:
        if stream is sys.stderr:
            return  # there is nobody left to tell
        from seetell.core.files import storage_error

        raise storage_error(error, Path("standard output")) from error
