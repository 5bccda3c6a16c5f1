"""The page of curves: every figure is on it, nothing is fetched, and odd values are no obstacle."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from stand_in import loop, recipe

from seetell.learning.training.curves import curves_page, write_curves
from seetell.learning.training.progress import ProgressDisplay


def test_a_run_is_drawn(tmp_path: Path) -> None:
    values = iter([1.0, 5.0, 2.0, 3.0, 4.0, 4.0, 4.5])
    settings = recipe(validate={"every": 2, "stop_on": "told.en.r5"})
    loop(tmp_path, settings, validate=lambda _: {"told.en.r5": next(values), "a<b": 1.0})[0].run()
    write_curves(tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "default-src 'none'" in page and "<script" not in page and "http" not in page.replace("http-", "")
    row = "<td>told.en.r5</td><td>1.00</td><td>4.50</td><td>5.00</td><td>4</td>"
    assert row in page
    assert "a&lt;b" in page and "a<b" not in page
    assert page.count("<svg") == 5  # two measured, two losses, and the rate
    assert page.count("step 4: 5<") == 1
    assert "gradient_norm" not in page


def test_what_is_no_number_and_what_is_alone_is_drawn_too() -> None:
    rows = [
        {"step": 1, "kind": "train", "loss": None, "lr": 0.0},
        {"step": 2, "kind": "train", "loss": 3.0, "lr": 0.0},
        {"step": 2, "kind": "validate", "r5": None},
    ]
    page = curves_page("run", rows)
    assert page.count("<svg") == 2 and "nan" not in page and "Measured" not in page
    many = [{"step": step, "kind": "train", "loss": float(step % 3)} for step in range(1, 2001)]
    lines = re.findall(r'points="([^"]*)"', curves_page("run", many))
    assert [len(line.split()) for line in lines] == [200, 200]


def test_a_run_without_a_row_has_no_page(tmp_path: Path) -> None:
    write_curves(tmp_path)
    assert not list(tmp_path.iterdir())
    (tmp_path / "metrics.jsonl").write_text(json.dumps({"step": 0, "kind": "guard", "x": 1.0}) + "\n")
    write_curves(tmp_path)
    assert (tmp_path / "report.html").is_file()


def test_after_the_first_steps_it_says_how_long_the_rest_takes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    monkeypatch.setattr("seetell.learning.training.progress.time.monotonic", lambda: now[0])
    display = ProgressDisplay(100, 0)
    for step in range(1, 9):
        # The first is counted and the second is slow: neither is what a step takes.
        now[0] += {1: 60.0, 2: 9.0}.get(step, 2.0)
        display.pace(8, typical=step > 1)
        display.step(step, {"loss": 1.0}, 0.1)
    said = [line for line in capsys.readouterr().err.splitlines() if "to go" in line]
    assert said == ["94 steps to go, 2 s each: about 3 min, measuring not counted"]
