"""A made-up model in place of a real one, and a way to run the command line inside this process."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from seetell.cli.main import run
from tests.cli.fake_model import FakeModel


@dataclass(frozen=True)
class Result:
    """What one command line did."""

    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Standard output as JSON lines; anything else on it fails the test."""
        return [json.loads(line) for line in self.out.splitlines()]


Seetell = Callable[..., Result]


@pytest.fixture
def seetell(capsys: pytest.CaptureFixture[str]) -> Seetell:
    def call(*arguments: object) -> Result:
        capsys.readouterr()
        status = run([str(argument) for argument in arguments])
        shown = capsys.readouterr()
        assert "Traceback" not in shown.err + shown.out
        return Result(status, shown.out, shown.err)

    return call


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The model every command gets; what `load` was given is in its ``given``."""
    model = FakeModel()

    def load(source: Any = None, **options: Any) -> FakeModel:
        model.given = {"source": source, **options}
        return model

    monkeypatch.setattr("seetell.tasks.model.load", load)
    return model


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of three good photos, red, green and blue, and of different sizes."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, colour in enumerate(("red", "green", "blue"), 1):
        Image.new("RGB", (10 * number, 8), colour).save(folder / f"{colour}.png")
    return folder
