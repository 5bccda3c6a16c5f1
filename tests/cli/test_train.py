"""``seetell train``: what it asks for, and what it says at the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from seetell.data.preparing.run import PrepareOptions, prepare
from seetell.learning.training.loop import Outcome, TrainingResult
from seetell.learning.training.recipe import Recipe
from tests.cli.conftest import Seetell
from tests.data.preparing.heap import plain


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    prepare(plain(tmp_path / "heap", 20), tmp_path / "clean", PrepareOptions(workers=1))
    return tmp_path / "clean"


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[Recipe]:
    """The recipes that were run; nothing is trained."""
    seen: list[Recipe] = []
    outcomes: list[Outcome] = ["finished", "interrupted"]

    def run(settings: Recipe, **_: Any) -> TrainingResult:
        seen.append(settings)
        return TrainingResult(outcomes[len(seen) - 1], 20, Path("unused"), 10, 97.5)

    monkeypatch.setattr("seetell.learning.training.run.run", run)
    return seen


def test_a_model_and_prepared_data_are_all_it_takes(
    seetell: Seetell, clean: Path, tmp_path: Path, runs: list[Recipe]
) -> None:
    out = tmp_path / "run"
    done = seetell("train", "--from", "builtin", "--data", clean, out, "steps=20")
    assert done.status == 0, done.err
    assert done.err.splitlines() == [
        f"{out}/train.yaml: the recipe, to be changed and run again as you like",
        "the best was step 10, with 97.50",
        f"{out}/report.html: how it went, in curves",
        f"next: seetell convert {out} run-model",
    ]
    # The file is a recipe as any other; of a run that was stopped nothing is said to be next.
    again = seetell("train", out / "train.yaml")
    assert again.status == 130 and "next:" not in again.err
    assert runs[0] == runs[1] and runs[0].steps == 20


def test_data_without_photos_kept_apart_are_remarked_on(
    seetell: Seetell, tmp_path: Path, runs: list[Recipe]
) -> None:
    table = plain(tmp_path / "heap", 20)
    table.write_text(table.read_text(encoding="utf-8").replace(",val", ",train"), encoding="utf-8")
    prepare(table, tmp_path / "clean", PrepareOptions(workers=1))
    done = seetell("train", "--from", "builtin", "--data", tmp_path / "clean", tmp_path / "run")
    assert "nothing tells whether the model gets better; to have some: seetell prepare" in done.err
    assert runs[0].validation is None


def test_what_goes_together(
    seetell: Seetell, clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for given in (("--from", "builtin"), ("--data", clean)):
        done = seetell("train", *given, tmp_path / "run")
        assert done.status == 2 and "--from MODEL and --data FOLDER go together" in done.err
    lost = seetell("train", "--from", "builtin", "--data", tmp_path / "none", tmp_path / "run")
    assert lost.status == 1 and "--data: " in lost.err and lost.err.count("\n") == 1
    assert not (tmp_path / "run").exists()
    # Where the data of recipes lie is no --data.
    monkeypatch.setenv("SEETELL_DATA", str(clean))
    done = seetell("train", tmp_path / "none.yaml")
    assert done.status == 2 and "the recipe cannot be read" in done.err
