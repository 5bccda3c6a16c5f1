"""Batches across requests: alike things together, within a time, in a bounded queue, nothing mixed up."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seetell.core.errors import ServerBusy, TextError
from seetell.core.results import Failure
from seetell.serving.batching import Batcher, Lane
from tests.event_loops import in_own_loop


class Work:
    """Lanes whose results say which lane and item they came from; ``batches`` is what ran together."""

    def __init__(self) -> None:
        self.batches: list[tuple[str, list[Any]]] = []
        self.go = threading.Event()
        self.go.set()
        self.began = threading.Event()

    def lane(self, name: str = "a", size: int = 4) -> Lane:
        def run(items: list[Any]) -> Iterable[Any]:
            self.batches.append((name, list(items)))
            self.began.set()
            assert self.go.wait(20)
            for item in items:
                if item == "poison":
                    raise TextError("poison")
                yield Failure("", TextError("bad")) if item == "bad" else (name, item)

        return Lane("task", name, size, run)


def in_loop(act: Callable[[Batcher], Coroutine[Any, Any, Any]], **options: Any) -> Any:
    async def run() -> Any:
        batcher = Batcher(**{"workers": 1, "queue": 100, "max_wait_s": 0.01, **options})
        try:
            return await asyncio.wait_for(act(batcher), 30)
        finally:
            await batcher.close()

    return in_own_loop(run())


async def until(what: Callable[[], bool]) -> None:
    while not what():
        await asyncio.sleep(0.005)


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.lists(st.integers(0, 99) | st.sampled_from(["bad", "poison"]))),
        max_size=12,
    ),
    st.integers(1, 5),
    st.integers(1, 3),
)
def test_every_item_gets_its_own_result(
    requests: list[tuple[str, list[Any]]], size: int, workers: int
) -> None:
    work = Work()

    async def act(batcher: Batcher) -> list[Any]:
        futures = [batcher.admit(work.lane(name, size), items) for name, items in requests]
        return [await asyncio.gather(*one, return_exceptions=True) for one in futures]

    found = in_loop(act, workers=workers, queue=1000, max_wait_s=0.001)
    for (name, items), results in zip(requests, found, strict=True):
        for item, result in zip(items, results, strict=True):
            if item in ("bad", "poison"):
                assert isinstance(result, TextError) and str(result) == item
            else:
                assert result == (name, item)
    assert all(len(items) <= size for _, items in work.batches)


def test_requests_that_wait_together_run_together() -> None:
    work = Work()

    async def act(batcher: Batcher) -> None:
        work.go.clear()
        first = asyncio.create_task(batcher.run(work.lane("a", 8), [0]))
        await until(work.began.is_set)
        others = [asyncio.create_task(batcher.run(work.lane("a", 8), [n])) for n in range(1, 8)]
        await until(lambda: batcher.waiting == 7)
        work.go.set()
        assert [await one for one in (first, *others)] == [[("a", n)] for n in range(8)]

    in_loop(act)
    assert [len(items) for _, items in work.batches] == [1, 7]


def test_one_alone_waits_no_longer_than_the_bound() -> None:
    """A lone item is run though its batch is not full; a full one does not wait for the bound."""
    work = Work()

    async def act(batcher: Batcher) -> None:
        assert await batcher.run(work.lane("a", 2), [1, 2]) == [("a", 1), ("a", 2)]

    in_loop(act, max_wait_s=60)  # would not end in time if a full batch waited

    async def alone(batcher: Batcher) -> None:
        assert await batcher.run(work.lane("a", 2), [3]) == [("a", 3)]

    in_loop(alone, max_wait_s=0.02)
    assert work.batches == [("a", [1, 2]), ("a", [3])]


def test_a_busy_lane_does_not_starve_another() -> None:
    work = Work()

    async def act(batcher: Batcher) -> None:
        work.go.clear()
        first = asyncio.create_task(batcher.run(work.lane("a", 2), [0]))
        await until(work.began.is_set)
        busy = asyncio.create_task(batcher.run(work.lane("a", 2), list(range(1, 7))))
        await asyncio.sleep(0.02)
        rare = asyncio.create_task(batcher.run(work.lane("b", 2), [9]))
        await until(lambda: batcher.waiting == 7)
        late = asyncio.create_task(batcher.run(work.lane("a", 2), list(range(10, 20))))
        await until(lambda: batcher.waiting == 17)
        work.go.set()
        await asyncio.gather(first, busy, rare, late)

    in_loop(act)
    order = [name for name, _ in work.batches]
    assert order.index("b") <= 4, "before the popular lane's later items"


def test_a_full_queue_takes_all_or_nothing() -> None:
    work = Work()

    async def act(batcher: Batcher) -> None:
        work.go.clear()
        first = asyncio.create_task(batcher.run(work.lane(), [0]))
        await until(work.began.is_set)
        waiting = batcher.admit(work.lane(), [1, 2])
        with pytest.raises(ServerBusy) as caught:
            batcher.admit(work.lane(), [3, 4])
        assert 1 <= caught.value.retry_after_s <= 60
        assert batcher.waiting == 2
        batcher.admit(work.lane("b"), [3])[0].cancel()
        work.go.set()
        await asyncio.gather(first, *waiting)

    in_loop(act, queue=3)


def test_what_is_cancelled_leaves_the_queue_at_once_and_never_runs() -> None:
    work = Work()

    async def act(batcher: Batcher) -> None:
        work.go.clear()
        first = asyncio.create_task(batcher.run(work.lane(), [0]))
        await until(work.began.is_set)
        gone = asyncio.create_task(batcher.run(work.lane(), [1, 2]))
        stays = asyncio.create_task(batcher.run(work.lane(), [3]))
        await until(lambda: batcher.waiting == 3)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        await until(lambda: batcher.waiting == 1)
        work.go.set()
        assert await stays == [("a", 3)]
        await first

    in_loop(act, queue=3)
    assert work.batches == [("a", [0]), ("a", [3])]


def test_what_runs_when_the_batcher_is_closed_is_finished() -> None:
    work = Work()

    async def act(batcher: Batcher) -> None:
        work.go.clear()
        running = batcher.admit(work.lane(), [0])
        await until(work.began.is_set)
        waiting = batcher.admit(work.lane(), [1])
        closing = asyncio.create_task(batcher.close())
        await asyncio.sleep(0.02)
        work.go.set()
        await closing
        assert running[0].result() == ("a", 0)
        assert waiting[0].cancelled()

    in_loop(act)


def test_the_observer_is_told() -> None:
    work, seen = Work(), []

    class Watch:
        def ran(self, task: str, items: int, waited_s: Any, took_s: float) -> None:
            seen.append((task, items, len(waited_s)))
            assert took_s >= 0 and all(one >= 0 for one in waited_s)

    async def act(batcher: Batcher) -> None:
        await batcher.run(work.lane("a", 2), [1, 2, 3])

    in_loop(act, observer=Watch())
    assert seen == [("task", 2, 2), ("task", 1, 1)]


def test_workers_run_at_the_same_time() -> None:
    work = Work()

    async def act(batcher: Batcher) -> None:
        work.go.clear()
        tasks = [asyncio.create_task(batcher.run(work.lane(name), [0])) for name in "ab"]
        started = time.monotonic()
        await until(lambda: len(work.batches) == 2 or time.monotonic() > started + 20)
        assert len(work.batches) == 2
        work.go.set()
        await asyncio.gather(*tasks)

    in_loop(act, workers=2)
