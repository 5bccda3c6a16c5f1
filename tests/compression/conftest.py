"""The tiny bundle of the export tests, and its graphs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from seetell.bundle.check import read_check
from seetell.bundle.store import Bundle
from seetell.learning.compression import footprint
from seetell.learning.compression.footprint import Footprint
from seetell.learning.compression.graphs import WorkingGraph, read_graph
from seetell.runtime import openvino_engine
from seetell.runtime.engine import Arrays
from tests.export.conftest import facts, tiny_bundle, tiny_model, tokenizer_json

__all__ = ["facts", "tiny_bundle", "tiny_model", "tokenizer_json"]

ReadGraphs = Callable[[], dict[str, WorkingGraph]]


@pytest.fixture(autouse=True)
def floats_in_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    """What int8 leaves in floats is computed in what was measured to be faster; what bundles give is compared
    here, and must not differ by that."""
    monkeypatch.setattr(openvino_engine, "has_bf16", lambda device="cpu": False)


@pytest.fixture
def no_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time and memory are measured in processes of their own, which slow tests do."""

    def in_process(folder: Path, precision: str) -> Footprint:
        is_int8 = precision == "int8"
        return Footprint({"image_encoder": 1.0 if is_int8 else 2.0}, 80.0 if is_int8 else 100.0)

    monkeypatch.setattr(footprint, "_in_process", in_process)


@pytest.fixture
def read_graphs(tiny_bundle: Bundle) -> ReadGraphs:
    """Reads the tiny bundle's graphs anew at each call."""
    return lambda: {
        role: read_graph(tiny_bundle.graph_path(role), role) for role in tiny_bundle.manifest.graphs
    }


@pytest.fixture
def samples(tiny_bundle: Bundle) -> dict[str, list[Arrays]]:
    """One run of every role: the inputs of the check set in the dtypes the graphs take."""
    return {
        role: [
            {
                name: value.astype(tiny_bundle.manifest.graphs[role].inputs[name].dtype)  # type: ignore[index]
                for name, value in recorded.inputs.items()
            }
        ]
        for role, recorded in read_check(tiny_bundle).items()
    }
