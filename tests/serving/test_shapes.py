"""Requests of a shape that is nearly right: what is meant is taken, and what is wrong is said of that shape,
where it is."""

from __future__ import annotations

import gzip
import io
import json
import logging
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest
from PIL import Image

from seetell.bundle.tokenizer import Tokenizer
from seetell.serving.app import App
from seetell.serving.limits import Limits
from seetell.serving.logs import JsonLines
from seetell.serving.model_pool import Source
from seetell.tasks.model import Model
from tests.runtime.toy import CONTEXT, make_manifest, make_tokenizer
from tests.serving.conftest import SlowEngine, data_url, jpeg, listening

URL = data_url(jpeg(1))
PHOTO = {"type": "image_url", "image_url": {"url": URL}}
TEXT = {"type": "text", "text": "Describe it"}
RIGHT_TEXT = '{"type": "text", "text": "..."}'
RIGHT_PHOTO = '{"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,..."}}'


@pytest.fixture(scope="module")
def model(tokenizer: Tokenizer) -> Model:
    engine = SlowEngine(tokenizer.vocab_size)
    return Model(make_manifest(engine), tokenizer, engine, batch_size=8)


@pytest.fixture(scope="module")
def client(model: Model) -> Iterator[httpx2.Client]:
    """One server for all tests of this file: none of them changes it."""
    app = App([Source("toy", 1, lambda: model)], limits=Limits(drain_s=0))
    with listening(app) as address, httpx2.Client(base_url=address, timeout=60) as client:
        while client.get("/ready").status_code != 200:
            time.sleep(0.05)
        yield client


def chat(client: httpx2.Client, *messages: dict[str, Any], **more: Any) -> httpx2.Response:
    return client.post("/v1/chat/completions", json={"messages": list(messages), **more})


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


WRONG_CONTENT: list[tuple[Any, str, str]] = [
    (["Describe it", PHOTO], "content.0", f"a text within a list is {RIGHT_TEXT}"),
    ([{"text": "Hi"}, PHOTO], "content.0", f"it has no type; a part is {RIGHT_TEXT} or {RIGHT_PHOTO}"),
    ([{"type": "input_text", "text": "Hi"}, PHOTO], "content.0", f"a text is {RIGHT_TEXT} here"),
    ([TEXT, {"type": "input_image", "image_url": URL}], "content.1", f"a photo is {RIGHT_PHOTO} here"),
    ([TEXT, {"type": "image", "source": {}}], "content.1", f"a photo is {RIGHT_PHOTO} here"),
    (
        [{"type": "input_audio", "input_audio": {}}],
        "content.0",
        f"a part is {RIGHT_TEXT} or {RIGHT_PHOTO}; other kinds are not read",
    ),
    ([TEXT, {"type": "image_url", "image_url": 5}], "content.1.image_url", f"a photo is {RIGHT_PHOTO}"),
    ([TEXT, {"type": "image_url", "image_url": {}}], "content.1.image_url.url", "Field required"),
    ([{"type": "text", "text": 5}, PHOTO], "content.0.text", "Input should be a valid string"),
    (PHOTO, "content", "content is a text or a list of parts; put the part in a list: [{...}]"),
    (5, "content", f"content is a text or a list of parts, each {RIGHT_TEXT} or {RIGHT_PHOTO}"),
    (
        [PHOTO, {"type": "text", "text": "x" * 4001}],
        "content",
        "the last text has 4,001 characters, more than 4,000",
    ),
    ("x" * 4001, "content", "the last text has 4,001 characters, more than 4,000"),
    ([PHOTO] * 65, "content", "65 photos, more than the 64 of a request; send several requests"),
]


@pytest.mark.parametrize(("content", "place", "message"), WRONG_CONTENT)
def test_the_fault_is_that_of_the_part_meant(
    client: httpx2.Client, content: Any, place: str, message: str
) -> None:
    answer = chat(client, {"role": "system", "content": "Be brief."}, user(content))
    error = answer.json()["error"]
    param = f"messages.1.{place}"
    assert (answer.status_code, error["param"]) == (422, param)
    assert error["message"].removeprefix(f"{param}: ") == message


def test_the_address_of_a_photo_may_stand_alone(client: httpx2.Client, model: Model) -> None:
    parts = [TEXT, {"type": "image_url", "image_url": URL}]
    content = chat(client, user(parts)).json()["choices"][0]["message"]["content"]
    assert content == model.caption(jpeg(1)).text


def test_64_photos_beside_texts(client: httpx2.Client, model: Model) -> None:
    parts = [TEXT, *({"type": "image_url", "image_url": data_url(jpeg(seed))} for seed in range(64)), TEXT]
    content = chat(client, user(parts)).json()["choices"][0]["message"]["content"]
    assert content == "\n".join(one.text for one in model.caption([jpeg(seed) for seed in range(64)]))


