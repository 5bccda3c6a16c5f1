"""Machines that compute alike share an identity, others do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from seetell.core import processors
from seetell.core.processors import described, identity

TOLD = "processor\t: 0\nmodel name\t: Some  Processor @ 2 GHz\nstepping\t: 2\nflags\t\t: fpu avx2{}\n"


@pytest.fixture
def cpuinfo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "cpuinfo"
    monkeypatch.setattr(processors, "_ABOUT", path)
    monkeypatch.setattr(processors, "usable_processors", lambda: 2)
    return path


def test_two_of_one_name_differ_by_what_they_can(cpuinfo: Path) -> None:
    found = set()
    for more in ("", " avx512_bf16", " avx512_bf16 amx_bf16"):
        cpuinfo.write_text(TOLD.format(more))
        assert described() == "Some Processor @ 2 GHz, 2 cores"
        assert identity() == identity()
        found.add(identity())
    assert len(found) == 3
    assert all(one.startswith("Some Processor @ 2 GHz, 2 cores; ") for one in found)


def test_cores_count(cpuinfo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpuinfo.write_text(TOLD.format(""))
    two = identity()
    monkeypatch.setattr(processors, "usable_processors", lambda: 1)
    assert described() == "Some Processor @ 2 GHz, 1 core"
    assert identity() != two


def test_a_system_that_tells_nothing(cpuinfo: Path) -> None:
    assert identity() == identity()
    assert described().endswith(", 2 cores")
