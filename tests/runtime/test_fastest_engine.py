"""Measured once and when it is needed, kept, shared; and a cache that fails costs time and no answer."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from seetell.bundle.manifest import GraphSpec, Manifest, TensorSpec
from seetell.bundle.store import Bundle
from seetell.core.errors import EngineError
from seetell.runtime import fastest_engine
from seetell.runtime.comparison import Comparison, Way
from seetell.runtime.engine import Engine
from seetell.runtime.fastest_engine import FastestEngine, Setting

FP32, INT8, INT8_BF16 = Way("fp32"), Way("int8", "f32"), Way("int8", "bf16")
SETTING = Setting("openvino", "1.0", "cpu", None, 1)


class StandIn:
    name, device = "openvino", "cpu"

    def __init__(self, way: Way) -> None:
        self.way = way
        self.precision = way.precision
        self.closed = False

    def inputs(self, role: str) -> frozenset[str]:
        return frozenset()

    outputs = inputs

    def run(
        self, role: str, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None
    ) -> dict[str, NDArray[Any]]:
        if self.closed:
            raise EngineError("closed")
        return {"way": np.array([self.way.name])}

    def close(self) -> None:
        self.closed = True


class Machine:
    """Where ways take the times that ``ms`` says, and what has happened on it."""

    def __init__(self) -> None:
        self.ms: dict[Way, dict[str, float]] = {
            FP32: {"read 1": 2.0},
            INT8: {"read 1": 1.0},
            INT8_BF16: {"read 1": 3.0},
        }
        self.measured = 0
        self.made: list[StandIn] = []
        self.before: Any = lambda: None

    def make(self, way: Way) -> StandIn:
        self.made.append(StandIn(way))
        return self.made[-1]

    def compare(
        self, bundle: Bundle, ways: Sequence[Way], make: Any, *, by_processor: bool
    ) -> tuple[Comparison, dict[Way, Engine]]:
        self.before()
        self.measured += 1
        ms = {way: self.ms[way] for way in ways if way in self.ms}
        chosen = min(ms, key=lambda way: ms[way]["read 1"]) if ms else ways[0]
        return Comparison(chosen, ms, {}), {way: make(way) for way in ms}


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    found = Machine()
    monkeypatch.setattr(fastest_engine, "compare", found.compare)
    monkeypatch.setattr(fastest_engine, "_FOUND", {})
    return found


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    folder = tmp_path / "bundle"
    folder.mkdir()
    for name in ("image_encoder.onnx", "image_encoder.int8.onnx"):
        (folder / name).write_bytes(b"a graph")
    spec = TensorSpec(dtype="float32", axes=("B", 2))
    files: Any = {"fp32": "image_encoder.onnx", "int8": "image_encoder.int8.onnx"}
    graph = GraphSpec(files=files, inputs={"pixel_values": spec}, outputs={"image_embeds": spec})
    manifest = Manifest(
        name="one",
        family="none",
        version="1",
        config={},
        tasks=("embed",),
        licence="none",
        graphs={"image_encoder": graph},
    )
    return Bundle(folder, manifest)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEETELL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def opened(bundle: Bundle, machine: Machine, *ways: Way, setting: Setting = SETTING) -> FastestEngine:
    return FastestEngine(bundle, ways or (FP32, INT8), machine.make, setting, by_processor=True)


def kept(cache: Path) -> list[Path]:
    return sorted(cache.rglob("fastest-*.json"))


def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process, which knows only what is on the disk."""
    monkeypatch.setattr(fastest_engine, "_FOUND", {})


def which(engine: FastestEngine) -> str:
    return str(engine.run("image_encoder", {})["way"][0])


def test_nothing_is_measured_before_it_is_needed(bundle: Bundle, machine: Machine, cache: Path) -> None:
    engine = opened(bundle, machine)
    assert (engine.name, engine.device) == ("openvino", "cpu")
    assert engine.inputs("image_encoder") == {"pixel_values"}
    assert engine.outputs("image_encoder") == {"image_embeds"}
    assert engine.outputs("text_encoder") == frozenset()
    assert (machine.measured, machine.made) == (0, [])
    assert which(engine) == "int8, rest f32"
    assert machine.measured == 1
    assert engine.precision == "int8"
    assert [one.way for one in machine.made if not one.closed] == [INT8], "which was compiled already"


def test_a_precision_that_is_certain_is_not_measured(bundle: Bundle, machine: Machine, cache: Path) -> None:
    engine = opened(bundle, machine, INT8, INT8_BF16)
    assert engine.precision == "int8"
    assert machine.measured == 0
    assert which(engine) == "int8, rest f32"


