"""Models are opened when asked for, once, and put away for others only while nobody uses them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from seetell.core.errors import UsageError
from seetell.serving.model_pool import ModelPool, Source
from seetell.serving.problems import Problem
from tests.event_loops import in_own_loop
from tests.serving.conftest import Serve, SlowEngine, data_url, jpeg


class Opened:
    """A model that remembers whether it was closed."""

    def __init__(self, name: str) -> None:
        self.name, self.closed = name, False

    def close(self) -> None:
        self.closed = True


class Shelf:
    """Sources of so many bytes each; ``opened`` is what was made, in order."""

    def __init__(self, **sizes: int) -> None:
        self.opened: list[Opened] = []
        self.sources = [Source(name, size, self._opener(name)) for name, size in sizes.items()]
        self.go = threading.Event()
        self.go.set()

    def _opener(self, name: str) -> Callable[[], Any]:
        def open_() -> Any:
            assert self.go.wait(20)
            self.opened.append(Opened(name))
            return self.opened[-1]

        return open_

    @property
    def names(self) -> list[str]:
        return [one.name for one in self.opened]


def in_loop(act: Callable[[], Coroutine[Any, Any, Any]]) -> None:
    async def run() -> None:
        await asyncio.wait_for(act(), 30)

    in_own_loop(run())


def test_opened_once_when_first_asked_for() -> None:
    shelf = Shelf(a=1, b=1)

    async def act() -> None:
        pool = ModelPool(shelf.sources)
        assert (pool.names, pool.default, pool.loaded) == (["a", "b"], "a", [])

        async def use(name: str | None) -> Any:
            async with pool.lease(name) as model:
                return model

        shelf.go.clear()
        users = [asyncio.create_task(use(name)) for name in ("b", "b", None, "a")]
        await asyncio.sleep(0.05)
        shelf.go.set()
        first, second, third, fourth = await asyncio.gather(*users)
        assert first is second and third is fourth and first is not third
        assert sorted(pool.loaded) == ["a", "b"]
        pool.close()

    in_loop(act)
    assert sorted(shelf.names) == ["a", "b"] and all(one.closed for one in shelf.opened)


def test_the_model_used_least_recently_makes_room() -> None:
    shelf = Shelf(a=4, b=4, c=4)

    async def act() -> None:
        pool = ModelPool(shelf.sources, 8)
        for name in ("a", "b", "a", "c"):
            async with pool.lease(name):
                await asyncio.sleep(0.002)
        assert pool.loaded == ["a", "c"]
        async with pool.lease("b"):
            assert pool.loaded == ["b", "c"]

    in_loop(act)
    assert [one.closed for one in shelf.opened] == [True, True, False, False]


def test_a_model_in_use_is_not_put_away() -> None:
    shelf = Shelf(a=4, b=4)

    async def act() -> None:
        pool = ModelPool(shelf.sources, 4)

        async def use(name: str) -> None:
            async with pool.lease(name):
                pass

        async with pool.lease("a"):
            waits = asyncio.create_task(use("b"))
            await asyncio.sleep(0.05)
            assert not waits.done() and shelf.names == ["a"] and not shelf.opened[0].closed
            await use("a")  # one that is loaded need not wait for the one that is not
        await waits
        assert shelf.names == ["a", "b"] and shelf.opened[0].closed

    in_loop(act)


def test_who_waits_for_room_holds_up_no_other() -> None:
    shelf = Shelf(a=6, b=6, c=4)

    async def act() -> None:
        pool = ModelPool(shelf.sources, 10)

        async def use(name: str) -> None:
            async with pool.lease(name):
                pass

        async with pool.lease("a"):
            waits = asyncio.create_task(use("b"))
            await asyncio.sleep(0.05)
            await asyncio.wait_for(use("c"), 10)
            assert not waits.done()
        await waits
        assert shelf.names == ["a", "c", "b"]

    in_loop(act)


def test_nobody_waits_for_those_who_went_away() -> None:
    shelf = Shelf(a=6, b=6)

    async def act() -> None:
        pool = ModelPool(shelf.sources, 10)

        async def use(name: str) -> None:
            async with pool.lease(name):
                pass

        async with pool.lease("a"):
            waits = asyncio.create_task(use("b"))
            await asyncio.sleep(0.05)
            waits.cancel()
            await asyncio.gather(waits, return_exceptions=True)
        await asyncio.sleep(0.05)
        assert (shelf.names, pool.loaded) == (["a"], ["a"]), "b is not opened for nobody"

    in_loop(act)


def test_no_model_is_put_away_in_vain() -> None:
    shelf = Shelf(a=6, b=2, c=8)

    async def act() -> None:
        pool = ModelPool(shelf.sources, 10)

        async def use(name: str) -> None:
            async with pool.lease(name):
                pass

        await use("b")
        async with pool.lease("a"):
            waits = asyncio.create_task(use("c"))
            await asyncio.sleep(0.05)
            assert pool.loaded == ["a", "b"], "without b there would be no room either"
        await waits
        assert pool.loaded == ["c"]

    in_loop(act)


def test_many_models_in_little_room() -> None:
    shelf = Shelf(a=3, b=4, c=5, d=6)
    sizes = {"a": 3, "b": 4, "c": 5, "d": 6}
    most = 0

    async def act() -> None:
        pool = ModelPool(shelf.sources, 10)

        async def use(name: str, pause_s: float) -> None:
            nonlocal most
            async with pool.lease(name):
                most = max(most, sum(sizes[one] for one in pool.loaded))
                await asyncio.sleep(pause_s)

        users = [use("abcd"[place % 4], 0.001 * (place % 3)) for place in range(60)]
        await asyncio.gather(*users)

    in_loop(act)
    assert 0 < most <= 10


def test_requests_go_on_while_another_model_is_opened() -> None:
    shelf = Shelf(a=1, b=1)

    async def act() -> None:
        pool = ModelPool(shelf.sources)

        async def use(name: str) -> None:
            async with pool.lease(name):
                pass

        await use("a")
        shelf.go.clear()
        opening = asyncio.create_task(use("b"))
        await asyncio.sleep(0.02)
        await asyncio.wait_for(use("a"), 10)
        assert not opening.done()
        shelf.go.set()
        await opening

    in_loop(act)


def test_who_asked_first_may_go_away() -> None:
    shelf = Shelf(a=1)

    async def act() -> None:
        pool = ModelPool(shelf.sources)

        async def use() -> None:
            async with pool.lease():
                pass

        shelf.go.clear()
        first, second = asyncio.create_task(use()), asyncio.create_task(use())
        await asyncio.sleep(0.02)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        shelf.go.set()
        await second
        assert pool.loaded == ["a"]

    in_loop(act)
    assert shelf.names == ["a"], "opened once"


def test_one_that_cannot_be_opened_is_tried_again() -> None:
    tries = []

    def broken() -> Any:
        tries.append(1)
        raise UsageError("no")

    async def act() -> None:
        pool = ModelPool([Source("a", 1, broken)])
        for _ in range(2):
            with pytest.raises(UsageError):
                async with pool.lease():
                    raise AssertionError

    in_loop(act)
    assert len(tries) == 2


def test_what_cannot_be_served() -> None:
    with pytest.raises(UsageError, match="two models of one name"):
        ModelPool([*Shelf(a=1).sources, *Shelf(a=1).sources])
    with pytest.raises(UsageError, match="a needs about 9 MB, more than the 8 MB"):
        ModelPool(Shelf(a=9_000_000).sources, 8_000_000)

    with pytest.raises(UsageError, match="b beside a, which stays, needs about 9 MB, more than the 8 MB"):
        ModelPool(Shelf(a=4_000_000, b=5_000_000).sources, 8_000_000, default_stays=True)
    ModelPool(Shelf(a=4_000_000, b=5_000_000).sources, 8_000_000)
    ModelPool(Shelf(a=4_000_000, b=4_000_000).sources, 8_000_000, default_stays=True)

    async def act() -> None:
        with pytest.raises(Problem) as caught:
            async with ModelPool(Shelf(a=1).sources).lease("z"):
                raise AssertionError
        assert caught.value.status == 404

    in_loop(act)


def test_two_models_behind_one_server(serve: Serve, model: Any, make_other: Callable[[], Any]) -> None:
    client = serve(sources=[Source("toy", 4, lambda: model), Source("other", 4, make_other)])
    assert [one["loaded"] for one in client.get("/v1/models").json()["data"]] == [True, False]
    answer = client.post("/v1/caption", json={"photo": data_url(jpeg(1)), "model": "other"})
    assert answer.json()["model"] == "other"
    assert client.post("/v1/caption", json={"photo": data_url(jpeg(1))}).json()["model"] == "toy"
    assert [one["loaded"] for one in client.get("/v1/models").json()["data"]] == [True, True]


@pytest.fixture
def make_other(tokenizer: Any) -> Callable[[], Any]:
    from seetell.tasks.model import Model
    from tests.runtime.toy import make_manifest

    def make() -> Any:
        engine = SlowEngine(tokenizer.vocab_size)
        return Model(make_manifest(engine, name="other"), tokenizer, engine)

    return make
