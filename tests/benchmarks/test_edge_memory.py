"""The limit of the benchmark of small machines is one: what needs more is ended."""

from __future__ import annotations

import sys

import pytest
from benchmarks.edge_memory import demands, memory_group, peak_mb

FILL = "import sys; held = bytearray(int(sys.argv[1]) * 2**20); print(len(held))"


def test_a_group_ends_what_needs_more_than_it_allows(tmp_path: object) -> None:
    with memory_group(128) as group:
        if group is None:
            pytest.skip("no memory control group can be made here")
        assert peak_mb([sys.executable, "-c", FILL, "40"], str(tmp_path), group)[1] == 0
        assert peak_mb([sys.executable, "-c", FILL, "200"], str(tmp_path), group)[1] != 0
    assert not group.exists()


def test_the_peak_is_that_of_the_process(tmp_path: object) -> None:
    peak, status = peak_mb([sys.executable, "-c", FILL, "200"], str(tmp_path))
    assert status == 0 and 200 < peak < 300


def test_a_run_that_was_ended_is_no_success() -> None:
    found = {"caption": {"first_peak_mb": 250.0, "peak_mb": 301.0, "under_limit": False}}
    assert [row["holds"] for row in demands(found)] == [False, False]
