"""The machine a figure was measured on, in one line."""

from __future__ import annotations

import platform

from seetell.core.processors import described


def describe_machine() -> str:
    """Processor, how many of its cores this process may use, and the system."""
    return f"{described()}, {f'{platform.system()} {platform.machine()}'.strip()}"
