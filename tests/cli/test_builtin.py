"""The command line with the built-in model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.broken_files import make_broken_folder


def test_demo(seetell: Any) -> None:
    result = seetell("demo", "--json")
    assert result.status == 0, result.err
    captions = [line for line in result.lines if "language" in line]
    assert {line["language"] for line in captions} == {"en", "zh"}
    assert all(line["text"].strip() for line in captions)
    assert all(line["answer"] for line in result.lines if "question" in line)
    assert any("query" in line for line in result.lines)


@pytest.mark.parametrize("verb", ["caption", "search"])
def test_twenty_broken_files_among_twenty_good(seetell: Any, tmp_path: Path, verb: str) -> None:
    made = make_broken_folder(tmp_path / "photos")
    words = (
        ["caption", made.folder]
        if verb == "caption"
        else ["search", "a dog", "--in", made.folder, "-k", "20", "--min-probability", "0"]
    )
    result = seetell(*words, "--json")
    assert result.status == 1
    failed = {Path(line["photo"]).name: line["error"]["kind"] for line in result.lines if "error" in line}
    assert failed == made.kinds
    assert len(result.lines) == 40


def test_doctor_finds_it_sound(seetell: Any) -> None:
    result = seetell("doctor", "builtin", "--json")
    assert result.status == 0, result.err
    assert all(line.get("ok", True) for line in result.lines)


def test_models_show_names_the_licence(seetell: Any) -> None:
    [found] = seetell("models", "show", "--json").lines
    assert found["licence"]
    assert found["data"]


def test_each_process_alone_never_imports_torch(tmp_path: Path) -> None:
    made = make_broken_folder(tmp_path / "photos", good=1)
    program = f"""
import sys
from seetell.cli.main import run
status = run(["caption", {str(made.folder / made.good[0])!r}, "--json"])
assert not {{"torch", "transformers"}} & set(sys.modules)
sys.exit(status)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=dict(os.environ), check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["text"]