def test_every_chunk_says_whether_its_choice_is_done(client: httpx2.Client) -> None:
    answer = chat(client, user([TEXT, PHOTO]), stream=True)
    *events, done, after = answer.text.split("\n\n")
    assert (done, after) == ("data: [DONE]", "")
    choices = [json.loads(event.removeprefix("data: "))["choices"][0] for event in events]
    assert [choice["finish_reason"] for choice in choices[:-1]] == [None] * (len(choices) - 1)
    assert choices[-1]["finish_reason"] in ("stop", "length") and choices[-1]["delta"] == {}


def test_a_photo_that_fails_fails_alone(client: httpx2.Client) -> None:
    """Also of those that run together with it."""

    def status(place: int) -> int:
        data = jpeg(place) if place % 4 else jpeg(place)[:60]
        return client.post("/v1/caption", json={"photo": data_url(data)}).status_code

    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(status, range(16)))
    assert found == [200 if place % 4 else 400 for place in range(16)]
    assert status(1) == 200


def test_what_has_no_effect_is_not_bounded(client: httpx2.Client, model: Model) -> None:
    """Long instructions, and a talk of hundreds of turns, one of them over a text that is long."""
    earlier = [user("x" * 50_000), {"role": "assistant", "content": "y" * 50_000}] * 200
    last = user([{"type": "text", "text": "is there a dog?"}, PHOTO])
    called = {"role": "function", "name": "f", "content": "{}"}
    answer = chat(client, {"role": "system", "content": "Be brief. " * 2000}, *earlier, called, last)
    assert answer.status_code == 200, answer.text
    assert model.ask(jpeg(1), "is there a dog?").answer in answer.json()["choices"][0]["message"]["content"]


def test_millions_of_parts_are_not_read(client: httpx2.Client) -> None:
    answer = chat(client, user([{}] * 9000), user([{}] * 9000))
    assert answer.status_code == 422
    assert answer.json()["error"]["message"] == "messages: 18000 parts in all messages, more than 16384"


def embedded(client: httpx2.Client, **given: Any) -> httpx2.Response:
    return client.post("/v1/embeddings", json=given)


TOKENS = "numbers of tokens are not read, for each model has its own; send texts"
WRONG_INPUT: list[tuple[dict[str, Any], str, str]] = [
    ({"input": [[1, 2], [3]]}, "input", TOKENS),
    ({"input": [1, 2, 3]}, "input", TOKENS),
    ({"input": ["a dog"] * 2049}, "input", "List should have at most 2048 items after validation, not 2049"),
    (
        {"input": []},
        "input",
        'List should have at least 1 item after validation, not 0; send "input": ["a dog", "一只狗"]',
    ),
    ({"input": ["a dog", 5]}, "input.1", "Input should be a valid string"),
    ({"input": ["a dog", "x" * 4001]}, "input.1", "4001 characters, more than 4000"),
    (
        {"input": {"image": URL}},
        "input",
        "input is a text or a list of texts; with modality: image, of photos' addresses",
    ),
    ({"input": [URL] * 65, "modality": "image"}, "input", "65 photos, more than the 64 of a request"),
    (
        {"input": "a dog", "input_type": "query"},
        "input_type",
        "there is no such field; there are model, input, modality, encoding_format, dimensions, user",
    ),
]


@pytest.mark.parametrize(("given", "param", "message"), WRONG_INPUT)
def test_the_fault_is_that_of_the_input_meant(
    client: httpx2.Client, given: dict[str, Any], param: str, message: str
) -> None:
    answer = embedded(client, **given)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (422, param)
    assert error["message"].removeprefix(f"{param}: ") == message


def test_2048_texts_are_embedded(client: httpx2.Client, model: Model) -> None:
    """More than may wait for the model at once."""
    texts = [f"a dog and {place} cats" for place in range(2048)]
    found = embedded(client, input=texts).json()
    assert [one["index"] for one in found["data"]] == list(range(2048))
    assert found["usage"]["prompt_tokens"] == sum(model.count_tokens(texts))
    for place in (0, 255, 256, 2047):
        want = model.embed_texts(texts[place])[0]
        assert found["data"][place]["embedding"] == pytest.approx(want.tolist(), abs=1e-6)


