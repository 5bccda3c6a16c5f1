"""Streams in batches: order, bounds, failures in their place, and early ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seetell.runtime.scheduling import Refused, at_once, in_batches


def prepare(item: int) -> int | Refused[str]:
    return Refused(f"no {item}") if item < 0 else item


def run(batch: list[int]) -> list[str]:
    return [f"yes {one}" for one in batch]


@given(st.lists(st.integers(-20, 60), max_size=60), st.integers(1, 7))
def test_one_result_per_item_in_order_in_bounded_batches(items: list[int], batch_size: int) -> None:
    sizes: list[int] = []

    def counted(batch: list[int]) -> list[str]:
        sizes.append(len(batch))
        return run(batch)

    expected = [f"no {item}" if item < 0 else f"yes {item}" for item in items]
    assert list(in_batches(items, prepare, counted, batch_size=batch_size)) == expected
    assert all(1 <= size <= batch_size for size in sizes)
    assert at_once(items, prepare, run) == expected


def test_batches_are_full_when_nothing_fails() -> None:
    sizes: list[int] = []

    def counted(batch: list[int]) -> list[int]:
        sizes.append(len(batch))
        return batch

    assert list(in_batches(range(21), lambda item: item, counted, batch_size=4)) == list(range(21))
    assert sizes == [4, 4, 4, 4, 4, 1]


def test_an_endless_source_is_never_read_far_ahead() -> None:
    read = 0

    def endless() -> Iterator[int]:
        nonlocal read
        while True:
            yield read
            read += 1

    results = in_batches(endless(), prepare, run, batch_size=4)
    for expected in range(50):
        assert next(results) == f"yes {expected}"
        assert read <= expected + 2 * 4
    results.close()  # type: ignore[attr-defined]  # a generator
    assert not [t for t in threading.enumerate() if t.name.startswith("seetell-read")]


def test_items_are_prepared_while_a_batch_runs() -> None:
    prepared = threading.Event()

    def prepare_last(item: int) -> int:
        if item == 7:
            prepared.set()
        return item

    def wait(batch: list[int]) -> list[int]:
        # The first batch cannot end before an item of the second is prepared.
        assert prepared.wait(timeout=20)
        return batch

    assert list(in_batches(range(8), prepare_last, wait, batch_size=4)) == list(range(8))


def test_an_unexpected_error_ends_the_stream_and_its_threads() -> None:
    def broken(item: int) -> int:
        if item == 5:
            raise ZeroDivisionError
        return item

    results = in_batches(range(100), broken, lambda batch: batch, batch_size=2)
    found = []
    with pytest.raises(ZeroDivisionError):
        for one in results:
            found.append(one)
    assert found == [0, 1, 2, 3]
    for _ in range(100):
        if not [t for t in threading.enumerate() if t.name.startswith("seetell-read")]:
            return
        time.sleep(0.05)
    pytest.fail("reading threads go on")
