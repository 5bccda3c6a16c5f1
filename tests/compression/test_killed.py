"""SIGKILL in any stage, and while the bundle is put in its place: nothing half-written stands at OUT, and the
same command goes on from the last stage that is whole."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from seetell.bundle.store import Bundle, open_bundle
from seetell.learning.compression.run import compress
from seetell.learning.compression.settings import Settings
from tests.compression.stand_ins import StandIns
from tests.compression.test_run import fingerprint
from tests.compression.test_stages import wish

__all__ = ["wish"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="signals of Linux"),
]

# Kills itself in a stage, or at the N-th call of a function on the way.
SCRIPT = """
import os, signal, sys
from pathlib import Path
import pytest
from seetell.bundle.store import open_bundle
from seetell.core import files
from seetell.learning.compression import run
from seetell.learning.compression.gate import Tolerance
from seetell.learning.compression.pruning.prune import Pruning
from seetell.learning.compression.settings import Distilling, Settings
from seetell.learning.compression.workplace import Workplace
from tests.compression.stand_ins import StandIns

source, folder, moment = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
stages = StandIns()
stages.install(pytest.MonkeyPatch())

def die():
    os.kill(os.getpid(), signal.SIGKILL)

name, _, number = moment.partition(":")
if number:
    owner, name = {"keep": (Workplace, "keep"), "move": (files, "_move_into_place"),
                   "write": (run, "_write"), "clear": (Workplace, "clear")}[name]
    real, calls = getattr(owner, name), 0
    def killing(*arguments, **named):
        global calls
        calls += 1
        if calls == int(number):
            die()
        return real(*arguments, **named)
    setattr(owner, name, killing)
else:
    stages.during[name] = die
run.compress(
    open_bundle(source),
    folder / "out",
    Settings(
        calibration=folder / "photos",
        prune=Pruning(0.5),
        distil=Distilling(folder / "recover.yaml"),
        tolerance=Tolerance(5, relative=True),
    ),
    evaluate=lambda model: [],
    facts={},
)
"""


@pytest.mark.parametrize(
    ("moment", "left"),
    [
        ("prune", ["prune", "distil", "quantize"]),
        ("training", ["distil", "quantize"]),
        # The record of a stage is written last: without it the stage is not whole.
        ("keep:2", ["prune", "distil", "quantize"]),
        ("keep:3", ["distil", "quantize"]),
        ("quantize", ["quantize"]),
        ("move:1", ["quantize"]),
        ("write:1", []),
        ("move:2", []),
    ],
)
def test_a_run_that_was_killed_goes_on(
    tiny_bundle: Bundle, tmp_path: Path, wish: Settings, moment: str, left: list[str]
) -> None:
    before = fingerprint(tiny_bundle.folder)
    command = [sys.executable, "-c", SCRIPT, str(tiny_bundle.folder), str(tmp_path), moment]
    killed = subprocess.run(command, capture_output=True, check=False, cwd=Path(__file__).parents[2])
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    out = tmp_path / "out"
    assert not out.exists()
    stages = StandIns()
    with pytest.MonkeyPatch.context() as patch:
        stages.install(patch)
        compress(tiny_bundle, out, wish, evaluate=lambda model: [], facts={})
    assert stages.done == left
    open_bundle(out).verify(full=True)
    # What was half written has a name of its own, and goes when it is a minute old.
    left_over = {path.name for path in tmp_path.iterdir() if not path.name.startswith(".out.")}
    assert left_over == {"out", "photos", "recover.yaml"}
    assert fingerprint(tiny_bundle.folder) == before
