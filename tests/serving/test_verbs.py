"""The verbs over HTTP give what the facade gives, and say what is wrong with a request."""

from __future__ import annotations

import base64
import json
import struct
import time
import zlib
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any
from urllib.parse import quote

import httpx2
import numpy as np
import pytest

from seetell.bundle.tokenizer import Tokenizer
from seetell.serving.app import App
from seetell.serving.limits import Limits
from seetell.serving.model_pool import Source
from seetell.tasks.model import Model
from tests.runtime.toy import ToyEngine, make_manifest
from tests.serving.conftest import Serve, SlowEngine, data_url, jpeg, listening


@pytest.fixture(scope="module")
def model(tokenizer: Tokenizer) -> Model:
    engine = SlowEngine(tokenizer.vocab_size)
    return Model(make_manifest(engine), tokenizer, engine, batch_size=8)


@pytest.fixture(scope="module")
def client(model: Model) -> Iterator[httpx2.Client]:
    """One server for all tests of this file: none of them changes it."""
    app = App([Source("toy", 1, lambda: model)], limits=Limits(drain_s=0))
    with listening(app) as address, httpx2.Client(base_url=address, timeout=30) as client:
        while client.get("/ready").status_code != 200:
            time.sleep(0.05)
        yield client


def png_bomb() -> bytes:
    """A whole PNG of 900 million white pixels in a few hundred kilobytes."""
    edge = 30_000
    rows = zlib.compress((b"\0" + b"\xff" * (edge // 8)) * edge, 1)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", edge, edge, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def plain(result: Any) -> Any:
    return json.loads(json.dumps(asdict(result)))


def test_caption(client: httpx2.Client, model: Model) -> None:
    given = {"photo": data_url(jpeg(1)), "language": "zh", "max_tokens": 5, "beams": 2}
    got = client.post("/v1/caption", json=given)
    options = model.generation_options(max_tokens=5, beams=2)
    assert got.status_code == 200
    assert got.json() == pytest.approx(plain(model.caption(jpeg(1), language="zh", options=options)))


def test_a_photo_in_percent_encoding(client: httpx2.Client, model: Model) -> None:
    given = {"photo": f"data:image/png,{quote(jpeg(1))}"}
    assert client.post("/v1/caption", json=given).json()["text"] == model.caption(jpeg(1)).text


def test_ask(client: httpx2.Client, model: Model) -> None:
    given = {"photo": data_url(jpeg(2)), "question": "is there a dog?", "answers": ["yes", "no"], "top": 2}
    want = plain(model.ask(jpeg(2), "is there a dog?", answers=["yes", "no"], top=2))
    assert client.post("/v1/ask", json=given).json() == want


def test_alternatives_that_are_written_are_few(
    serve: Serve, client: httpx2.Client, tokenizer: Tokenizer
) -> None:
    """Each is a beam of the search."""
    given = {"photo": data_url(jpeg(2)), "question": "what is this?"}
    engine = SlowEngine(tokenizer.vocab_size)
    writer = Model(make_manifest(engine, answers=()), tokenizer, engine)
    writes = serve(sources=[Source("writer", 1, lambda: writer)])
    refused = writes.post("/v1/ask", json={**given, "top": 11})
    assert (refused.status_code, refused.json()["error"]["param"]) == (422, "top")
    assert len(writes.post("/v1/ask", json={**given, "top": 10}).json()["alternatives"]) > 5
    assert writes.post("/v1/ask", json={**given, "top": 100, "answers": ["yes", "no"]}).status_code == 200
    assert client.post("/v1/ask", json={**given, "top": 100}).status_code == 200


def test_match(client: httpx2.Client, model: Model) -> None:
    texts = ["a dog", "一只狗"]
    got = client.post("/v1/match", json={"photo": data_url(jpeg(3)), "texts": texts}).json()
    assert got == {"matches": [plain(one) for one in model.match(jpeg(3), texts)]}


def test_classify(client: httpx2.Client, model: Model) -> None:
    given = {"photo": data_url(jpeg(4)), "labels": ["dog", "bus"]}
    assert client.post("/v1/classify", json=given).json() == plain(model.classify(jpeg(4), ["dog", "bus"]))
    own = client.post("/v1/classify", json={"photo": data_url(jpeg(4))}).json()
    assert own == plain(model.classify(jpeg(4)))


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_embeddings(client: httpx2.Client, model: Model, encoding: str) -> None:
    def vectors(given: dict[str, Any]) -> np.ndarray[Any, Any]:
        answer = client.post("/v1/embeddings", json={**given, "encoding_format": encoding}).json()
        assert [one["index"] for one in answer["data"]] == list(range(len(answer["data"])))
        rows = [one["embedding"] for one in answer["data"]]
        if encoding == "base64":
            return np.stack([np.frombuffer(base64.b64decode(row), "<f4") for row in rows])
        return np.array(rows, np.float32)

    texts = ["a dog", "two men ride bikes", "一个男人"]
    np.testing.assert_allclose(vectors({"input": texts}), model.embed_texts(texts), atol=1e-6)
    photos = [jpeg(5), jpeg(6)]
    found = vectors({"input": [data_url(one) for one in photos], "modality": "image"})
    np.testing.assert_allclose(found, model.embed_images(photos), atol=1e-6)


def test_models(client: httpx2.Client) -> None:
    listed = client.get("/v1/models").json()["data"]
    assert [(one["id"], one["loaded"]) for one in listed] == [("toy", True)]
    assert client.get("/v1/models/toy").json() == listed[0]
    assert client.get("/v1/models/gpt-4o").json()["error"]["type"] == "model_not_found"


PHOTO = data_url(jpeg())
WRONG: list[tuple[str, dict[str, Any], int, str, str | None]] = [
    ("caption", {}, 422, "invalid_request", "photo"),
    ("caption", {"photo": PHOTO, "beems": 3}, 422, "invalid_request", "beems"),
    ("caption", {"photo": PHOTO, "beams": "3"}, 422, "invalid_request", "beams"),
    ("caption", {"photo": PHOTO, "beams": 10_000}, 422, "invalid_request", "beams"),
    ("caption", {"photo": PHOTO, "language": "fr"}, 400, "usage", None),
    ("caption", {"photo": PHOTO, "model": "other"}, 404, "model_not_found", "model"),
    ("caption", {"photo": PHOTO, "model": " toy"}, 404, "model_not_found", "model"),
    ("caption", {"photo": "/etc/passwd"}, 400, "usage", "photo"),
    ("caption", {"photo": "file:///etc/passwd"}, 400, "usage", "photo"),
    ("caption", {"photo": "data:image/png;base64,@@@"}, 400, "unreadable", "photo"),
    ("caption", {"photo": "data:text/html,<p>"}, 400, "not_an_image", "photo"),
    ("caption", {"photo": "data:image/png," + "%00" * 30_000}, 413, "too_large", "photo"),
    ("caption", {"photo": "data:image/png" + ";" * 5000 + ",x"}, 400, "unreadable", "photo"),
    ("caption", {"photo": data_url(b"no photo at all")}, 400, "not_an_image", "photo"),
    ("caption", {"photo": data_url(jpeg()[:60])}, 400, "truncated", "photo"),
    ("ask", {"photo": PHOTO, "question": "  "}, 422, "invalid_request", "question"),
    ("ask", {"photo": PHOTO, "question": "x" * 5000}, 422, "invalid_request", "question"),
    ("match", {"photo": PHOTO, "texts": []}, 422, "invalid_request", "texts"),
    ("match", {"photo": PHOTO, "texts": ["a"] * 300}, 422, "invalid_request", "texts"),
    ("embeddings", {"input": ["a dog", " "]}, 422, "invalid_request", "input.1"),
    ("embeddings", {"input": "a dog", "dimensions": 3}, 400, "invalid_request", "dimensions"),
    ("embeddings", {"input": ["a dog"], "modality": "image"}, 400, "usage", "input"),
]


@pytest.mark.parametrize(("path", "body", "status", "kind", "param"), WRONG)
def test_what_is_wrong_is_said(
    client: httpx2.Client, path: str, body: dict[str, Any], status: int, kind: str, param: str | None
) -> None:
    answer = client.post(f"/v1/{path}", json=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["param"]) == (status, kind, param), error
    assert error["message"] and "\n" not in error["message"] and "<bytes>" not in error["message"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("text", ["Describe it", "is there a dog?"])
def test_a_model_that_cannot_is_an_error_and_no_answer(
    serve: Serve, tokenizer: Tokenizer, text: str, stream: bool
) -> None:
    engine = ToyEngine(tokenizer.vocab_size, without=("text_decoder", "decoder_memory", "fusion_encoder"))
    embeds = Model(make_manifest(engine, answers=()), tokenizer, engine)
    client = serve(sources=[Source("embeds", 1, lambda: embeds)])
    parts = [{"type": "text", "text": text}, {"type": "image_url", "image_url": PHOTO}]
    talk = {"messages": [{"role": "user", "content": parts}], "stream": stream}
    answer = client.post("/v1/chat/completions", json=talk)
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "task_unavailable")


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"photo": 1e999}', b"[" * 100_000]
)
def test_a_body_that_is_no_request(client: httpx2.Client, body: bytes) -> None:
    answer = client.post("/v1/caption", content=body, headers={"content-type": "application/json"})
    assert 400 <= answer.status_code < 500
    assert set(answer.json()["error"]) == {"type", "message", "param"}


def test_a_decompression_bomb_is_refused(client: httpx2.Client) -> None:
    answer = client.post("/v1/caption", json={"photo": data_url(png_bomb())})
    assert answer.status_code == 413
    assert answer.json()["error"]["type"] == "too_large"
    assert client.post("/v1/caption", json={"photo": PHOTO}).status_code == 200


def test_unknown_pages_and_methods(client: httpx2.Client) -> None:
    assert client.get("/v1/nothing").json()["error"]["type"] == "not_found"
    assert client.get("/v1/caption").json()["error"]["type"] == "method_not_allowed"
