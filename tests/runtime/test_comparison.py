"""Which way is chosen, by times that are made up; and that measuring fails no one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

from seetell.bundle.manifest import GraphSpec, Manifest, TensorSpec
from seetell.bundle.store import Bundle
from seetell.core.errors import BundleDamaged, EngineError
from seetell.runtime import comparison
from seetell.runtime.comparison import Comparison, Way, behind, choose, compare
from tests.runtime.toy import ToyEngine, make_manifest

FP32, BF16 = Way("fp32"), Way("bf16", "bf16")
INT8, INT8_BF16 = Way("int8", "f32"), Way("int8", "bf16")
WAYS = (FP32, BF16, INT8, INT8_BF16)


class StandIn:
    """An engine that gives ``embeds``; ``most`` rows at once and no more."""

    name, precision, device = "stand-in", "fp32", "cpu"

    def __init__(self, embeds: Sequence[float] = (1.0, 0.0), most: int = 99) -> None:
        self.embeds = np.array([embeds], np.float32)
        self.most = most
        self.batches: list[int] = []
        self.closed = False

    def inputs(self, role: str) -> frozenset[str]:
        return frozenset({"pixel_values"})

    def outputs(self, role: str) -> frozenset[str]:
        return frozenset({"image_embeds"})

    def run(
        self, role: str, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None
    ) -> dict[str, NDArray[Any]]:
        rows = len(inputs["pixel_values"])
        self.batches.append(rows)
        if self.closed or rows > self.most:
            raise EngineError(f"{role} failed: closed or too many")
        return {"image_embeds": np.repeat(self.embeds, rows, axis=0)}

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """An image encoder by its manifest alone, and what it gave where it was made."""
    spec = TensorSpec(dtype="float32", axes=("B", 2))
    graph = GraphSpec(
        files={"fp32": "image_encoder.onnx"},
        inputs={"pixel_values": spec},
        outputs={"image_embeds": spec},
    )
    given, recorded = np.zeros((1, 2), np.float32), np.array([[1.0, 0.0]], np.float32)
    tensors = {
        "image_encoder/input/pixel_values": given,
        "image_encoder/output/image_embeds": recorded,
    }
    save_file(tensors, tmp_path / "check.safetensors")
    manifest = Manifest(
        name="one",
        family="none",
        version="1",
        config={},
        tasks=("embed",),
        licence="none",
        graphs={"image_encoder": graph},
    )
    return Bundle(tmp_path, manifest)


def taking(monkeypatch: pytest.MonkeyPatch, seconds: Mapping[Way, float]) -> None:
    """Ways take these seconds for one, and as many times as long for several."""

    def best_times_s(runs: Mapping[Way, Any], **_: object) -> dict[Way, float]:
        rows = [len(run.args[1]["pixel_values"]) for run in runs.values()]
        for run in runs.values():
            run()
        return {way: seconds[way] * count for way, count in zip(runs, rows, strict=True)}

    monkeypatch.setattr(comparison, "best_times_s", best_times_s)


def times(**of_each: tuple[float, float]) -> dict[Way, dict[str, float]]:
    names = {"fp32": FP32, "bf16": BF16, "int8": INT8, "int8_bf16": INT8_BF16}
    return {names[name]: {"read 1": one, "read 4": four} for name, (one, four) in of_each.items()}


def test_the_fastest_is_chosen_and_a_tie_goes_to_the_more_exact() -> None:
    assert choose(times(fp32=(10, 40), bf16=(5, 20), int8=(6, 24))) == BF16
    assert choose(times(fp32=(10, 40), bf16=(18, 70), int8=(4, 16), int8_bf16=(3, 12))) == INT8_BF16
    assert choose(times(fp32=(10, 40), bf16=(9.8, 39.5), int8=(9.9, 40))) == FP32
    assert choose(times(fp32=(10, 40), bf16=(9.0, 36.0), int8=(8.9, 35.0))) == BF16


def test_what_is_slow_for_one_or_for_several_is_not_the_fastest() -> None:
    found = times(fp32=(10, 30), int8=(20, 20))
    assert behind(found, FP32) == 1.5
    assert behind(found, INT8) == 2
    assert choose(found) == FP32
    assert choose(times(fp32=(10, 60), int8=(20, 20))) == INT8


def test_every_way_is_run_and_the_figures_are_milliseconds(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    taking(monkeypatch, {FP32: 0.02, BF16: 0.05, INT8: 0.01, INT8_BF16: 0.03})
    engines = {way: StandIn() for way in WAYS}
    found, made = compare(bundle, WAYS, lambda way: engines[way], by_processor=True)
    assert found.chosen == found.fastest == INT8
    assert list(found.ms) == list(WAYS), "the most exact first, as ties are settled"
    assert found.ms[FP32] == pytest.approx({"read 1": 20, "read 4": 80})
    assert found.left_out == {}
    assert made == engines
    assert all(set(engine.batches) == {1, 4} for engine in engines.values())


def test_a_graph_that_takes_long_is_run_for_one_alone(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    taking(monkeypatch, {FP32: 0.5, BF16: 0.3})
    found, _ = compare(bundle, (FP32, BF16), lambda way: StandIn(), by_processor=True)
    assert {way: set(works) for way, works in found.ms.items()} == {FP32: {"read 1"}, BF16: {"read 1"}}
    assert found.chosen == BF16


def test_bf16_that_gives_something_else_is_left_out(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    taking(monkeypatch, {FP32: 0.03, BF16: 0.01, INT8: 0.02})
    engines = {FP32: StandIn(), BF16: StandIn((1.0, 0.2)), INT8: StandIn((1.0, 0.3))}
    found, _ = compare(bundle, (FP32, BF16, INT8), lambda way: engines[way], by_processor=True)
    assert found.chosen == found.fastest == INT8, "int8 is judged by its gate"
    assert list(found.left_out) == [BF16]
    assert "cosine 0.981" in found.left_out[BF16]
    engines[BF16] = StandIn((1.0, 0.01))
    assert compare(bundle, (FP32, BF16, INT8), lambda way: engines[way], by_processor=True)[0].chosen == BF16
    (bundle.folder / "check.safetensors").unlink()
    engines[BF16] = StandIn((0.0, 1.0))
    found, _ = compare(bundle, (FP32, BF16), lambda way: engines[way], by_processor=True)
    assert found.chosen == BF16, "there is nothing to hold it to"


def test_a_way_that_cannot_be_run_is_left_out(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    taking(monkeypatch, {FP32: 0.02, INT8: 0.03})

    def make(way: Way) -> StandIn:
        if way == BF16:
            raise EngineError("no bf16")
        return StandIn(most=1 if way == INT8 else 99)

    found, made = compare(bundle, (FP32, BF16, INT8), make, by_processor=True)
    assert found.chosen == FP32
    assert found.left_out == {BF16: "no bf16"}
    assert set(made) == {FP32, INT8}
    assert {way: set(works) for way, works in found.ms.items()} == {FP32: {"read 1"}, INT8: {"read 1"}}


@pytest.mark.parametrize("error", [EngineError("broken"), BundleDamaged("a file is gone")])
def test_where_nothing_can_be_measured_the_most_exact_is_taken(bundle: Bundle, error: Exception) -> None:
    def make(way: Way) -> StandIn:
        raise error

    found, made = compare(bundle, (FP32, INT8), make, by_processor=True)
    assert (found.chosen, found.ms, made) == (FP32, {}, {})
    assert set(found.left_out) == {FP32, INT8}


def test_a_document_is_what_it_was_made_of_or_nothing() -> None:
    found = Comparison(INT8, times(fp32=(2, 8), int8=(1, 4)), {BF16: "too coarse"})
    document = found.document()
    assert Comparison.of_document(document, WAYS) == found
    assert Comparison.of_document(document, (FP32, BF16)) is None, "of ways that are no choice now"
    for change in (
        {"chosen": "fp16"},
        {"chosen": "bf16"},
        {"ms": {}},
        {"ms": {"int8, rest f32": {"read 1": 0}}},
        {"ms": {"int8, rest f32": {"read 1": float("nan")}}},
        {"ms": {"int8, rest f32": {"read 1": "one"}}},
        {"ms": [1, 2]},
        {"left_out": None},
    ):
        assert Comparison.of_document({**document, **change}, WAYS) is None, change
    assert Comparison.of_document({}, WAYS) is None


def test_a_decoder_counts_by_the_steps_of_a_caption(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The toy's graphs are not there to be counted, so that the first is taken for the heaviest.
    bundle = Bundle(tmp_path, make_manifest(ToyEngine()))
    seconds = {
        (FP32, "image_encoder"): 0.010,
        (BF16, "image_encoder"): 0.013,
        (FP32, "text_decoder"): 0.002,
        (BF16, "text_decoder"): 0.001,
    }

    def best_times_s(runs: Mapping[Way, Any], **_: object) -> dict[Way, float]:
        return {way: seconds[way, run.args[0]] for way, run in runs.items()}

    monkeypatch.setattr(comparison, "best_times_s", best_times_s)
    found, _ = compare(bundle, (FP32, BF16), lambda way: ToyEngine(), by_processor=True)
    assert found.ms[FP32] == pytest.approx({"read 1": 10, "write 1": 40, "read 4": 10})
    assert found.ms[BF16] == pytest.approx({"read 1": 13, "write 1": 28, "read 4": 13})
    assert found.chosen == BF16, "1.3 times the time to read, where fp32 takes 1.43 times that to write"
    seconds[BF16, "image_encoder"] = 0.018
    assert compare(bundle, (FP32, BF16), lambda way: ToyEngine(), by_processor=True)[0].chosen == FP32


def test_int8_may_leave_other_floats_in_the_decoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = Bundle(tmp_path, make_manifest(ToyEngine()))
    mixed, other = Way("int8", "bf16", "f32"), Way("int8", "f32", "bf16")
    seconds = {
        (INT8, "image_encoder"): 0.010,
        (INT8_BF16, "image_encoder"): 0.009,
        (INT8, "text_decoder"): 0.001,
        (INT8_BF16, "text_decoder"): 0.002,
    }
    made: list[Way] = []

    def make(way: Way) -> ToyEngine:
        made.append(way)
        return ToyEngine()

    def best_times_s(runs: Mapping[Way, Any], **_: object) -> dict[Way, float]:
        return {way: seconds[way, run.args[0]] for way, run in runs.items()}

    monkeypatch.setattr(comparison, "best_times_s", best_times_s)
    found, engines = compare(bundle, (INT8, other, mixed, INT8_BF16), make, by_processor=True)
    assert found.ms[mixed] == pytest.approx({"read 1": 9, "write 1": 24, "read 4": 9})
    assert found.ms[other] == pytest.approx({"read 1": 10, "write 1": 40, "read 4": 10})
    assert found.chosen == mixed
    assert set(made) == set(engines) == {INT8, INT8_BF16}, "its times follow from these"
    assert Comparison.of_document(found.document(), (INT8, other, mixed, INT8_BF16)) == found

    def make_f32(way: Way) -> ToyEngine:
        if way == INT8_BF16:
            raise EngineError("no bf16")
        return ToyEngine()

    found, _ = compare(bundle, (INT8, other, mixed, INT8_BF16), make_f32, by_processor=True)
    assert set(found.ms) == {found.chosen} == {INT8}


def test_a_model_that_writes_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = make_manifest(ToyEngine())
    graphs = {"text_decoder": manifest.graphs["text_decoder"]}
    bundle = Bundle(tmp_path, manifest.model_copy(update={"graphs": graphs}))
    monkeypatch.setattr(comparison, "best_times_s", lambda runs, **_: dict.fromkeys(runs, 0.001))
    found, _ = compare(bundle, (FP32, INT8), lambda way: ToyEngine(), by_processor=True)
    assert found.ms[FP32] == pytest.approx({"write 1": 15})
