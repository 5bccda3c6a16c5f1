"""Help that can be read on 80 columns: whole sentences, two examples each that are commands, and a page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.cells import cell_len

from seetell.cli.app import app
from tests.test_docs import fault

DOCS = Path(__file__).resolve().parents[2] / "docs"


def commands() -> Iterator[tuple[str, ...]]:
    """All there are, those of groups too."""
    for name, command in typed(typer.main.get_command(app)).items():
        yield (name,)
        yield from ((name, inner) for inner in typed(command))


def typed(group: Any) -> dict[str, Any]:
    return dict(getattr(group, "commands", {}))


def help_of(seetell: Any, *words: str) -> list[str]:
    result = seetell(*words, "--help")
    assert (result.status, result.err) == (0, "")
    lines: list[str] = result.out.splitlines()
    return lines


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does a wide terminal make lines that are too long to read."""
    monkeypatch.setenv("COLUMNS", "200")


@pytest.mark.parametrize("words", [*commands()], ids=" ".join)
def test_two_examples_and_a_page(seetell: Any, words: tuple[str, ...]) -> None:
    lines = help_of(seetell, *words)
    assert max(map(cell_len, lines)) <= 80
    at = lines.index("  Examples:")
    *examples, blank, more = lines[at + 1 :]
    assert (len(examples), blank) == (2, "")
    for example in examples:
        assert example.startswith(f"    seetell {words[0]}")
        assert fault(example.strip()) is None
    page = more.removeprefix("  More: docs/")
    assert page != more and (DOCS / page).is_file()


@pytest.mark.parametrize("words", [(), ("models",)], ids=["seetell", "models"])
def test_no_line_of_the_list_is_cut(seetell: Any, words: tuple[str, ...]) -> None:
    lines = help_of(seetell, *words)
    assert max(map(cell_len, lines)) <= 80
    listed = lines[lines.index("Commands:") + 1 :]
    listed = listed[: listed.index("")] if "" in listed else listed
    assert len(listed) == sum(len(one) == len(words) + 1 and one[: len(words)] == words for one in commands())
    for line in listed:
        assert line.endswith(".") and not line.endswith("...")


@pytest.mark.parametrize("words", [*commands()], ids=" ".join)
def test_sentences_are_whole(words: tuple[str, ...]) -> None:
    command: Any = typer.main.get_command(app)
    for word in words:
        command = command.commands[word]
    assert command.help.split("\n\n")[0].rstrip().endswith(".")
    for parameter in command.params:
        text = parameter.help
        if parameter.name != "help" and text:
            assert text.endswith(".") and not text.endswith(".."), (parameter.name, text)
