"""The measured rate: plausible, kept, and never a reason to fail. How fast it is, is not tested."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import pytest

from seetell.core.errors import UsageError
from seetell.runtime import gemm_rate
from seetell.runtime.gemm_rate import GemmRate, measure_gemm_rate
from seetell.runtime.openvino_engine import has_bf16


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEETELL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The best times to come of a processor without bf16, in place of measuring; what is left in the list was
    not asked for."""
    times: list[float] = []
    monkeypatch.setattr(gemm_rate, "_runners", lambda: ({"fp32": lambda: None}, "openvino 2026"))
    monkeypatch.setattr(gemm_rate, "_best_time_s", lambda run, budget_s: times.pop(0))
    return times


def kept(cache: Path) -> list[Path]:
    return sorted((cache / "rates").glob("*")) if (cache / "rates").is_dir() else []


def test_a_measurement_is_plausible_and_names_what_it_is(cache: Path) -> None:
    rate = measure_gemm_rate(budget_s=0.01)
    assert 0.01 < rate.rate_gflops < 1e6
    assert rate.precision in (("fp32", "bf16") if has_bf16() else ("fp32",))
    assert rate.engine.startswith("openvino 20")
    assert "core" in rate.machine
    [path] = kept(cache)
    assert json.loads(path.read_text())["rate_gflops"] == rate.rate_gflops


def test_a_kept_rate_is_not_measured_again(cache: Path, timed: list[float]) -> None:
    timed[:] = [0.001, 0.0001]
    first = measure_gemm_rate()
    assert first.rate_gflops == pytest.approx(gemm_rate.FLOPS / 0.001 / 1e9)
    assert measure_gemm_rate() == first
    assert timed == [0.0001]


def test_the_faster_precision_is_the_rate(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    budgets: list[float] = []

    def best_time_s(run: float, budget_s: float) -> float:
        budgets.append(budget_s)
        return run

    monkeypatch.setattr(gemm_rate, "_best_time_s", best_time_s)
    for bf16_s, precision, again in ((0.002, "fp32", False), (0.0005, "bf16", True), (0.004, "bf16", True)):
        runs = {"fp32": 0.001, "bf16": bf16_s}
        monkeypatch.setattr(gemm_rate, "_runners", lambda runs=runs: (runs, "openvino 2026"))
        rate = measure_gemm_rate(budget_s=0.4, again=again)
        assert rate.precision == precision
    assert rate.rate_gflops == pytest.approx(gemm_rate.FLOPS / 0.0005 / 1e9), "the best there was"
    assert measure_gemm_rate() == rate
    assert set(budgets) == {0.2}, "the time is for both"


def test_measuring_again_keeps_the_better(cache: Path, timed: list[float]) -> None:
    timed[:] = [0.002, 0.001, 0.003]
    slow = measure_gemm_rate()
    fast = measure_gemm_rate(again=True)
    assert fast.rate_gflops == pytest.approx(2 * slow.rate_gflops)
    assert measure_gemm_rate(again=True) == fast == measure_gemm_rate()


@pytest.mark.parametrize(
    "damage",
    [b"", b"{", b"[]", b"\xff\xfe", b"{}", b'{"rate_gflops": "fast"}', b"null", b'{"rate_gflops": 1}'],
)
def test_a_damaged_cache_costs_a_measurement(cache: Path, timed: list[float], damage: bytes) -> None:
    timed[:] = [0.002, 0.001]
    measure_gemm_rate()
    [path] = kept(cache)
    path.write_bytes(damage)
    assert measure_gemm_rate().rate_gflops == pytest.approx(gemm_rate.FLOPS / 0.001 / 1e9)
    assert json.loads(path.read_text())["format"] == 2


@pytest.mark.parametrize("rate", [0, -5, math.inf, math.nan])
def test_a_nonsensical_kept_rate_is_not_believed(cache: Path, timed: list[float], rate: float) -> None:
    timed[:] = [0.002, 0.001]
    measure_gemm_rate()
    [path] = kept(cache)
    path.write_text(json.dumps({**json.loads(path.read_text()), "rate_gflops": rate}))
    measure_gemm_rate()
    assert timed == []


def test_another_machine_has_a_rate_of_its_own(
    cache: Path, timed: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    timed[:] = [0.002, 0.001]
    measure_gemm_rate()
    monkeypatch.setattr(gemm_rate.platform, "node", lambda: "another")
    measure_gemm_rate()
    assert timed == []
    assert len(kept(cache)) == 2
    assert "another" not in "".join(path.read_text() for path in kept(cache)), "host names are not kept"


def test_a_cache_that_cannot_be_written_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, timed: list[float]
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("SEETELL_CACHE", str(tmp_path / "file"))
    timed[:] = [0.002, 0.001]
    measure_gemm_rate()
    measure_gemm_rate()
    assert timed == []


def test_without_openvino_numpy_is_measured(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise ImportError("openvino")

    monkeypatch.setattr("seetell.runtime.openvino_engine.import_openvino", missing)
    rate = measure_gemm_rate(budget_s=0.01)
    assert rate.precision == "fp32"
    assert rate.engine.startswith("numpy")
    assert 0.01 < rate.rate_gflops < 1e6


@pytest.mark.parametrize("budget_s", [0, -1, math.nan, math.inf])
def test_a_budget_is_a_time(cache: Path, budget_s: float) -> None:
    with pytest.raises(UsageError, match="budget_s"):
        measure_gemm_rate(budget_s=budget_s)


def test_the_best_run_counts_and_a_few_are_always_made(monkeypatch: pytest.MonkeyPatch) -> None:
    # Two clock readings a run, and one at the start and after each: runs of 5, 1 and 9 seconds.
    readings = iter([0.0, 0.0, 5.0, 5.0, 6.0, 6.0, 15.0, 15.0, 15.0])
    monkeypatch.setattr(gemm_rate.time, "perf_counter", lambda: next(readings))
    calls: list[int] = []
    assert gemm_rate._best_time_s(lambda: calls.append(1), 0.5) == 1.0
    assert len(calls) == 4, "one to warm up and three"


def test_it_needs_no_torch() -> None:
    assert "torch" not in vars(sys.modules[GemmRate.__module__])
