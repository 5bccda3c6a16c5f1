"""How long the command line takes from nothing, and the memory it needs.

    python benchmarks/cold_start.py PHOTO [--model BUNDLE] [--runs 5]

Prints one JSON object, in seconds and megabytes, each run a new process: `seetell --help`; `seetell caption
PHOTO` the very first time (an empty cache), and again with compiled graphs cached. Medians of `--runs`, the
two commands taken in turn. POSIX only.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def timed(command: list[str], cache: str) -> tuple[float, float]:
    """Wall seconds and peak resident megabytes of one process."""
    environment = {**os.environ, "SEETELL_CACHE": cache}
    started = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    spent_s = time.perf_counter() - started
    if status != 0:
        sys.exit(f"{' '.join(command)}: exit status {os.waitstatus_to_exitcode(status)}")
    kilobytes = usage.ru_maxrss / (1024 if sys.platform == "darwin" else 1)
    return spent_s, kilobytes / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("photo")
    parser.add_argument("--model", default="builtin")
    parser.add_argument("--runs", type=int, default=5)
    settings = parser.parse_args()
    seetell = str(Path(sys.executable).with_name("seetell"))
    caption = [seetell, "caption", settings.photo, "--model", settings.model]

    with tempfile.TemporaryDirectory() as cache:
        first_s, first_mb = timed(caption, cache)
        helps: list[float] = []
        captions: list[tuple[float, float]] = []
        for _ in range(settings.runs):
            helps.append(timed([seetell, "--help"], cache)[0])
            captions.append(timed(caption, cache))
    report = {
        "help_s": round(statistics.median(helps), 3),
        "first_caption_s": round(first_s, 3),
        "first_caption_peak_mb": round(first_mb),
        "cached_caption_s": round(statistics.median(spent for spent, _ in captions), 3),
        "cached_caption_peak_mb": round(max(peak for _, peak in captions)),
        "runs": settings.runs,
        "processors": os.cpu_count(),
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
