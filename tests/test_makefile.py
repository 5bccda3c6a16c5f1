"""What make says before it sets anything up, and where it cannot."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


def made(*words: str) -> subprocess.CompletedProcess[str]:
    # The tests themselves may have been started by a make, which tells those below it so.
    own = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(["make", *words], cwd=ROOT, env=own, capture_output=True, text=True, check=False)


def python(folder: Path, version: str) -> Path:
    """A program that answers as that Python, sets up no environment, and says so."""
    program = folder / "python"
    major, minor = version.split(".")[:2]
    program.write_text(
        f"""#!/bin/sh
case "$2" in
    *"< (3, 11)"*) exit {int((int(major), int(minor)) < (3, 11))};;
    *"!= (3, 11)"*) exit {int((major, minor) != ("3", "11"))};;
esac
[ "$1" = -V ] && echo "Python {version}" && exit 0
echo "asked for $*" >&2
exit 7
"""
    )
    program.chmod(0o755)
    return program


@pytest.mark.parametrize("goal", ["demo", "serve"])
def test_a_python_that_is_not_there(tmp_path: Path, goal: str) -> None:
    done = made(goal, f"DEMO_VENV={tmp_path}/venv", "PYTHON=no-such-python")
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.splitlines()[0] == (
        f"No no-such-python here. seetell needs Python 3.11 or later; name yours: make {goal} PYTHON=python3"
    )


def test_a_python_that_is_too_old(tmp_path: Path) -> None:
    old = python(tmp_path, "3.9.18")
    done = made("demo", f"DEMO_VENV={tmp_path}/venv", f"PYTHON={old}")
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.splitlines()[0] == (
        f"{old} is Python 3.9.18; seetell needs 3.11 or later: make demo PYTHON=python3.11"
    )


@pytest.mark.parametrize(("version", "tested"), [("3.11.4", True), ("3.13.0", False)])
def test_what_is_done_is_said_first(tmp_path: Path, version: str, tested: bool) -> None:
    named = python(tmp_path, version)
    done = made("demo", f"DEMO_VENV={tmp_path}/venv", f"PYTHON={named}")
    first, *more = done.stdout.splitlines()
    assert first.startswith(
        f"Setting up {tmp_path}/venv with {named}, Python {version}. It takes about a minute"
    )
    assert [("3.11 is what is tested" in line) for line in more] == ([] if tested else [True])
    assert done.stderr.startswith(f"asked for -m venv {tmp_path}/venv")
