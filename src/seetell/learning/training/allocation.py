"""Memory that a step frees and the next one needs again, kept in the process meanwhile.

The C library hands every large block straight back to the system, and the system clears each of its pages
when the block is next asked for: on a CPU, where a step's activations are dozens of megabytes each, that
took a tenth to a quarter of the step.
"""

from __future__ import annotations

import ctypes
import platform

# mallopt's parameters, of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_TOP_PAD_BYTES = 64 * 2**20
_MOST = 2**31 - 1


def keep_freed_memory() -> bool:
    """Tell the C library to keep what is freed, for the rest of the process; whether it understood.

    The memory stays this process's until it ends: its peak is what it was. Other C libraries than glibc are
    left as they are.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    # Blocks of any size come from the heap, which is never given back and grows by whole pads.
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, _MOST), (_M_TOP_PAD, _TOP_PAD_BYTES))
    return all(mallopt(parameter, value) == 1 for parameter, value in settings)