def test_it_is_kept_beside_the_compiled_graphs_and_not_measured_again(
    bundle: Bundle, machine: Machine, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = opened(bundle, machine).comparison
    [path] = kept(cache)
    assert path.parent.parent == cache / "openvino"
    assert json.loads(path.read_text())["chosen"] == "int8, rest f32"
    forgotten(monkeypatch)
    machine.made.clear()
    again = opened(bundle, machine)
    assert which(again) == "int8, rest f32"
    assert again.comparison == found
    assert machine.measured == 1
    assert [one.way for one in machine.made] == [INT8], "no other is even made"


@pytest.mark.parametrize(
    "other",
    [
        Setting("openvino", "2.0", "cpu", None, 1),
        Setting("onnxruntime", "1.0", "cpu", None, 1),
        Setting("openvino", "1.0", "gpu", None, 1),
        Setting("openvino", "1.0", "cpu", 1, 1),
        Setting("openvino", "1.0", "cpu", None, 2),
    ],
)
def test_what_makes_another_question(bundle: Bundle, machine: Machine, cache: Path, other: Setting) -> None:
    assert opened(bundle, machine).precision == "int8"
    machine.ms[FP32] = {"read 1": 0.5}
    assert opened(bundle, machine).precision == "int8"
    assert opened(bundle, machine, setting=other).precision == "fp32"
    assert len(kept(cache)) == machine.measured == 2


def test_other_ways_another_processor_and_a_changed_bundle_are_measured(
    bundle: Bundle, machine: Machine, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    which(opened(bundle, machine))
    which(opened(bundle, machine, FP32, INT8, INT8_BF16))
    assert machine.measured == 2
    monkeypatch.setattr(fastest_engine, "identity", lambda: "another processor")
    which(opened(bundle, machine))
    assert machine.measured == 3
    (bundle.folder / "image_encoder.onnx").write_bytes(b"another graph")
    which(opened(bundle, machine))
    assert machine.measured == 4


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"format": 1}', b'{"format": 99, "chosen": "fp32"}'])
def test_a_damaged_file_is_measured_again(
    bundle: Bundle, machine: Machine, cache: Path, monkeypatch: pytest.MonkeyPatch, damage: bytes
) -> None:
    which(opened(bundle, machine))
    [path] = kept(cache)
    whole = path.read_bytes()
    path.write_bytes(damage)
    forgotten(monkeypatch)
    assert opened(bundle, machine).precision == "int8"
    assert machine.measured == 2
    assert path.read_bytes() == whole


def test_a_cache_that_cannot_be_written_is_measured_once_in_a_process(
    bundle: Bundle, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("SEETELL_CACHE", str(tmp_path / "file"))
    for _ in range(3):
        assert opened(bundle, machine).precision == "int8"
    assert machine.measured == 1
    assert (tmp_path / "file").read_text() == "in the way"


def test_what_is_killed_while_measuring_leaves_nothing(
    bundle: Bundle, machine: Machine, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed() -> None:
        raise KeyboardInterrupt

    machine.before = killed
    engine = opened(bundle, machine)
    with pytest.raises(KeyboardInterrupt):
        which(engine)
    assert kept(cache) == []
    machine.before = lambda: None
    assert which(engine) == "int8, rest f32", "and no lock is held"


def test_processes_that_measure_at_once_keep_to_the_first_answer(
    bundle: Bundle, machine: Machine, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = opened(bundle, machine)

    def meanwhile() -> None:
        # Another process is done before this one, and has found something else.
        machine.before = lambda: None
        ms, machine.ms = machine.ms, {FP32: {"read 1": 1.0}, INT8: {"read 1": 2.0}}
        assert which(opened(bundle, machine)) == "fp32"
        machine.ms = ms
        forgotten(monkeypatch)

    machine.before = meanwhile
    monkeypatch.setattr(fastest_engine, "_ONE_AT_A_TIME", threading.RLock())
    assert which(first) == "fp32"
    assert machine.measured == 2
    assert json.loads(kept(cache)[0].read_text())["chosen"] == "fp32"
    assert [one.way for one in machine.made if not one.closed] == [FP32, FP32]


def test_many_threads_and_models_measure_once(bundle: Bundle, machine: Machine, cache: Path) -> None:
    engines = [opened(bundle, machine) for _ in range(3)]
    with ThreadPoolExecutor(6) as pool:
        assert set(pool.map(which, engines * 4)) == {"int8, rest f32"}
    assert machine.measured == 1


def test_where_nothing_could_be_measured_nothing_is_kept(
    bundle: Bundle, machine: Machine, cache: Path
) -> None:
    machine.ms = {}
    assert which(opened(bundle, machine)) == "fp32"
    assert kept(cache) == []
    machine.ms = {FP32: {"read 1": 2.0}, INT8: {"read 1": 1.0}}
    assert which(opened(bundle, machine)) == "int8, rest f32"


def test_a_closed_one_says_so(bundle: Bundle, machine: Machine, cache: Path) -> None:
    engine = opened(bundle, machine)
    which(engine)
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        which(engine)
    assert all(one.closed for one in machine.made)
    unused = opened(bundle, machine)
    unused.close()
    with pytest.raises(EngineError, match="closed"):
        which(unused)
    assert unused.precision == "int8"
    assert all(one.closed for one in machine.made)
