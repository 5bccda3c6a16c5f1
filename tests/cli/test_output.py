"""What is printed, to whom, and that it survives odd names, odd numbers and odd encodings."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from seetell.cli.output import Output, OutputClosed, json_line, percent, say
from seetell.core.errors import ImageError, StorageError
from seetell.core.lines import printable


class Terminal(io.StringIO):
    """A screen of 100 columns. As a context manager it is standard output: a fixture cannot be, because
    pytest puts its own in place between set-up and test."""

    def isatty(self) -> bool:
        return True

    def __enter__(self) -> Terminal:
        self._redirected = contextlib.redirect_stdout(self)
        self._redirected.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._redirected.__exit__(*error)


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    return Terminal()


@given(st.text())
def test_printable_is_one_harmless_line(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable() or shown == ""
    assert len(shown.splitlines()) <= 1


def test_printable_keeps_what_can_be_shown() -> None:
    assert printable("红色的车 ü") == "红色的车 ü"
    assert printable("a\nb\x1b[2J\udcff") == "a\\nb\\x1b[2J\\udcff"


@given(st.dictionaries(st.text(), st.text() | st.floats() | st.integers() | st.none()))
def test_a_json_line_is_one_line_and_comes_back(fields: dict[str, Any]) -> None:
    line = json_line(fields)
    assert "\n" not in line

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    back = json.loads(line, parse_constant=refuse)
    assert back.keys() == fields.keys()


def test_a_json_line_where_utf8_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    line = json_line({"text": "红色"})
    assert line.isascii()
    assert json.loads(line) == {"text": "红色"}


def test_people_can_be_told_things_in_any_encoding() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    say("红色", stream)
    assert raw.getvalue() == b"\\u7ea2\\u8272\n"


def test_a_closed_pipe_has_its_own_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", Closed())
    with pytest.raises(OutputClosed):
        Output(json=True).result({"photo": "a"}, "a", "b")


def test_a_pipe_gets_tabs(capsys: pytest.CaptureFixture[str]) -> None:
    Output(json=False).result({"photo": "a"}, "a.jpg", "a dog\tand\na cat")
    assert capsys.readouterr().out == "a.jpg\ta dog\\tand\\na cat\n"


def test_a_table_in_a_pipe_is_tabs_too(capsys: pytest.CaptureFixture[str]) -> None:
    rows: list[Any] = [({}, ("a dog", "90%")), ({}, ("a cat", "10%"))]
    Output(json=False).results(rows, ("text", "fits"), "a.jpg", titled_lines=True)
    Output(json=False).results(rows[:1], ("text", "fits"), "Fits")
    assert capsys.readouterr().out == "a.jpg\ta dog\t90%\na.jpg\ta cat\t10%\na dog\t90%\n"


def test_rows_on_a_terminal_align_wide_characters(screen: Terminal) -> None:
    with screen:
        out = Output(json=False)
        out.result({}, "照片.jpg", "first")
        out.result({}, "photo.jpg", "second")
        out.result({}, "a/very/long/path/that/does/not/fit/the/column/照片.jpg", "third")
    first, second, third = screen.getvalue().splitlines()
    columns = {cell_len(row[: row.index(word)]) for row, word in ((first, "first"), (second, "second"))}
    columns.add(cell_len(third[: third.index("third")]))
    assert len(columns) == 1
    assert third.startswith("…") and "照片.jpg" in third


def test_tables_on_a_terminal(screen: Terminal) -> None:
    with screen:
        Output(json=False).results([({}, ("[red]", "9%")), ({}, ("红", "91%"))], ("text", "fits"), "a.jpg")
    shown = screen.getvalue()
    assert "a.jpg" in shown
    assert "[red]" in shown, "markup in a text is text"
    assert "\x1b[3" not in shown, "NO_COLOR is respected"


def test_failures_of_many_and_the_exit_status(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as stop, Output(json=False) as out:
        out.result({}, "good.jpg", "a dog")
        out.failure("bad.jpg", ImageError("truncated", "bad.jpg: the file is cut off"))
        out.failure("odd\n.jpg", ImageError("empty", "an empty file"))
    assert stop.value.exit_code == 1
    shown = capsys.readouterr()
    assert shown.out == "good.jpg\ta dog\n"
    assert shown.err.splitlines() == [
        "error: bad.jpg: the file is cut off",
        "error: odd\\n.jpg: an empty file",
        "1 done, 2 failed",
    ]


def test_failures_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    out = Output(json=True)
    out.failure("bad.jpg", ImageError("truncated", "cut off"), question="what?")
    assert json.loads(capsys.readouterr().out) == {
        "photo": "bad.jpg",
        "question": "what?",
        "error": {"kind": "truncated", "message": "cut off"},
    }


def test_headings_and_remarks_are_not_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    out = Output(json=True)
    out.heading("Captions")
    out.remark("5 ms")
    assert capsys.readouterr().out == ""


def test_progress_gives_the_items_and_stays_out_of_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(Output(json=False).progress(iter(range(5)), "things", 5)) == [0, 1, 2, 3, 4]
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "")


@pytest.mark.parametrize("total", [3, None])
def test_a_bar_shows_when_it_takes_long(
    screen: Terminal, monkeypatch: pytest.MonkeyPatch, total: int | None
) -> None:
    import threading

    from seetell.cli import progress

    monkeypatch.setattr(progress, "PATIENCE_S", 0.0)
    shown = threading.Event()
    show = progress.Bar._show

    def watched(bar: progress.Bar) -> None:
        show(bar)
        shown.set()

    monkeypatch.setattr(progress.Bar, "_show", watched)
    with screen:
        out = Output(json=False)
        for item in out.progress([1, 2, 3], "captions", total):
            assert shown.wait(10)
            out.result({}, f"{item}.jpg", "a dog")
    assert "captions" in screen.getvalue()
    assert screen.getvalue().count("a dog") == 3


@pytest.mark.parametrize("json_lines", [False, True])
def test_errors_stay_out_of_a_file_of_results(
    screen: Terminal, monkeypatch: pytest.MonkeyPatch, json_lines: bool
) -> None:
    """``seetell caption photos/ > captions.tsv`` in a terminal: there the bar is, and there the errors go."""
    monkeypatch.setattr(sys, "stderr", screen)
    with contextlib.redirect_stdout(io.StringIO()) as file:
        out = Output(json=json_lines)
        for name in out.progress(["a.jpg", "b.jpg"], "captions", 2):
            out.note(f"error: {name}: the file is cut off")
        out.note("0 done, 2 failed")
    assert file.getvalue() == ""
    assert screen.getvalue().splitlines() == [
        "error: a.jpg: the file is cut off",
        "error: b.jpg: the file is cut off",
        "0 done, 2 failed",
    ]


def test_percent() -> None:
    assert [percent(value) for value in (0.934, 1.0, 0.0, None)] == ["93%", "100%", "0%", "–"]


@pytest.mark.parametrize("width", [20, 40])
def test_a_narrow_terminal_leaves_room_for_the_answer(
    screen: Terminal, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    with screen:
        Output(json=False).result({}, "a/long/path/to/a/photo.jpg", "a dog in a red hat runs")
    lines = screen.getvalue().splitlines()
    assert all(cell_len(line) <= width for line in lines)
    assert len(lines) <= 4, "words, not letters, below each other"


def test_a_full_disk_behind_standard_output(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(sys, "stdout", Full())
    with pytest.raises(StorageError, match="standard output: the disk is full"):
        Output(json=True).result({"photo": "a"}, "a", "b")
    monkeypatch.setattr(sys, "stderr", Full())
    say("nobody can be told, which is no reason to stop")


def test_the_answer_has_the_width_that_names_leave(screen: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    with screen:
        out = Output(json=False)
        out.fit_names(["a.jpg", "红.jpg"])
        out.result({}, "a.jpg", "a dog in a red hat runs over the grass", "perhaps a cat")
        out.result({}, "红.jpg", "a cat")
    # Six columns for the name and two between leave 52; the names' column fits the wider of the two.
    shown = re.sub(r"\x1b\[\d*m", "", screen.getvalue())
    assert shown.splitlines() == [
        "a.jpg   a dog in a red hat runs over the grass  perhaps a   ",
        "        cat                                                 ",
        "红.jpg  a cat",
    ]


def test_what_a_pipe_reads_is_not_drawn_over(
    screen: Terminal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """``seetell caption photos/ | head`` on a terminal: what head prints appears where the bar would be."""
    monkeypatch.setattr(sys, "stderr", screen)
    reads, writes = os.pipe()
    with os.fdopen(reads), os.fdopen(writes, "w") as pipe, open(tmp_path / "captions.tsv", "w") as file:
        for stream, drawn in ((pipe, False), (file, True)):
            monkeypatch.setattr(sys, "stdout", stream)
            for json_lines in (False, True):
                assert Output(json=json_lines).wants_total is drawn
                assert Output(json=json_lines, quiet=True).wants_total is False


def test_what_counts_is_called_when_the_bar_shows(screen: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    from seetell.cli import progress

    counted = threading.Event()

    def count() -> int:
        counted.set()
        return 2

    with screen:
        assert list(Output(json=False).progress([1, 2, 3], "photos", count)) == [1, 2, 3]
        assert not counted.is_set(), "a short run counts nothing"
        monkeypatch.setattr(progress, "PATIENCE_S", 0.0)
        out = Output(json=False)
        for _ in out.progress([1, 2, 3], "photos", count):
            assert counted.wait(10)
            wait_for(lambda: "0/2" in screen.getvalue())
    # More came than were counted.
    assert "3/3" in screen.getvalue()


def wait_for(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)
