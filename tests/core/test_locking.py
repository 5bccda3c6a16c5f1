"""Waiting for another's turn, and not waiting where there is nothing to wait with."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from seetell.core.locking import in_turn

HOLD = """
import sys
from pathlib import Path
from seetell.core.locking import in_turn
with in_turn(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such locks")
@pytest.mark.parametrize("killed", [False, True])
def test_one_after_the_other(tmp_path: Path, killed: bool) -> None:
    file = tmp_path / "role.lock"
    entered = threading.Event()

    def enter() -> None:
        with in_turn(file):
            entered.set()

    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdin is not None and other.stdout is not None
        assert other.stdout.readline() == "held\n"
        waiting = threading.Thread(target=enter)
        waiting.start()
        assert not entered.wait(0.3)
        if killed:
            other.kill()
        else:
            other.stdin.close()
        assert entered.wait(30)
        waiting.join()


def test_a_place_that_cannot_be_written_is_no_reason_to_stop(tmp_path: Path) -> None:
    with in_turn(tmp_path / "no such folder" / "role.lock"):
        pass
