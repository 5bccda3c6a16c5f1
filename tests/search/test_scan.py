"""The scan in memory: what it finds is what scoring every row in full finds."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from seetell.core import processors
from seetell.search import scan, scoring
from seetell.search.scan import VectorScan

DIM = 48


def vectors(count: int, seed: int = 0) -> NDArray[np.float32]:
    """Unit vectors in groups, far from zero as those of photos are: much in common, a few large numbers."""
    draw = np.random.default_rng(seed)
    common = draw.normal(size=DIM)
    common[:2] = 8
    groups = draw.normal(size=(50, DIM))[draw.integers(0, 50, count)]
    rows = common + groups + draw.normal(size=(count, DIM))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several chunks and INT8 in a few thousand rows."""
    monkeypatch.setattr(scan, "CHUNK_ROWS", 2048)
    monkeypatch.setattr(scoring, "CHUNK_ROWS", 2048)
    monkeypatch.setattr(scan, "_FEW_ROWS", 256)
    monkeypatch.setattr(scan, "_GROUPS", 256)


def filled(rows: NDArray[np.float32]) -> VectorScan:
    one = VectorScan(rows.shape[1], threads=1)
    for first in range(0, len(rows), 1000):
        some = rows[first : first + 1000]
        one.put(np.arange(first, first + len(some)), some)
    return one


def right(rows: NDArray[np.float32], query: NDArray[np.float32], k: int) -> list[int]:
    return np.argsort(-(rows @ query), kind="stable")[:k].tolist()


@pytest.mark.parametrize("queries", [1, 3, 70])
def test_the_best_are_found(queries: int) -> None:
    rows = vectors(5000)
    index = filled(rows)
    asked = vectors(queries, seed=1)
    recalled = 0
    for query, found in zip(asked, index.search(asked, 10), strict=True):
        assert found.scores == pytest.approx(rows[found.ids] @ query, abs=1e-6)
        assert (np.diff(found.scores) <= 0).all()
        recalled += len(set(found.ids.tolist()) & set(right(rows, query, 10)))
    assert recalled >= 0.99 * 10 * queries


def test_exact_is_exact() -> None:
    rows = vectors(5000)
    asked = vectors(4, seed=2)
    for query, found in zip(asked, filled(rows).exact(asked, 10), strict=True):
        assert found.ids.tolist() == right(rows, query, 10)


