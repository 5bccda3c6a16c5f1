"""The official ``openai`` client, unchanged, against the server."""

from __future__ import annotations

import base64
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import numpy as np
import openai
import pytest

from seetell.tasks.model import Model
from tests.runtime.toy import make_tokenizer
from tests.serving.conftest import Serve, SlowEngine, data_url, jpeg


@pytest.fixture
def ai(serve: Serve) -> Iterator[openai.OpenAI]:
    address = str(serve(keys=["secret"]).base_url)
    with openai.OpenAI(base_url=f"{address.rstrip('/')}/v1", api_key="secret", max_retries=0) as client:
        yield client


def asked(text: str | None, *seeds: int) -> list[Any]:
    parts: list[Any] = [] if text is None else [{"type": "text", "text": text}]
    parts += [{"type": "image_url", "image_url": {"url": data_url(jpeg(seed))}} for seed in seeds]
    return [{"role": "system", "content": "Be brief."}, {"role": "user", "content": parts}]


def written(texts: list[str]) -> int:
    """Tokens of texts, without those that mark their beginning and end, as far as the toy reads."""
    tokenizer = make_tokenizer()
    most = tokenizer.spec.context_length - 2
    return sum(min(most, len(tokenizer.encode_words(text))) for text in texts)


def reason(model: Model, *seeds: int) -> str:
    """Why captions of these end. The toy's often go on as long as they may."""
    return "length" if any(model.caption(jpeg(seed)).cut for seed in seeds) else "stop"


@pytest.mark.parametrize("text", [None, "Describe this image.", "What's in this image?", "Please caption it"])
def test_a_description(ai: openai.OpenAI, model: Model, text: str | None) -> None:
    answer = ai.chat.completions.create(model="toy", messages=asked(text, 1), max_tokens=300, temperature=0)
    assert answer.choices[0].message.content == model.caption(jpeg(1)).text
    assert (answer.model, answer.object) == ("toy", "chat.completion")
    assert answer.choices[0].finish_reason == reason(model, 1)
    assert answer.choices[0].message.role == "assistant"


def test_in_chinese(ai: openai.OpenAI, model: Model) -> None:
    answer = ai.chat.completions.create(model="toy", messages=asked("描述这张图片", 1))
    assert answer.choices[0].message.content == model.caption(jpeg(1), language="zh").text


def test_a_question(ai: openai.OpenAI, model: Model) -> None:
    answer = ai.chat.completions.create(model="toy", messages=asked("is there a dog?", 2))
    want = model.ask(jpeg(2), "is there a dog?")
    assert want.answer in str(answer.choices[0].message.content)
    assert answer.model_extra is not None
    assert answer.model_extra["results"][0]["confidence"] == pytest.approx(want.confidence)


def test_a_later_question_is_about_the_same_photo(ai: openai.OpenAI, model: Model) -> None:
    talk = [*asked("Describe it", 3), {"role": "assistant", "content": "a dog"}]
    answer = ai.chat.completions.create(
        model="toy", messages=[*talk, {"role": "user", "content": "is it red?"}]
    )
    assert model.ask(jpeg(3), "is it red?").answer in str(answer.choices[0].message.content)


def test_a_stream(ai: openai.OpenAI, model: Model) -> None:
    stream = ai.chat.completions.create(model="toy", messages=asked("Describe these", 1, 2, 3), stream=True)
    chunks = list(stream)
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk.id for chunk in chunks}) == 1
    assert chunks[0].choices[0].delta.role == "assistant"
    reasons = [chunk.choices[0].finish_reason for chunk in chunks]
    assert reasons == [None] * (len(chunks) - 1) + [reason(model, 1, 2, 3)]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == "\n".join(model.caption(jpeg(seed)).text for seed in (1, 2, 3))


