"""What is freed stays in the process, so that the next step need not ask for it again."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource
import sys
import torch
from seetell.learning.training.allocation import keep_freed_memory

if sys.argv[1] == "keep":
    assert keep_freed_memory()


def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def step():
    # Beyond what glibc learns to keep by itself.
    kept = [torch.zeros(10 * 2**20) for _ in range(3)]


# The heap takes a few steps to find its shape.
for _ in range(8):
    step()
before = faults()
for _ in range(5):
    step()
print(faults() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="speaks to glibc alone")
def test_the_system_is_not_asked_again_for_what_was_freed() -> None:
    def faults(how: str) -> int:
        command = [sys.executable, "-c", FAULTS, how]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    # Five times 120 MiB, in pages of 4 KiB.
    asked = faults("leave")
    assert asked > 100_000
    assert faults("keep") < asked / 5
