"""SIGKILL while a checkpoint is written: what is there is whole, and the run goes on from it exactly."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from stand_in import loop

from seetell.learning.training import checkpoint as checkpoints
from seetell.learning.training.metrics_log import read_metrics

# Kills the process when the run's eighth step is being saved, at the N-th call of a function on the way.
SCRIPT = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {here!r})
import stand_in
from seetell.core import files
from seetell.learning.training import checkpoint
module, name = {{"checkpoint": checkpoint, "files": files}}[sys.argv[2]], sys.argv[3]
fatal = int(sys.argv[4])
real, calls = getattr(module, name), 0
def killing(*arguments, **named):
    global calls
    if checkpoint.checkpoints(Path(sys.argv[1]) / "checkpoints"):
        calls += 1
        if calls == fatal:
            os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments, **named)
setattr(module, name, killing)
stand_in.loop(Path(sys.argv[1]))[0].run()
"""


@pytest.mark.parametrize(
    ("module", "function", "call"),
    [
        ("checkpoint", "save_file", 1),
        ("checkpoint", "save_file", 3),
        ("checkpoint", "_record", 2),
        ("files", "_sync_tree", 1),
        ("files", "_move_into_place", 1),
    ],
)
def test_a_run_killed_while_it_saves_goes_on_from_a_whole_checkpoint(
    module: str, function: str, call: int, tmp_path: Path
) -> None:
    script = SCRIPT.format(here=str(Path(__file__).parent))
    killed = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path), module, function, str(call)],
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    left = checkpoints.checkpoints(tmp_path / "checkpoints")
    assert [number for number, _ in left] == [4]
    assert checkpoints.read_progress(left[0][1]).step == 4
    assert loop(tmp_path)[0].run().outcome == "finished"
    steps = [row["step"] for row in read_metrics(tmp_path / "metrics.jsonl") if row["kind"] == "train"]
    assert steps == list(range(1, 15))