@pytest.mark.parametrize("text", ["Describe these", "is there a dog?"])
def test_the_last_of_a_stream_counts_the_tokens(ai: openai.OpenAI, model: Model, text: str) -> None:
    talk = asked(text, 1, 2)
    plain = list(ai.chat.completions.create(model="toy", messages=talk, stream=True))
    assert all(chunk.choices and chunk.usage is None for chunk in plain)
    counted = ai.chat.completions.create(
        model="toy", messages=talk, stream=True, stream_options={"include_usage": True}
    )
    *chunks, last = counted
    assert all(chunk.usage is None for chunk in chunks)
    chosen = text.endswith("?")
    assert chunks[-1].choices[0].finish_reason == ("stop" if chosen else reason(model, 1, 2))
    assert last.choices == [] and last.usage is not None
    # How a text is cut into chunks depends on how fast it is read.
    whole, same = (
        "".join(chunk.choices[0].delta.content or "" for chunk in some) for some in (chunks, plain)
    )
    assert whole == same
    questions = 2 * model.count_tokens(text)[0] if chosen else 0
    answers = written(whole.split("\n"))
    usage = (last.usage.prompt_tokens, last.usage.completion_tokens, last.usage.total_tokens)
    assert usage == (questions, answers, questions + answers) and answers > 0


@pytest.mark.parametrize("text", ["Describe these", "is there a dog?"])
def test_a_plain_answer_counts_the_tokens(ai: openai.OpenAI, model: Model, text: str) -> None:
    answer = ai.chat.completions.create(model="toy", messages=asked(text, 1, 2))
    questions = 2 * model.count_tokens(text)[0] if text.endswith("?") else 0
    said = [
        model.ask(jpeg(seed), text).answer if questions else model.caption(jpeg(seed)).text for seed in (1, 2)
    ]
    answers = written(said)
    assert answer.usage is not None and answers > 0
    usage = (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens)
    assert usage == (questions, answers, questions + answers)


def test_why_an_answer_ended(ai: openai.OpenAI, model: Model) -> None:
    """A caption that goes on where it may be longer was cut; one that does not was not."""
    beams: dict[str, Any] = {"extra_body": {"beams": 1}}
    seen = set()
    for seed in range(12):
        long, short = (
            model.caption(jpeg(seed), options=model.generation_options(beams=1, max_tokens=most))
            for most in (20, 4)
        )
        want = "length" if long.text != short.text else "stop"
        seen.add(want)
        talk: dict[str, Any] = {"model": "toy", "messages": asked("Describe it", seed), "max_tokens": 4}
        plain = ai.chat.completions.create(**talk, **beams)
        *_, last = ai.chat.completions.create(**talk, **beams, stream=True)
        assert (plain.choices[0].finish_reason, last.choices[0].finish_reason) == (want, want)
    assert seen == {"length", "stop"}, "of this toy some captions are shorter than four tokens"
    # One of several that was cut.
    talk = {"model": "toy", "messages": asked("Describe them", *range(12)), "max_tokens": 4}
    assert ai.chat.completions.create(**talk, **beams).choices[0].finish_reason == "length"
    chosen = ai.chat.completions.create(model="toy", messages=asked("is there a dog?", 1), max_tokens=1)
    assert chosen.choices[0].finish_reason == "stop", "it is chosen whole, from a list"


def test_a_stream_that_fails_at_once_is_an_error(ai: openai.OpenAI) -> None:
    wrong = [{"type": "image_url", "image_url": {"url": data_url(b"no photo")}}]
    with pytest.raises(openai.BadRequestError, match="not an image"):
        ai.chat.completions.create(model="toy", messages=[{"role": "user", "content": wrong}], stream=True)  # type: ignore[list-item,misc]


