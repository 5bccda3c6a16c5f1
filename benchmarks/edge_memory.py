"""What captioning and searching need on a small machine: peak memory on one thread, and runs under a limit.

    python benchmarks/edge_memory.py PHOTO --model INT8_BUNDLE [--clip INT8_BUNDLE --photos FOLDER] [--runs 3]

`--model` captions PHOTO, `--clip`, a bundle in CLIP's shape, searches FOLDER by words, each in a new process
on one thread, first with an empty cache, when graphs are compiled, and then again. The peak is of resident
memory, the highest of all runs. Where this process may make a memory control group (Linux, as root), the
first run is repeated in one of 512 MB, without swap, in which the kernel ends a process that needs more.
Prints one JSON object; under `demands` what the project asks for (300 MB, 500 MB and the limit) and whether
it holds; exit status 1 where it does not.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from seetell.evaluation.machine import describe_machine

CAPTION_MB, SEARCH_MB, LIMIT_MB = 300, 500, 512
_GROUPS = Path("/sys/fs/cgroup")
# A process begins as a copy of the one that makes it, and the kernel counts that copy in the peak: it is made
# by a small one. Its arguments: the file of processes of a control group or nothing, and the command.
_LAUNCHER = """
import os, sys
child = os.fork()
if not child:
    if sys.argv[1]:
        with open(sys.argv[1], "w") as processes:
            processes.write(str(os.getpid()))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.execvp(sys.argv[2], sys.argv[2:])
_, status, usage = os.wait4(child, 0)
print(usage.ru_maxrss, status)
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("photo")
    parser.add_argument("--model", required=True)
    parser.add_argument("--clip")
    parser.add_argument("--photos")
    parser.add_argument("--text", default="a dog in the snow")
    parser.add_argument("--runs", type=int, default=3)
    settings = parser.parse_args()
    seetell = [sys.executable, "-m", "seetell.cli.main"]
    one_thread = ["--threads", "1", "--precision", "int8"]
    found = {
        "caption": measured(
            [*seetell, "caption", settings.photo, "--model", settings.model, *one_thread], settings.runs
        )
    }
    if settings.clip and settings.photos:
        searching = ["search", settings.text, "--in", settings.photos, "--model", settings.clip, *one_thread]
        found["search"] = measured([*seetell, *searching], settings.runs)
    report: dict[str, Any] = {**found, "machine": describe_machine()}
    report["demands"] = demands(found)
    print(json.dumps(report, indent=1))
    return int(not all(one["holds"] for one in report["demands"]))


def measured(command: Sequence[str], runs: int) -> dict[str, Any]:
    """Peak megabytes with an empty cache and with a full one, and whether the limit is enough."""
    with tempfile.TemporaryDirectory() as cache:
        first, _ = peak_mb(command, cache)
        again = max(peak_mb(command, cache)[0] for _ in range(runs))
    found: dict[str, Any] = {"first_peak_mb": round(first, 1), "peak_mb": round(again, 1), "runs": runs}
    with tempfile.TemporaryDirectory() as cache, memory_group(LIMIT_MB) as group:
        found["under_limit"] = None if group is None else peak_mb(command, cache, group)[1] == 0
        found["limit_mb"] = LIMIT_MB
    return found


def peak_mb(command: Sequence[str], cache: str, group: Path | None = None) -> tuple[float, int]:
    """The peak of resident memory of one process, and how it ended. Ends this one where that failed, but for
    a limit."""
    environment = {**os.environ, "SEETELL_CACHE": cache, "OMP_NUM_THREADS": "1"}
    launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(group / "cgroup.procs") if group else ""]
    said = subprocess.run([*launcher, *command], env=environment, stdout=subprocess.PIPE, check=True).stdout
    peak, status = map(int, said.split())
    if status and group is None:
        sys.exit(f"{' '.join(command)}: exit status {os.waitstatus_to_exitcode(status)}")
    return peak / (1024**2 if sys.platform == "darwin" else 1024), status


@contextlib.contextmanager
def memory_group(limit_mb: int) -> Iterator[Path | None]:
    """A control group whose processes may use so much memory, None where none can be made."""
    first = (_GROUPS / "cgroup.controllers").exists()
    root, limits = (
        (_GROUPS, {"memory.max": limit_mb * 2**20, "memory.swap.max": 0})
        if first
        else (_GROUPS / "memory", {"memory.limit_in_bytes": limit_mb * 2**20, "memory.swappiness": 0})
    )
    group = root / f"seetell-edge-{os.getpid()}"
    try:
        group.mkdir()
    except OSError:
        yield None
        return
    try:
        for name, value in limits.items():
            (group / name).write_text(str(value), encoding="ascii")
        yield group
    finally:
        group.rmdir()


def demands(found: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Each demand, its figure and whether it holds."""
    rows = []
    for verb, most in (("caption", CAPTION_MB), ("search", SEARCH_MB)):
        if verb in found:
            peak = max(found[verb]["first_peak_mb"], found[verb]["peak_mb"])
            rows.append({"demand": f"{verb}: at most {most} MB", "figure": peak, "holds": peak <= most})
            under = found[verb]["under_limit"]
            rows.append(
                {"demand": f"{verb}: runs in {LIMIT_MB} MB", "figure": under, "holds": under is not False}
            )
    return rows


if __name__ == "__main__":
    sys.exit(main())
