"""Which processor this is, and how much of it there is to use."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from pathlib import Path

_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def usable_processors() -> int:
    """Processors this process may use: its affinity, and the quota of its container where it has one.

    An engine with a thread for every processor of a large machine, in a container that may use two of them,
    is stopped by the kernel most of the time.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    count = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    return max(1, min(count, _quota(_QUOTA) or count))


def described() -> str:
    """The processor and how many of its cores this process may use, in a few words."""
    cores = usable_processors()
    return f"{_name()}, {cores} {'core' if cores == 1 else 'cores'}"


def _name() -> str:
    # Python itself knows the processor's name on few systems; Linux tells it here.
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name" and value.strip():
                return " ".join(value.split())
    return platform.processor() or platform.machine() or "unknown processor"


def _quota(file: Path) -> int | None:
    """Whole processors of a cgroup's quota, rounded up; None where there is none."""
    try:
        quota, period = file.read_text(encoding="ascii").split()
        return None if quota == "max" else max(1, -(-int(quota) // int(period)))
    except (OSError, ValueError, ZeroDivisionError):
        return None
