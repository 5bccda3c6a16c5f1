"""The published scorers' figures on a folder of real captions, where ``SEETELL_TEST_DATA`` points to it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

# Read now: a fixture for all tests takes every SEETELL_* variable away while they run.
_DATA = os.environ.get("SEETELL_TEST_DATA")


@pytest.fixture
def reference() -> Any:
    """Reads one of the reference files of ``metrics/`` by name, or skips the test."""

    def read(name: str) -> Any:
        if not _DATA:
            pytest.skip("SEETELL_TEST_DATA does not point to the data folder")
        return json.loads((Path(_DATA) / "metrics" / name).read_text(encoding="utf-8"))

    return read
