"""Which processor this is, and how much of it there is to use."""

from __future__ import annotations

import hashlib
import os
import platform
from contextlib import suppress
from pathlib import Path

_QUOTA = Path("/sys/fs/cgroup/cpu.max")
_ABOUT = Path("/proc/cpuinfo")


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


def identity() -> str:
    """Text that two machines share only where one computes as fast as the other.

    Virtual machines of one make all have an "Intel(R) Xeon(R) Processor": what it can do tells them apart.
    """
    told = _told()
    known = [told.get(key) for key in ("cpu family", "model", "stepping", "flags", "Features")]
    return f"{described()}; {hashlib.sha256(repr(known).encode()).hexdigest()[:16]}"


def _name() -> str:
    return _told().get("model name") or platform.processor() or platform.machine() or "unknown processor"


def _told() -> dict[str, str]:
    """What Linux says of the first processor; Python itself knows its name on few systems."""
    told: dict[str, str] = {}
    with suppress(OSError), _ABOUT.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if not line.strip():  # the next processor; there may be hundreds
                break
            name, _, value = line.partition(":")
            told[name.strip()] = " ".join(value.split())
    return told


def _quota(file: Path) -> int | None:
    """Whole processors of a cgroup's quota, rounded up; None where there is none."""
    try:
        quota, period = file.read_text(encoding="ascii").split()
        return None if quota == "max" else max(1, -(-int(quota) // int(period)))
    except (OSError, ValueError, ZeroDivisionError):
        return None