@pytest.mark.parametrize("way", [scoring.row_by_row, scoring.as_matrices])
@pytest.mark.parametrize("queries", [1, 8])
def test_each_way_scores_as_numpy_does(way: Any, queries: int) -> None:
    rows = vectors(2300)
    one = filled(rows)
    one.keep_only(np.arange(400, 2300))
    asked = vectors(queries, seed=3)
    for chunk in one._chunks:
        expected = scoring.in_floats(chunk, asked)
        assert way(queries, DIM, 1)(chunk, asked) == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_few_queries_are_scored_row_by_row_and_many_as_matrices(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    for name in ("row_by_row", "as_matrices"):
        way = getattr(scoring, name)
        monkeypatch.setattr(
            scoring, name, lambda *given, way=way, name=name: made.append(name) or way(*given)
        )
    index = filled(vectors(3000))
    index.search(vectors(3, seed=1), 5)
    index.search(vectors(30, seed=1), 5)
    assert made == ["row_by_row", "as_matrices"]


def test_codes_err_by_half_a_step_at_most() -> None:
    rows = vectors(2048)
    (chunk,) = (index := filled(rows))._chunks
    again = (chunk.codes.astype(np.float32) - 128) * chunk.scale + index._mean
    assert (np.abs(again - rows) <= chunk.scale * 0.501).all()


@pytest.mark.parametrize("missing", [("row_by_row",), ("as_matrices",), ("row_by_row", "as_matrices")])
@pytest.mark.parametrize("queries", [3, 20])
def test_without_one_way_or_with_a_wrong_one_it_finds_the_same(
    missing: tuple[str, ...], queries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, asked = vectors(5000), vectors(queries, seed=4)
    usual = filled(rows).search(asked, 10)

    def overflows(width: int, dim: int, threads: int | None) -> object:
        return lambda chunk, queries: np.zeros((len(chunk.codes), width), np.float32)

    def is_not_installed(width: int, dim: int, threads: int | None) -> object:
        raise ImportError

    for name, instead in zip(missing, (overflows, is_not_installed), strict=False):
        monkeypatch.setattr(scoring, name, instead)
    for one, other in zip(usual, filled(rows).search(asked, 10), strict=True):
        assert one.ids.tolist() == other.ids.tolist()


@pytest.mark.parametrize("error", [TypeError("cdist"), ValueError, OSError, MemoryError])
@pytest.mark.parametrize("when", ["it is tried", "later"])
@pytest.mark.parametrize("fails", [("simsimd",), ("simsimd", "openvino")])
def test_whatever_a_fast_way_raises_a_slower_one_answers(
    error: Any, when: str, fails: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As SimSIMD does where another library in the process has taken its place."""
    simsimd = pytest.importorskip("simsimd")
    rows, asked = vectors(5000), vectors(2, seed=4)
    right_ones = [one.ids.tolist() for one in filled(rows).search(asked, 10)]
    index = filled(rows)
    if when == "later":
        index.search(asked, 10)

    def fail(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr(simsimd, "cdist", fail)
    if "openvino" in fails:
        monkeypatch.setattr(scoring, "as_matrices", fail)
    for _ in range(2):
        assert [one.ids.tolist() for one in index.search(asked, 10)] == right_ones


@pytest.mark.parametrize("share", [0.01, 0.5])
def test_some_rows_only(share: float) -> None:
    rows = vectors(5000)
    allowed = np.flatnonzero(np.random.default_rng(0).random(5000) < share)
    (found,) = filled(rows).search(rows[:1], 10, allowed)
    best = [one for one in right(rows, rows[0], 5000) if one in set(allowed.tolist())][:10]
    assert found.ids.tolist() == best


def parts_of_three_chunks() -> dict[str, NDArray[np.int64]]:
    """Which of 2 * 2048 + 700 rows count; one of the chunks does in full, and the others in part or not."""
    every, draw = np.arange(2 * 2048 + 700), np.random.default_rng(0)
    some, chunk = draw.random(len(every)) < 0.5, every // 2048
    return {
        "every row": every,
        "all of the first": every[some | (chunk == 0)],
        "all of the second": every[some | (chunk == 1)],
        "the second alone": every[chunk == 1],
        "all of the last, which is not full": every[some | (chunk == 2)],
        "none of the second": every[some & (chunk != 1) | (chunk == 0)],
    }


@pytest.mark.parametrize("which", parts_of_three_chunks())
@pytest.mark.parametrize("queries", [1, 20])
def test_some_rows_only_and_a_chunk_of_which_all_count(which: str, queries: int) -> None:
    allowed = parts_of_three_chunks()[which]
    rows, asked = vectors(2 * 2048 + 700), vectors(queries, seed=9)
    for query, found in zip(asked, filled(rows).search(asked, 10, allowed), strict=True):
        assert found.ids.tolist() == allowed[right(rows[allowed], query, 10)].tolist()


def test_all_rows_of_one_full_chunk() -> None:
    rows = vectors(2048)
    (found,) = filled(rows).search(rows[:1], 10, np.arange(2048))
    assert found.ids.tolist() == right(rows, rows[0], 10)


@pytest.mark.parametrize(
    ("given", "variable", "used"), [(None, None, 3), (None, "2", 2), (1, "2", 1), (None, "", 3)]
)
@pytest.mark.parametrize(("way", "queries"), [("row_by_row", 3), ("as_matrices", 20)])
def test_a_search_uses_the_threads_it_may(
    given: int | None,
    variable: str | None,
    used: int,
    way: str,
    queries: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scoring, "usable_processors", lambda: 3)
    monkeypatch.delenv("SEETELL_THREADS", raising=False)
    if variable is not None:
        monkeypatch.setenv("SEETELL_THREADS", variable)
    told, make = [], getattr(scoring, way)

    def noted(width: int, dim: int, threads: int) -> object:
        told.append(threads)
        return make(width, dim, threads)

    monkeypatch.setattr(scoring, way, noted)
    one = VectorScan(DIM, threads=given)
    one.put(np.arange(3000), vectors(3000))
    one.search(vectors(queries, seed=1), 5)
    assert told == [used]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the affinity of Linux")
def test_processors_that_this_process_may_not_use_do_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processors, "_QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)))
    assert processors.usable_processors() == 6
    for said, usable in (("max 100000", 6), ("150000 100000", 2), ("1000 100000", 1), ("nonsense", 6)):
        (tmp_path / "cpu.max").write_text(said)
        assert processors.usable_processors() == usable, said


def test_rows_replaced_and_taken_out() -> None:
    rows = vectors(5000)
    index = filled(rows)
    draw = np.random.default_rng(6)
    changed = draw.choice(5000, 700, replace=False)
    rows[changed] = vectors(700, seed=7)
    index.put(changed, rows[changed])
    kept = np.sort(draw.choice(5000, 2100, replace=False))
    index.keep_only(kept)
    assert len(index) == 2100
    asked = vectors(5, seed=8)
    for query, found in zip(asked, index.search(asked, 10), strict=True):
        assert found.ids.tolist() == kept[right(rows[kept], query, 10)].tolist()
    index.keep_only(np.zeros(0, np.int64))
    assert [len(found.ids) for found in index.search(asked, 10)] == [0] * 5


def test_fewer_rows_than_asked_for() -> None:
    rows = vectors(7)
    (found,) = filled(rows).search(rows[:1], 10)
    assert found.ids.tolist() == right(rows, rows[0], 7)


def test_equal_rows_come_in_order() -> None:
    rows = np.repeat(vectors(1), 600, axis=0)
    (found,) = filled(rows).exact(rows[:1], 600)
    assert found.ids.tolist() == list(range(600))


def test_more_results_than_groups_are_looked_at() -> None:
    rows = vectors(5000)
    (found,) = filled(rows).search(rows[:1], 300)
    assert len(set(found.ids.tolist()) & set(right(rows, rows[0], 300))) >= 297
