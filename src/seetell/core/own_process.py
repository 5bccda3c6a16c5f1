"""Whether this process is the command line's own, or somebody's program that uses seetell.

In a process of its own the command line may do to Python what it may not where others import, too.
"""

from __future__ import annotations

_ours = False


def declare() -> None:
    """Say that everything this process does is done by the command line, until it ends."""
    global _ours
    _ours = True


def is_ours() -> bool:
    return _ours
