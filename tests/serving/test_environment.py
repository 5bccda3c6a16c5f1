"""docs/serve.md, in both languages, names every variable that the server reads."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

from seetell.cli.options import env_name

ROOT = Path(__file__).resolve().parents[2]
# Of models behind other servers, which a server of ours does not serve.
NOT_SERVED = {"SEETELL_BASE_URL", "SEETELL_PATIENCE", "SEETELL_PHOTO_PX", "SEETELL_PRICES"}


def of_options() -> set[str]:
    from seetell.cli.app import app

    command = typer.main.get_command(app)
    serve = command.get_command(typer.Context(command), "serve")  # type: ignore[attr-defined]
    return {env_name(*one.opts) for one in serve.params} - NOT_SERVED


def of_settings() -> set[str]:
    text = (ROOT / "src" / "seetell" / "core" / "settings.py").read_text(encoding="utf-8")
    return set(re.findall(r'"(SEETELL_[A-Z_]+)"', text)) - NOT_SERVED


@pytest.mark.parametrize("page", ["serve.md", "serve.zh-CN.md"])
def test_every_variable_is_named(page: str) -> None:
    rows = re.findall(
        r"^\| (`[A-Z_` ]+`) \|", (ROOT / "docs" / page).read_text(encoding="utf-8"), re.MULTILINE
    )
    named = {name for row in rows for name in re.findall(r"`([A-Z_]+)`", row)}
    ours = {name for name in named if name.startswith("SEETELL_")}
    assert len(of_options()) > 15
    assert ours == of_options() | of_settings() | {"SEETELL_DEBUG"}
