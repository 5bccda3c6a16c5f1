"""Captions sent while they are written: joined they are whole, they come early, and stop with the client."""

from __future__ import annotations

import asyncio
import json
import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import openai
import pytest

from seetell.core.errors import TextError
from seetell.core.results import Caption
from seetell.serving.streaming import Growing
from seetell.tasks.model import Model
from tests.event_loops import in_own_loop
from tests.serving.conftest import Serve, SlowEngine, jpeg
from tests.serving.test_chat import asked


@pytest.fixture
def ai(client: httpx2.Client) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{client.base_url}/v1", api_key="any", max_retries=0) as made:
        yield made


def pieces_of(ai: openai.OpenAI, text: str, *seeds: int, **more: Any) -> list[str]:
    stream = ai.chat.completions.create(model="toy", messages=asked(text, *seeds), stream=True, **more)
    return [chunk.choices[0].delta.content or "" for chunk in stream]


def starts_of(model: Model, seed: int) -> list[str]:
    """What is certain of a photo's caption, token by token."""
    starts: list[str] = []
    assert list(model.stream("caption", [jpeg(seed)], on_text=lambda _, text: not starts.append(text)))
    return starts


def until(what: Callable[[], bool]) -> None:
    for _ in range(3000):
        if what():
            return
        time.sleep(0.01)
    raise AssertionError("it did not come to be")


@pytest.mark.parametrize("beams", range(1, 6))
def test_pieces_join_to_the_caption(ai: openai.OpenAI, model: Model, beams: int) -> None:
    own: dict[str, Any] = {"extra_body": {"beams": beams}}
    options = model.generation_options(beams=beams)
    for language, text in (("en", "Describe these"), ("zh", "描述这些图片")):
        captions = [model.caption(jpeg(seed), language=language, options=options) for seed in (1, 2, 3)]
        whole = "\n".join(one.text for one in captions)
        assert "".join(pieces_of(ai, text, 1, 2, 3, **own)) == whole
        plain = ai.chat.completions.create(model="toy", messages=asked(text, 1, 2, 3), **own)
        assert plain.choices[0].message.content == whole


def test_each_word_arrives_as_soon_as_it_is_written(
    ai: openai.OpenAI, model: Model, engine: SlowEngine
) -> None:
    starts, caption = starts_of(model, 1), model.caption(jpeg(1))
    engine.steps = threading.Semaphore(0)
    arrived: queue.Queue[str] = queue.Queue()

    def read() -> None:
        stream = ai.chat.completions.create(model="toy", messages=asked("Describe it", 1), stream=True)
        for chunk in stream:
            arrived.put(chunk.choices[0].delta.content or "")

    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read)
        text = ""
        for start in starts:
            engine.steps.release()
            while text != start:
                text += arrived.get(timeout=30)
                assert start.startswith(text)
        engine.steps.release()
        reading.result(30)
    while not arrived.empty():
        text += arrived.get()
    assert text == caption.text
    assert len(set(starts)) > 5


def test_a_client_that_goes_away_is_not_written_for(
    client: httpx2.Client, model: Model, engine: SlowEngine
) -> None:
    starts = starts_of(model, 1)
    first = next(place for place, start in enumerate(starts) if start) + 1
    assert first < len(starts) - 5
    engine.steps = threading.Semaphore(first)
    body = {"messages": asked("Describe it", 1), "stream": True}
    before = engine.calls["text_decoder"]
    with client.stream("POST", "/v1/chat/completions", json=body) as answer:
        next(answer.iter_bytes())
    until(lambda: 'seetell_answers_total{status="499",task="caption"}' in client.get("/metrics").text)
    engine.steps.release(1000)
    until(lambda: 'seetell_batch_seconds_count{task="caption"} 2.0' in client.get("/metrics").text)
    # The token that was being written when it left is the last.
    assert engine.calls["text_decoder"] - before == first + 1
    assert client.post("/v1/chat/completions", json={**body, "stream": False}).status_code == 200


