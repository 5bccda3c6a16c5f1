"""Photos held for the page: within a time and a room, by names that nobody guesses."""

from __future__ import annotations

import asyncio

import httpx2
import pytest

from seetell.serving.held import HeldPhotos
from seetell.serving.problems import Problem
from seetell.tasks.model import Model
from tests.serving.conftest import Serve, data_url, jpeg

AS_IS = {"content-type": "application/octet-stream"}


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def name_of(held: HeldPhotos, photo: bytes) -> str:
    name = held.hold(photo)
    assert name is not None
    return name


def is_held(held: HeldPhotos, name: str) -> bool:
    try:
        held.get(name)
    except Problem as problem:
        return (problem.status, problem.detail.type) != (404, "not_held")
    return True


def test_what_was_used_least_recently_makes_room() -> None:
    held = HeldPhotos(100, 60.0)
    first, second = name_of(held, b"a" * 40), name_of(held, b"b" * 40)
    assert held.get(first) == b"a" * 40
    third = name_of(held, b"c" * 40)
    assert [is_held(held, one) for one in (first, second, third)] == [True, False, True]
    assert held.hold(b"d" * 101) is None
    assert is_held(held, first) and is_held(held, third), "nothing goes for one that has no room at all"
    held.drop(first)
    held.drop(first)
    assert name_of(held, b"e" * 60) and is_held(held, third), "what was dropped has left its room"


def test_a_photo_goes_when_its_time_has_passed() -> None:
    clock = Clock()
    held = HeldPhotos(100, 60.0, clock)
    used, unused = name_of(held, b"a"), name_of(held, b"b")
    clock.now_s = 50.0
    assert is_held(held, used)
    clock.now_s = 70.0
    assert [is_held(held, one) for one in (used, unused)] == [True, False]


def test_a_photo_goes_although_nobody_asks() -> None:
    clock = Clock()
    held = HeldPhotos(100, 0.01, clock)

    async def wait() -> None:
        sweeping = asyncio.create_task(held.drop_old_for_ever())
        held.hold(b"a" * 100)
        clock.now_s = 1.0
        while held.size_bytes:
            await asyncio.sleep(0.001)
        sweeping.cancel()

    asyncio.run(asyncio.wait_for(wait(), 10))


def test_names_are_not_those_of_equal_photos() -> None:
    held = HeldPhotos(100, 60.0)
    assert held.hold(b"a") != held.hold(b"a"), "or one could ask whether somebody else has sent a photo"


def test_a_photo_is_sent_once_and_asked_about_by_its_name(serve: Serve, model: Model) -> None:
    client = serve(keys=["k"])
    assert client.post("/v1/page/hold", content=jpeg(1), headers=AS_IS).status_code == 401
    client.headers["authorization"] = "Bearer k"
    name = client.post("/v1/page/hold", content=jpeg(1), headers=AS_IS).json()["photo"]
    assert name.startswith("held:") and len(name) > 20
    said = client.post("/v1/caption", json={"photo": name, "language": "zh"}).json()
    assert said["text"] == model.caption(jpeg(1), language="zh").text
    asked = {"photo": name, "question": "is there a dog?"}
    assert client.post("/v1/ask", json=asked).json()["answer"] == model.ask(jpeg(1), "is there a dog?").answer
    assert client.post("/v1/page/forget", json={"photo": name}).status_code == 200
    gone = client.post("/v1/ask", json=asked)
    assert (gone.status_code, gone.json()["error"]["type"]) == (404, "not_held")
    assert gone.json()["error"]["message"] == "this server does not hold that photo any more; send it again"


@pytest.mark.parametrize("kind", ["text/plain", "multipart/form-data; boundary=x", None])
def test_no_other_web_page_may_have_a_photo_held(client: httpx2.Client, kind: str | None) -> None:
    """Browsers let every page send these, unasked."""
    headers = {} if kind is None else {"content-type": kind}
    got = client.post("/v1/page/hold", content=jpeg(1), headers=headers)
    assert (got.status_code, got.json()["error"]["type"]) == (415, "unsupported_media_type")


def test_what_is_too_large_is_not_held(serve: Serve) -> None:
    client = serve(limits={"photo_bytes": 100, "held_bytes": 50})
    got = client.post("/v1/page/hold", content=b"\0" * 101, headers=AS_IS)
    assert (got.status_code, got.json()["error"]["type"]) == (413, "too_large")
    assert client.post("/v1/page/hold", content=b"\0" * 60, headers=AS_IS).json() == {"photo": None}


def test_a_name_that_was_made_up_is_not_held(client: httpx2.Client) -> None:
    got = client.post("/v1/caption", json={"photo": "held:x"})
    assert (got.status_code, got.json()["error"]["type"]) == (404, "not_held")
    assert data_url(jpeg(1))  # as it would be sent instead
