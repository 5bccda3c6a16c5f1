"""The machine a figure was measured on, in one line."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from pathlib import Path


def describe_machine() -> str:
    """Processor, how many of its cores this process may use, and the system."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    system = f"{platform.system()} {platform.machine()}".strip()
    return f"{_processor()}, {cores} {'core' if cores == 1 else 'cores'}, {system}"


def _processor() -> str:
    # Python itself knows the processor's name on few systems; Linux tells it here.
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name" and value.strip():
                return " ".join(value.split())
    return platform.processor() or "unknown processor"
