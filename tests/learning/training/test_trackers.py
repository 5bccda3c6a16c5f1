"""Trackers: what a run logs arrives at Weights & Biases: at a stand-in always, at itself where installed."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from stand_in import loop, recipe

from seetell.core.errors import MissingExtra
from seetell.learning.training import trackers
from seetell.learning.training.metrics_log import read_metrics

# What Accelerate's tracker calls, written down line by line.
STAND_IN = """
import json
from pathlib import Path

_SAID = Path({said!r})

def _say(what, **values):
    with _SAID.open("a") as file:
        file.write(json.dumps([what, values], default=str) + "\\n")

class Run:
    def log(self, values, step=None):
        _say("log", values=values, step=step)

    def finish(self):
        _say("finish")

class config:
    @staticmethod
    def update(values, **options):
        _say("config", values=values)

def init(**options):
    _say("init", **options)
    return Run()
"""


@pytest.fixture
def wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A stand-in for the package ``wandb``; the file in which it writes down what it is told."""
    package, said = tmp_path / "site" / "wandb", tmp_path / "said.jsonl"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(STAND_IN.format(said=str(said)), encoding="utf-8")
    monkeypatch.syspath_prepend(package.parent)
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    yield said
    sys.modules.pop("wandb", None)


def said(file: Path) -> list[tuple[str, dict[str, Any]]]:
    return [tuple(json.loads(line)) for line in file.read_text(encoding="utf-8").splitlines()]


def test_wandb_is_told_the_recipe_and_the_metrics_and_goes_on_in_the_same_run(
    wandb: Path, tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    settings = recipe(trackers=["wandb"], steps=20)
    loop(tmp_path / "run", settings)[0].run()
    told = said(wandb)
    assert [what for what, _ in told] == ["init", "config", "log", "finish"]
    opened, configured, logged = (values for _, values in told[:3])
    assert (opened["project"], opened["name"], opened["resume"]) == ("seetell", "run", "allow")
    assert opened["dir"] == str(tmp_path / "run")
    assert configured["values"]["optimizer"]["lr"] == 0.01
    [row] = [row for row in read_metrics(tmp_path / "run" / "metrics.jsonl") if row["step"] == 20]
    assert logged["step"] == 20
    assert logged["values"] == {f"train/{name}": row[name] for name in row if name not in ("step", "kind")}
    assert {"train/loss", "train/mfu", "train/photos_per_s"} <= logged["values"].keys()
    loop(tmp_path / "run", settings)[0].run()
    again = [values for what, values in said(wandb) if what == "init"]
    assert len(again) == 2 and again[0]["id"] == again[1]["id"]


def test_a_tracker_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trackers.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingExtra, match=r"\[wandb\]'"):
        loop(tmp_path / "run", recipe(trackers=["wandb"]))[0].run()


@pytest.mark.slow
def test_wandb_itself_writes_an_offline_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    (tmp_path / "run").mkdir()
    loop(tmp_path / "run", recipe(trackers=["wandb"], steps=20))[0].run()
    [written] = (tmp_path / "run" / "wandb").glob("offline-run-*/run-*.wandb")
    content = written.read_bytes()
    assert b"train/loss" in content and b"train/mfu" in content