def test_a_stream_that_fails_later_says_so(ai: openai.OpenAI, model: Model) -> None:
    parts = [{"type": "image_url", "image_url": {"url": data_url(one)}} for one in (jpeg(1), b"no photo")]
    talk: list[Any] = [{"role": "user", "content": parts}]
    seen = []
    with pytest.raises(openai.APIError, match="not an image"):
        for chunk in ai.chat.completions.create(model="toy", messages=talk, stream=True):
            seen.append(chunk.choices[0].delta.content)
    assert "".join(seen) == model.caption(jpeg(1)).text


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]}, "tools"),
    ],
)
def test_what_is_not_to_be_had_is_refused(ai: openai.OpenAI, more: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ai.chat.completions.create(model="toy", messages=asked("Describe it", 1), **more)
    assert caught.value.param == param


def test_errors(ai: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="no model 'gpt-4o'"):
        ai.chat.completions.create(model="gpt-4o", messages=asked("Describe it", 1))
    with pytest.raises(openai.BadRequestError, match="no photo"):
        ai.chat.completions.create(model="toy", messages=asked("Hello"))
    with pytest.raises(openai.AuthenticationError):
        ai.with_options(api_key="wrong").models.list()


def test_models(ai: openai.OpenAI) -> None:
    assert [one.id for one in ai.models.list()] == ["toy"]
    assert ai.models.retrieve("toy").owned_by == "seetell"


def test_embeddings(ai: openai.OpenAI, model: Model) -> None:
    texts = ["a dog", "一只狗"]
    found = ai.embeddings.create(model="toy", input=texts)
    rows = np.array([one.embedding for one in found.data], np.float32)
    np.testing.assert_allclose(rows, model.embed_texts(texts), atol=1e-6)
    photo = ai.embeddings.create(
        model="toy", input=data_url(jpeg(5)), extra_body={"modality": "image"}, encoding_format="float"
    )
    np.testing.assert_allclose(photo.data[0].embedding, model.embed_images(jpeg(5))[0], atol=1e-6)
    assert found.usage.prompt_tokens == found.usage.total_tokens == sum(model.count_tokens(texts)) > 4
    assert photo.usage.total_tokens == 0


def test_an_address_that_leads_inside_is_refused(client: httpx2.Client) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(0.2)
        port = silent.getsockname()[1]
        for host in ("127.0.0.1", "localhost", "2130706433", "[::ffff:127.0.0.1]"):
            answer = client.post("/v1/caption", json={"photo": f"http://{host}:{port}/a.png"})
            error = answer.json()["error"]
            assert (answer.status_code, error["type"], error["param"]) == (400, "url_refused", "photo")
        with pytest.raises(TimeoutError):
            silent.accept()


def test_a_server_that_fetches_nothing(serve: Serve) -> None:
    answer = serve(reach=None).post("/v1/caption", json={"photo": "https://example.com/a.png"})
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "usage")


def test_a_server_that_may_fetch_inside(serve: Serve, model: Model) -> None:
    from tests.media.test_fetch import listening, ok

    client = serve(reach="any")
    with listening({"/a.png": ok(jpeg(7))}) as inside:
        answer = client.post("/v1/caption", json={"photo": f"http://127.0.0.1:{inside.port}/a.png"})
    assert answer.json()["text"] == model.caption(jpeg(7)).text
    assert base64.b64encode(jpeg(7)) not in answer.content


def test_fetched_photos_are_bounded_together(serve: Serve) -> None:
    """A short body can name many large photos."""
    from tests.media.test_fetch import listening, ok

    size_bytes = len(jpeg(1))
    client = serve(reach="any", limits={"body_bytes": 10_000, "bodies_bytes": 12_000})
    with listening({"/a.png": ok(jpeg(1) + bytes(3000 - size_bytes))}) as inside:
        url = f"http://127.0.0.1:{inside.port}/a.png"

        def ask(count: int) -> httpx2.Response:
            parts = [{"type": "image_url", "image_url": {"url": url}}] * count
            body = {"messages": [{"role": "user", "content": parts}]}
            assert len(str(body)) < 2000
            return client.post("/v1/chat/completions", json=body)

        assert ask(3).status_code == 200
        refused = ask(4)
        assert refused.status_code == 413
        assert refused.json()["error"]["type"] == "too_large"
        assert refused.json()["error"]["param"] == "messages"
        images = {"input": [url] * 4, "modality": "image"}
        assert client.post("/v1/embeddings", json=images).status_code == 413
        # Nothing is held for what has ended.
        assert [ask(3).status_code for _ in range(3)] == [200] * 3


def test_fetched_photos_of_all_requests_are_bounded_together(serve: Serve, engine: SlowEngine) -> None:
    from tests.media.test_fetch import listening, ok

    client = serve(reach="any", limits={"bodies_bytes": 10_000})
    with listening({"/a.png": ok(jpeg(1) + bytes(6000 - len(jpeg(1))))}) as inside:
        body = {"photo": f"http://127.0.0.1:{inside.port}/a.png"}
        engine.go.clear()
        engine.began.clear()
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(client.post, "/v1/caption", json=body)
            assert engine.began.wait(20)
            refused = client.post("/v1/caption", json=body)
            engine.go.set()
            assert first.result(30).status_code == 200
        assert (refused.status_code, refused.json()["error"]["type"]) == (429, "queue_full")
        assert client.post("/v1/caption", json=body).status_code == 200
