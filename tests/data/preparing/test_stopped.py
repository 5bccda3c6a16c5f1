"""``seetell prepare`` in processes: killed, interrupted, twice at once, on a full disk."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from seetell.core.errors import DataError
from seetell.data.shards import open_shards
from tests.data.preparing.heap import plain, start, tree

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="signals and /proc of Linux")

COUNT = 600


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return plain(tmp_path_factory.mktemp("source"), COUNT)


@pytest.fixture(scope="module")
def whole(table: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What an undisturbed run gives."""
    out = tmp_path_factory.mktemp("whole")
    done = start(table, out, "--shard-samples", 20, "--workers", 1)
    assert done.communicate(timeout=300)[1] and done.returncode == 0
    return tree(out)


def wait_for(out: Path, pattern: str, process: subprocess.Popen[bytes]) -> bool:
    """Until a file is there; False if the process ends first."""
    while not any(out.glob(pattern)):
        if process.poll() is not None:
            return any(out.glob(pattern))
        time.sleep(0.002)
    return True


def running(mark: str) -> list[int]:
    """Processes that carry this mark in their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                if mark.encode() in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def none_left(mark: str) -> bool:
    for _ in range(1500):
        if not running(mark):
            return True
        time.sleep(0.02)
    return False


# What is there when the process is killed: at every step, and in the quick tests at one of each kind.
MOMENTS = (
    ".work/lock",
    ".work/measured-*",
    ".work/measured-000002*",
    "train-000000.tar",
    "train-000003.tar",
    "val-000000.parquet",
    ".*.tmp",
)


@pytest.mark.parametrize(
    ("workers", "moments"),
    [
        (1, (".work/measured-*", "train-000003.tar")),
        pytest.param(1, MOMENTS, marks=pytest.mark.slow),
        pytest.param(2, MOMENTS, marks=pytest.mark.slow),
    ],
    ids=["quick", "one", "two"],
)
def test_killed_again_and_again_it_loses_and_doubles_nothing(
    table: Path,
    whole: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    workers: int,
    moments: tuple[str, ...],
) -> None:
    out, mark = tmp_path / "out", f"seetell-test-{os.getpid()}-{workers}"
    monkeypatch.setenv("SEETELL_TEST_MARK", mark)
    arguments = (table, out, "--shard-samples", 20, "--workers", workers)
    kills = 0
    for pattern in moments:
        process = start(*arguments)
        wait_for(out, pattern, process)
        if process.poll() is None:
            process.kill()
            kills += 1
        process.communicate(timeout=300)
        assert none_left(mark), "a process outlived the one that started it"
        if not (out / "prepared.json").exists():
            with pytest.raises(DataError):
                open_shards(out, "train")
    assert kills > len(moments) // 2
    last = start(*arguments)
    said = last.communicate(timeout=300)[1]
    assert last.returncode == 0, said
    assert tree(out) == whole
    names = {sample.key for split in ("train", "val") for sample, _ in open_shards(out, split).read()}
    assert len(names) == COUNT
    assert not list(out.glob(".*.tmp")) and not list((out / ".work").glob(".*.tmp"))


@pytest.mark.parametrize(("ending", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_ends_cleanly_and_the_next_run_goes_on(
    table: Path,
    whole: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ending: signal.Signals,
    status: int,
    workers: int,
) -> None:
    out, mark = tmp_path / "out", f"seetell-test-{os.getpid()}-{workers}-{status}"
    monkeypatch.setenv("SEETELL_TEST_MARK", mark)
    arguments = (table, out, "--shard-samples", 20, "--workers", workers)
    process = start(*arguments, start_new_session=True)
    assert wait_for(out, ".work/measured-*", process)
    # To the whole group, as a terminal does.
    os.killpg(process.pid, ending)
    said = process.communicate(timeout=300)[1]
    assert process.returncode == status, said
    assert b"Traceback" not in said and b"rror" not in said
    assert none_left(mark)
    again = start(*arguments)
    again.communicate(timeout=300)
    assert again.returncode == 0 and tree(out) == whole


def test_two_processes_on_one_folder(table: Path, whole: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = (table, out, "--shard-samples", 20, "--workers", 1)
    first = start(*arguments)
    assert wait_for(out, ".work/measured-*", first)
    first.send_signal(signal.SIGSTOP)  # so that it cannot be done before the second has looked
    second = start(*arguments)
    said = second.communicate(timeout=300)[1].decode()
    first.send_signal(signal.SIGCONT)
    assert first.wait(timeout=300) == 0
    assert second.returncode == 1
    assert said.count("\n") == 1 and "is being prepared by another process" in said
    assert str(first.pid) in said
    first.communicate()
    assert tree(out) == whole


@pytest.mark.parametrize("small_disk", ["400k"], indirect=True)
@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_is_said_and_with_room_it_goes_on(
    table: Path, whole: dict[str, str], tmp_path: Path, small_disk: Path, workers: int
) -> None:
    out = small_disk / "out"
    arguments = (table, out, "--shard-samples", 20, "--workers", workers)
    process = start(*arguments)
    said = process.communicate(timeout=300)[1].decode()
    assert process.returncode == 1
    assert said.count("\n") == 1 and "the disk is full" in said, said
    assert not list(out.glob(".*.tmp"))
    subprocess.run(["mount", "-o", "remount,size=16m", str(small_disk)], check=True)
    again = start(*arguments)
    said = again.communicate(timeout=300)[1].decode()
    assert again.returncode == 0, said
    assert tree(out) == whole
