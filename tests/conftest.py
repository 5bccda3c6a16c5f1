"""What all tests share: one thread per process, no settings of the person who runs them, no network."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Test processes run side by side; libraries that each take every core only slow one another down.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

# Few examples and no deadline: the machine may be busy, and a test that fails by the clock tells nothing.
settings.register_profile(
    "seetell", max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
settings.load_profile("seetell")


@pytest.fixture(autouse=True)
def no_personal_settings(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """SEETELL_* of the person who runs the tests must not change them, nor the tests fill their cache."""
    for name in list(os.environ):
        if name.startswith("SEETELL_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("SEETELL_OFFLINE", "1")
    monkeypatch.setenv("SEETELL_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def small_disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A file system of the size that the test says, where the machine lets us make one:
    ``@pytest.mark.parametrize("small_disk", ["256k"], indirect=True)``."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={request.param}", "tmpfs", str(place)]
    try:
        made = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        made = False
    if not made:
        pytest.skip("mounting a small file system is not permitted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)
