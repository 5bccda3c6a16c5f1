"""A public checkpoint is converted the first time it is asked for, and found again from then on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seetell.bundle import conversion
from seetell.bundle.conversion import resolve_or_convert
from seetell.bundle.hub import HubCheckpoint
from seetell.core.errors import BundleNotFound, CheckpointError, ConversionNeeded, PickleRefused
from tests.bundle.test_store import make_bundle

HUB_ID = "openai/clip-vit-base-patch32"
Child = Callable[[list[str], dict[str, str]], subprocess.CompletedProcess[bytes]]


class World:
    """What was fetched and converted, and what the converting process does."""

    def __init__(self) -> None:
        self.fetched: list[tuple[str, str | None]] = []
        self.commands: list[list[str]] = []
        self.environment: dict[str, str] = {}
        self.child: Child = self.good

    def good(self, command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[bytes]:
        make_bundle(Path(command[command.index("convert") + 2]), name="converted")
        return subprocess.CompletedProcess(command, 0, b"", b"")


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    made = World()
    monkeypatch.setenv("SEETELL_CACHE", str(tmp_path / "cache"))

    def fetch(hub_id: str, *, revision: str | None, **options: Any) -> HubCheckpoint:
        made.fetched.append((hub_id, revision))
        return HubCheckpoint(tmp_path, "0" * 40)

    def run(command: list[str], environment: dict[str, str]) -> Any:
        made.commands.append(command)
        made.environment = environment
        return made.child(command, environment)

    monkeypatch.setattr(conversion, "fetch_checkpoint", fetch)
    monkeypatch.setattr(conversion, "_run", run)
    monkeypatch.setattr(conversion, "_NEEDED", ("json",))
    return made


def checkpoint(folder: Path) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "clip"}))
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def test_a_hub_id_is_fetched_and_converted_once(world: World) -> None:
    told: list[str] = []
    bundle = resolve_or_convert(HUB_ID, converting=told.append)
    assert bundle.manifest.name == "converted"
    assert (world.fetched, told) == ([(HUB_ID, None)], [HUB_ID])
    assert world.environment["SEETELL_OFFLINE"] == "1", "nothing else may be fetched than a moment ago"
    again = resolve_or_convert(HUB_ID)
    assert again.folder == bundle.folder
    assert len(world.commands) == 1


def test_each_revision_is_kept_apart(world: World) -> None:
    folders = {resolve_or_convert(HUB_ID, revision=revision).folder for revision in (None, "v1", "v2")}
    assert len(folders) == 3
    assert [command[-2:] for command in world.commands[1:]] == [["--revision", "v1"], ["--revision", "v2"]]


def test_a_folder_is_converted_again_when_its_files_change(world: World, tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "clip")
    first = resolve_or_convert(folder).folder
    assert resolve_or_convert(str(folder)).folder == first
    assert (world.fetched, len(world.commands)) == ([], 1)
    os.utime(folder / "model.safetensors", ns=(1, 1))
    assert resolve_or_convert(folder).folder != first


def test_without_torch_the_command_is_given(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversion, "_NEEDED", ("no_such_package",))
    with pytest.raises(ConversionNeeded, match=f"seetell convert {HUB_ID} OUT"):
        resolve_or_convert(HUB_ID)
    assert world.fetched == []


def test_why_a_conversion_failed_is_said(world: World) -> None:
    said = b"converting\nerror: config.json: not a CLIP configuration\n"
    world.child = lambda command, environment: subprocess.CompletedProcess(command, 1, b"", said)
    with pytest.raises(CheckpointError) as caught:
        resolve_or_convert(HUB_ID)
    assert str(caught.value) == f"{HUB_ID}: cannot be converted: config.json: not a CLIP configuration"
    world.child = lambda command, environment: subprocess.CompletedProcess(command, -9, b"", b"")
    with pytest.raises(CheckpointError, match="ended with -9"):
        resolve_or_convert(HUB_ID)


def test_another_process_that_was_faster_is_no_failure(world: World) -> None:
    def beaten(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[bytes]:
        world.good(command, environment)
        return subprocess.CompletedProcess(command, 1, b"", b"error: exists already")

    world.child = beaten
    assert resolve_or_convert(HUB_ID).manifest.name == "converted"


def test_what_is_no_checkpoint_is_not_converted(world: World, tmp_path: Path) -> None:
    with pytest.raises(BundleNotFound):
        resolve_or_convert(tmp_path / "gone")
    pickled = checkpoint(tmp_path / "pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    with pytest.raises(PickleRefused):
        resolve_or_convert(pickled)
    assert world.commands == []


needs_posix = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")

# A conversion that says when it has begun, and that clears up when it is told to end, or hangs.
CONVERTING = """
import signal, sys, time
from pathlib import Path

def clear(*_):
    Path(sys.argv[1]).unlink()
    sys.exit(143)

signal.signal(signal.SIGTERM, clear if sys.argv[2] == "clears" else signal.SIG_IGN)
Path(sys.argv[1]).touch()
time.sleep(600)
"""
ASKING = """
import signal, sys
from seetell.bundle import conversion
# A shell that starts tests in the background has them ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)
conversion._CLEARING_S = float(sys.argv[4])
conversion._run([sys.executable, "-c", *sys.argv[1:4]], {})
"""


@needs_posix
@pytest.mark.parametrize(("manner", "patience_s"), [("clears", 60), ("hangs", 0.1)])
def test_ctrl_c_lets_the_conversion_clear_up(manner: str, patience_s: float, tmp_path: Path) -> None:
    mark = tmp_path / "being written"
    asking = subprocess.Popen(
        [sys.executable, "-c", ASKING, CONVERTING, str(mark), manner, str(patience_s)],
        env={**os.environ, "PYTHONPATH": str(Path(conversion.__file__).parents[2])},
        stderr=subprocess.PIPE,
    )
    while not mark.exists():
        assert asking.poll() is None
        time.sleep(0.01)
    asking.send_signal(signal.SIGINT)
    _, said = asking.communicate(timeout=300)
    assert b"KeyboardInterrupt" in said
    assert mark.exists() == (manner == "hangs")


def test_what_a_conversion_says_and_how_it_ends_is_kept() -> None:
    code = "import sys; print('a', file=sys.stderr); print('hidden'); sys.exit(3)"
    done = conversion._run([sys.executable, "-c", code], dict(os.environ))
    assert (done.returncode, done.stderr) == (3, b"a\n")
