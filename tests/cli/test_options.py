"""Options, their variables, and the lists that can be given in one word or in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from seetell.cli.options import Shared, alternatives, comma_list, env_name, option, repeatable, shared_options
from seetell.core.errors import UsageError


def probe() -> tuple[typer.Typer, list[Any]]:
    """A program of one command that records what it was given."""
    app, seen = typer.Typer(), []

    @app.command()
    @shared_options
    def command(
        photos: Annotated[list[str], typer.Argument()],
        top: Annotated[int, option("--top", help="How many.")] = 5,
        *,
        text: Annotated[list[str], repeatable("--text", help="A text.")],
        shared: Shared,
    ) -> None:
        seen.append((photos, text, top, shared))

    return app, seen


def test_names_of_variables() -> None:
    assert env_name("--batch-size") == "SEETELL_BATCH_SIZE"
    assert env_name("-k") == "SEETELL_K"
    assert env_name("-m", "--model") == "SEETELL_MODEL"


def test_shared_options_arrive_as_one() -> None:
    app, seen = probe()
    result = CliRunner().invoke(
        app, ["a", "b", "--model", "x", "--precision", "int8", "--threads", "2", "--json"]
    )
    assert result.exit_code == 0, result.output
    shared = Shared(model="x", precision="int8", threads=2, json=True)
    assert seen == [(["a", "b"], [], 5, shared)]


def test_variables_stand_in_for_options_and_yield_to_them() -> None:
    app, seen = probe()
    variables = {
        "SEETELL_MODEL": "from/variable",
        "SEETELL_BATCH_SIZE": "3",
        "SEETELL_EXACT_DECODE": "yes",
        "SEETELL_TEXT": "a red kite\n\na dog",
        "SEETELL_TOP": "2",
    }
    result = CliRunner().invoke(app, ["a", "--top", "4"], env=variables)
    assert result.exit_code == 0, result.output
    _, texts, top, shared = seen[0]
    assert texts == ["a red kite", "a dog"], "a sentence stays one text"
    assert top == 4
    assert shared == Shared(model="from/variable", batch_size=3, exact_decode=True)


@pytest.mark.parametrize(
    "arguments",
    [
        ["a", "--precision", "fp8"],
        ["a", "--batch-size", "0"],
        ["a", "--threads", "x"],
        ["--json"],
        ["a", "--nope"],
    ],
)
def test_nonsense_is_wrong_usage(arguments: list[str]) -> None:
    app, seen = probe()
    assert CliRunner().invoke(app, arguments).exit_code == 2
    assert seen == []


def test_a_variable_that_is_neither_true_nor_false_is_refused() -> None:
    app, seen = probe()
    assert CliRunner().invoke(app, ["a"], env={"SEETELL_JSON": "perhaps"}).exit_code == 2
    assert seen == []


def test_lists(tmp_path: Path) -> None:
    file = tmp_path / "labels.txt"
    file.write_text("a dog\n\n 猫 \na dog\nbread, sliced\n", encoding="utf-8")
    assert comma_list("yes, no,,yes", "--answers") == ["yes", "no"]
    assert comma_list(f"@{file}", "--labels") == ["a dog", "猫", "bread, sliced"]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("狗，人，雪", ["狗", "人", "雪"]),
        ("狗、人、雪", ["狗", "人", "雪"]),
        ("狗， 人,雪、", ["狗", "人", "雪"]),
        ("狗 人", ["狗 人"]),
    ],
)
def test_lists_with_chinese_commas(text: str, values: list[str]) -> None:
    assert comma_list(text, "--labels") == values


def test_a_list_in_a_file_that_begins_with_a_mark(tmp_path: Path) -> None:
    """As some editors of Windows write it."""
    file = tmp_path / "labels.txt"
    file.write_bytes(b"\xef\xbb\xbfyes\r\nno\r\n\xe9\x9b\xaa\xef\xbc\x8c\xe5\x86\xb0\r\n")
    assert comma_list(f"@{file}", "--labels") == ["yes", "no", "雪，冰"]


def test_that_there_is_nothing_to_choose_among_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert alternatives("yes, no", "--answers") == ["yes", "no"]
    assert capsys.readouterr().err == ""
    assert alternatives("狗 人 雪", "--labels") == ["狗 人 雪"]
    assert capsys.readouterr().err == (
        "--labels has one entry, '狗 人 雪', which is always chosen; separate several by commas\n"
    )


def test_lists_that_are_none(tmp_path: Path) -> None:
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00")
    for text in ("", " , ", f"@{tmp_path / 'gone'}", f"@{tmp_path}", f"@{binary}"):
        with pytest.raises(UsageError, match="--labels"):
            comma_list(text, "--labels")