def test_texts_whose_ends_are_not_read_are_named(client: httpx2.Client) -> None:
    tokens = len(make_tokenizer().encode_words("dog"))
    whole = " ".join(["dog"] * ((CONTEXT - 2) // tokens))
    assert len(make_tokenizer().encode_words(whole)) == CONTEXT - 2
    found = embedded(client, input=["a dog", whole, f"{whole} cat", "a dog", whole + " bus" * 90]).json()
    assert found["cut"] == [2, 4]
    assert found["data"][2]["embedding"] == found["data"][1]["embedding"] == found["data"][4]["embedding"]
    assert embedded(client, input=whole).json()["cut"] == []


@pytest.mark.parametrize(
    ("path", "given"),
    [
        (
            "embeddings",
            {"input": "a dog", "encoding_format": None, "modality": None, "dimensions": None, "user": None},
        ),
        ("caption", {"photo": URL, "beams": None, "prompt": None, "model": None}),
        ("ask", {"photo": URL, "question": "is there a dog?", "top": None, "answers": None}),
        ("classify", {"photo": URL, "labels": None}),
        ("chat/completions", {"messages": [user([PHOTO])], "n": None, "tools": None, "stop": None}),
    ],
)
def test_null_is_what_is_left_out(client: httpx2.Client, path: str, given: dict[str, Any]) -> None:
    got = client.post(f"/v1/{path}", json=given)
    without = {name: value for name, value in given.items() if value is not None}
    want = client.post(f"/v1/{path}", json=without).json()
    assert got.status_code == 200, got.text
    ours = {"id", "created"}  # of each answer its own
    assert {name: value for name, value in got.json().items() if name not in ours} == {
        name: value for name, value in want.items() if name not in ours
    }


@pytest.mark.parametrize(
    ("body", "kind", "status", "message"),
    [
        (b'{"photo": "x"}', None, 415, "send JSON, and the header Content-Type: application/json with it"),
        (b'{"photo": "x"}', "text/plain", 415, "send JSON, and the header Content-Type: application/json"),
        (b"", None, 422, 'the body is empty; send {"photo": "data:image/jpeg;base64,..."'),
        (b"[]", "application/json", 422, "the body: it is to be a JSON object, {...}"),
        (b"{'photo': 1}", "application/json", 422, "the body is no JSON"),
        (b'{"photo": null}', "application/json", 422, "photo: it is missing; send"),
        (b"\x80\x81", "application/json", 422, "the body is no JSON in UTF-8"),
    ],
)
def test_a_body_of_another_kind(
    client: httpx2.Client, body: bytes, kind: str | None, status: int, message: str
) -> None:
    answer = client.post("/v1/caption", content=body, headers={} if kind is None else {"content-type": kind})
    assert answer.status_code == status
    assert answer.json()["error"]["message"].startswith(message)


def test_a_packed_body_is_told_so(client: httpx2.Client) -> None:
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    answer = client.post(
        "/v1/caption", content=gzip.compress(json.dumps({"photo": URL}).encode()), headers=headers
    )
    assert answer.status_code == 415
    assert answer.json()["error"]["message"].startswith("the body is packed (Content-Encoding)")


def test_what_was_sent_is_not_logged(client: httpx2.Client, caplog: pytest.LogCaptureFixture) -> None:
    """Nor repeated: a file sent as a form is somebody's photo."""
    caplog.set_level(logging.INFO, "seetell.serving")
    answer = client.post("/v1/caption", files={"photo": b"\x80\x81 SECRET \xff"})
    assert answer.status_code == 400 and "SECRET" not in answer.text
    lines = [JsonLines().format(record) for record in list(caplog.records)]
    assert lines and not [line for line in lines if "SECRET" in line or "traceback" in line]


HALF = "\ud800"
SURROGATES: list[tuple[str, dict[str, Any], str]] = [
    ("ask", {"photo": URL, "question": HALF}, "question"),
    ("match", {"photo": URL, "texts": ["a dog", HALF]}, "texts.1"),
    ("classify", {"photo": URL, "labels": [HALF, "a dog"]}, "labels.0"),
    ("embeddings", {"input": HALF}, "input"),
    ("embeddings", {"input": ["a dog", HALF]}, "input.1"),
    ("chat/completions", {"messages": [user([PHOTO, {"type": "text", "text": HALF}])]}, "messages.0.content"),
    ("chat/completions", {"messages": [user([PHOTO]), user(HALF)]}, "messages.1.content"),
]


@pytest.mark.parametrize(("path", "given", "param"), SURROGATES)
def test_half_a_surrogate_pair_is_no_text(
    client: httpx2.Client, path: str, given: dict[str, Any], param: str
) -> None:
    headers = {"content-type": "application/json"}
    answer = client.post(f"/v1/{path}", content=json.dumps(given).encode(), headers=headers)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (422, param), error
    assert "it is no text, for it holds half of a surrogate pair" in error["message"]


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        (
            "POST",
            "/chat/completions",
            404,
            "no such address; /docs lists those there are, OpenAI's among them",
        ),
        (
            "POST",
            "/v1/v1/embeddings",
            404,
            "no such address; /docs lists those there are, OpenAI's among them",
        ),
        ("GET", "/v1/chat/completions", 405, "this address answers POST only"),
        ("POST", "/v1/models", 405, "this address answers GET only"),
    ],
)
def test_an_address_that_is_nearly_right(
    client: httpx2.Client, method: str, path: str, status: int, message: str
) -> None:
    answer = client.request(method, path)
    assert (answer.status_code, answer.json()["error"]["message"][: len(message)]) == (status, message)


@pytest.mark.parametrize("size", [(500, 19), (1, 1), (4000, 1), (1, 4000)])
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1", "RGBA", "LA", "I;16"])
def test_photos_of_any_shape_are_answered(client: httpx2.Client, size: tuple[int, int], mode: str) -> None:
    buffer = io.BytesIO()
    Image.new(mode, size).save(buffer, "PNG")
    photo = data_url(buffer.getvalue())
    assert client.post("/v1/caption", json={"photo": photo}).status_code == 200
    vector = embedded(client, input=[URL, photo, URL], modality="image").json()["data"]
    assert vector[0]["embedding"] == vector[2]["embedding"] and len(vector) == 3