def test_a_stream_past_the_deadline_says_so_and_ends(serve: Serve, model: Model, engine: SlowEngine) -> None:
    client = serve(limits={"deadline_s": 0.5})
    first = next(place for place, start in enumerate(starts_of(model, 1)) if start) + 1
    engine.steps = threading.Semaphore(first)
    body = {"messages": asked("Describe it", 1), "stream": True}
    answer = client.post("/v1/chat/completions", json=body)  # raises where the connection is cut
    engine.steps.release(1000)
    *said, last = [json.loads(line[6:]) for line in answer.text.splitlines() if line]
    assert answer.status_code == 200
    assert "".join(one["choices"][0]["delta"]["content"] for one in said)
    assert last["error"]["type"] == "timeout"
    until(lambda: client.get("/health").status_code == 200)


def test_streamed_and_plain_requests_run_together(serve: Serve, model: Model, engine: SlowEngine) -> None:
    client = serve(workers=1)
    before = len(engine.rows)
    engine.go.clear()

    def ask(stream: bool, seed: int) -> str:
        body = {"messages": asked("Describe it", seed), "stream": stream}
        return client.post("/v1/chat/completions", json=body).text

    with ThreadPoolExecutor(3) as pool:
        engine.began.clear()
        pool.submit(ask, False, 3)
        assert engine.began.wait(30)  # the only worker is busy, and the others wait
        streamed, plain = pool.submit(ask, True, 1), pool.submit(ask, False, 2)
        until(lambda: "seetell_queue_items 2.0" in client.get("/metrics").text)
        engine.go.set()
    events = [json.loads(line[6:]) for line in streamed.result().splitlines() if line.startswith("data: {")]
    text = "".join(event["choices"][0]["delta"].get("content", "") for event in events)
    assert text == model.caption(jpeg(1)).text
    assert json.loads(plain.result())["choices"][0]["message"]["content"] == model.caption(jpeg(2)).text
    assert ("image_encoder", 2) in engine.rows[before:]


def test_a_question_is_answered_in_one_piece(ai: openai.OpenAI, model: Model) -> None:
    pieces = pieces_of(ai, "is there a dog?", 2, 3)
    assert len(pieces) == 3
    assert model.ask(jpeg(3), "is there a dog?").answer in pieces[1]


def test_more_beams_than_allowed_are_refused(ai: openai.OpenAI) -> None:
    with pytest.raises(openai.UnprocessableEntityError, match="beams"):
        pieces_of(ai, "Describe it", 1, extra_body={"beams": 11})


class Writer:
    """An answer that is written in another thread: texts that are told, then a result or an error."""

    def __init__(self, told: list[str], result: str | Exception) -> None:
        self._told = told
        self._result = result

    def read(self) -> list[str]:
        async def run() -> list[str]:
            growing = Growing()
            future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

            async def write() -> None:
                for text in self._told:
                    await asyncio.to_thread(growing.tell, text)
                if isinstance(self._result, Exception):
                    future.set_exception(self._result)
                else:
                    future.set_result(Caption(self._result, 0.0, "en", "toy", "fp32"))

            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(write())
                return [one async for one in growing.pieces(future, lambda found: str(found.text))]

        return in_own_loop(run())


@pytest.mark.parametrize(
    ("told", "whole"),
    [
        ([], ""),
        ([], "a dog"),
        (["", "a", "a", "a dog"], "a dog"),
        (["a", "a do"], "a dog runs"),
        # A batch that failed as a whole was begun again.
        (["a", "a dog", "a", "a dog", "a dog runs"], "a dog runs on"),
    ],
)
def test_pieces(told: list[str], whole: str) -> None:
    pieces = Writer(told, whole).read()
    assert "".join(pieces) == whole
    assert "" not in pieces


def test_an_answer_that_comes_out_as_another_is_an_error() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        Writer(["a dog"], "a cat").read()
    assert caught.group_contains(RuntimeError, match="came out as another")


def test_what_fails_in_the_middle_is_an_error() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        Writer(["a dog"], TextError("no")).read()
    assert caught.group_contains(TextError)
