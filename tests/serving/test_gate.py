"""Keys, sizes, ids and log lines: what every request passes."""

from __future__ import annotations

import asyncio
import http.client
import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any, cast

import httpx2
import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from seetell.core.errors import DeadlineExceeded, StorageError
from seetell.serving.gate import Gate
from seetell.serving.limits import Limits
from seetell.serving.logs import JsonLines
from seetell.serving.state import Serving
from tests.serving.conftest import Serve, SlowEngine, data_url, jpeg

PHOTO = data_url(jpeg())


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def test_keys(serve: Serve) -> None:
    client = serve(keys=["one", "two"])
    for path in ("/health", "/ready", "/openapi.json"):
        assert client.get(path).status_code == 200
    refused = client.get("/v1/models")
    assert (refused.status_code, refused.json()["error"]["type"]) == (401, "unauthorized")
    assert refused.headers["www-authenticate"] == "Bearer"
    for wrong in ("three", "on", "onee", "one,two"):
        assert client.get("/v1/models", headers=bearer(wrong)).status_code == 401
    for header in ("Basic one", "Bearer", "one"):
        assert client.get("/v1/models", headers={"authorization": header}).status_code == 401
    for right in ("one", "two"):
        assert client.get("/v1/models", headers=bearer(right)).status_code == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("evil.example", 403),
        ("evil.example.:8000", 403),
        ("127.0.0.1.evil.example:8000", 403),
        ("127.0.0.1:8000", 200),
        ("[::1]:8000", 200),
        ("localhost:8000", 200),
        ("photos.localhost", 200),
        ("seetell:8000", 200),
    ],
)
def test_a_web_page_cannot_ask_in_its_own_name(serve: Serve, host: str, status: int) -> None:
    """A name of theirs that leads to this machine makes their page of our origin. A key is not theirs."""
    open_, closed = serve(), serve(keys=["one"])
    assert open_.get("/v1/models", headers={"host": host}).status_code == status
    assert open_.get("/health", headers={"host": host}).status_code == 200
    assert closed.get("/v1/models", headers={"host": host, **bearer("one")}).status_code == 200


@pytest.mark.parametrize(
    ("kind", "status", "message"),
    [
        ("text/plain", 415, "send JSON, and the header Content-Type: application/json"),
        (
            "application/x-www-form-urlencoded",
            415,
            "send JSON, and the header Content-Type: application/json",
        ),
        ("multipart/form-data; boundary=x", 403, "a form from a web page of another origin"),
    ],
)
def test_a_web_page_cannot_send_a_form(client: httpx2.Client, kind: str, status: int, message: str) -> None:
    """What a browser sends to other origins without asking them is not taken."""
    body = json.dumps({"photo": PHOTO}).encode()
    headers = {"content-type": kind, "origin": "http://evil.example"}
    answer = client.post("/v1/caption", content=body, headers=headers)
    assert answer.status_code == status and message in answer.json()["error"]["message"]
    asked = client.options("/v1/caption", headers={"origin": "http://evil.example"})
    assert asked.status_code == 405 and "access-control-allow-origin" not in asked.headers


def test_a_body_without_a_key_is_not_read(serve: Serve) -> None:
    client = serve(keys=["one"], limits={"body_bytes": 1000})
    answer = client.post("/v1/caption", content=b"x" * 5000)
    assert answer.status_code == 401


def test_request_ids(client: httpx2.Client) -> None:
    own = client.get("/health").headers["x-request-id"]
    assert len(own) == 32 and own != client.get("/health").headers["x-request-id"]
    assert client.get("/health", headers={"x-request-id": "a-1.b"}).headers["x-request-id"] == "a-1.b"
    wrong = client.get("/health", headers={"x-request-id": 'x" {evil}'}).headers["x-request-id"]
    assert "evil" not in wrong


def test_a_body_too_large_by_its_header(serve: Serve) -> None:
    client = serve(limits={"body_bytes": 1000})
    answer = client.post("/v1/caption", content=b"x" * 1001)
    assert (answer.status_code, answer.json()["error"]["type"]) == (413, "too_large")
    assert answer.headers["connection"] == "close"
    assert client.get("/health").status_code == 200


def test_a_body_too_large_without_a_length(serve: Serve) -> None:
    client = serve(limits={"body_bytes": 1000})

    def pieces() -> Iterator[bytes]:
        for _ in range(20):
            yield b"x" * 100

    assert client.post("/v1/caption", content=pieces()).status_code == 413
    assert client.get("/health").status_code == 200


def test_bodies_together_are_bounded(serve: Serve) -> None:
    client = serve(limits={"bodies_bytes": 3000})
    answer = client.post("/v1/caption", content=b"x" * 4000)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")


@pytest.mark.parametrize("path", ["/", "/health", "/ready", "/docs", "/openapi.json"])
def test_who_has_no_key_cannot_fill_the_memory(serve: Serve, path: str) -> None:
    client = serve(keys=["one"], limits={"bodies_bytes": 3000})
    with ExitStack() as held:
        for _ in range(4):  # each says that it sends more, and sends as much as is taken
            raw = held.enter_context(_raw(client))
            raw.sendall(b"POST %b HTTP/1.1\r\nhost: a\r\ncontent-length: 1024\r\n\r\n" % path.encode())
            raw.sendall(b"x" * 1000)
        time.sleep(0.2)
        answer = client.post("/v1/match", headers=bearer("one"), content=b"x" * 2900)
        assert answer.status_code == 415
    assert client.post(path, content=b"x" * 1025).status_code == 413

    def pieces() -> Iterator[bytes]:
        for _ in range(11):
            yield b"x" * 100

    assert client.post(path, content=pieces()).status_code == 413
    assert client.post(path, content=b"x" * 1024).status_code == 405


def _raw(client: httpx2.Client) -> socket.socket:
    url = client.base_url
    return socket.create_connection((url.host, url.port or 80), timeout=20)


def _statuses(caplog: pytest.LogCaptureFixture) -> list[int]:
    lines = [getattr(record, "fields", {}) for record in list(caplog.records)]
    return [line["status"] for line in lines if "status" in line]


def test_half_a_body(serve: Serve) -> None:
    client = serve(limits={"body_timeout_s": 0.3})
    with _raw(client) as half:
        half.sendall(b"POST /v1/caption HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n{")
        answer = half.recv(65536)
    assert answer.startswith(b"HTTP/1.1 408")
    with _raw(client) as gone:
        gone.sendall(b"POST /v1/caption HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n{")
    assert client.post("/v1/caption", json={"photo": PHOTO}).status_code == 200


@pytest.mark.parametrize("half", [b"", b"POST /v1/cap"])
@pytest.mark.parametrize("requests_before", [0, 1])
def test_half_a_head(serve: Serve, half: bytes, requests_before: int) -> None:
    client = serve(limits={"head_timeout_s": 0.3})
    with _raw(client) as raw:
        for _ in range(requests_before):
            raw.sendall(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
            assert raw.recv(65536)
        raw.sendall(half or b"G")
        while raw.recv(65536):  # until it is closed by the server; a timeout fails
            pass


def test_a_connection_may_be_idle_between_requests(serve: Serve) -> None:
    url = serve(limits={"head_timeout_s": 0.2}).base_url
    kept = http.client.HTTPConnection(url.host, url.port, timeout=20)
    for _ in range(2):
        kept.request("GET", "/health")
        assert kept.getresponse().read() == b'{"status":"ok"}'
        first = kept.sock
        time.sleep(0.5)
    assert kept.sock is first, "one connection"
    kept.close()


def test_the_deadline(serve: Serve, engine: SlowEngine) -> None:
    client = serve(limits={"deadline_s": 0.3})
    engine.go.clear()
    answer = client.post("/v1/caption", json={"photo": PHOTO})
    engine.go.set()
    assert (answer.status_code, answer.json()["error"]["type"]) == (504, "timeout")
    assert client.post("/v1/caption", json={"photo": PHOTO}).status_code == 200


def test_a_full_queue(serve: Serve, engine: SlowEngine) -> None:
    client = serve(limits={"queue": 1}, workers=1)
    engine.go.clear()
    engine.began.clear()
    answers: list[int] = []

    def one() -> None:
        answers.append(client.post("/v1/caption", json={"photo": PHOTO}).status_code)

    runs = threading.Thread(target=one)
    runs.start()
    assert engine.began.wait(20)
    waits = threading.Thread(target=one)
    waits.start()
    until = time.monotonic() + 20
    while "seetell_queue_items 1.0" not in client.get("/metrics").text:
        assert time.monotonic() < until
        time.sleep(0.01)
    refused = client.post("/v1/caption", json={"photo": PHOTO})
    assert (refused.status_code, refused.json()["error"]["type"]) == (429, "queue_full")
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    engine.go.set()
    runs.join()
    waits.join()
    assert answers == [200, 200]


def test_a_client_that_goes_away_is_not_answered(
    serve: Serve, engine: SlowEngine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "seetell.serving")
    client = serve(workers=1)
    engine.go.clear()
    engine.began.clear()
    body = json.dumps({"photo": PHOTO}).encode()
    head = (
        b"POST /v1/caption HTTP/1.1\r\nhost: x\r\n"
        b"content-type: application/json\r\ncontent-length: %d\r\n\r\n"
    )
    with _raw(client) as first:
        first.sendall(head % len(body) + body)
        assert engine.began.wait(20)
        for _ in range(5):  # these wait behind it, and go away
            with _raw(client) as other:
                other.sendall(head % len(body) + body)
        until = time.monotonic() + 20
        while _statuses(caplog).count(499) < 5:
            assert time.monotonic() < until
            time.sleep(0.01)
        seen = len(engine.rows)
        engine.go.set()
        assert first.recv(65536).startswith(b"HTTP/1.1 200")
    assert client.post("/v1/caption", json={"photo": data_url(jpeg(1))}).status_code == 200
    rows = [count for role, count in engine.rows[seen:] if role == "image_encoder"]
    assert rows == [1, 1], "the photos of clients that are gone were looked at"


def test_log_lines(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "seetell.serving")
    client = serve()
    client.post("/v1/caption", json={"photo": PHOTO}, headers={"x-request-id": "abc"})

    (line,) = [one for one in _requests(caplog) if one.get("request_id") == "abc"]
    assert line["event"] == "request" and line["level"] == "info"
    assert (line["status"], line["task"], line["model"], line["path"]) == (
        200,
        "caption",
        "toy",
        "/v1/caption",
    )
    assert line["duration_ms"] > 0 and line["body_bytes"] > 100
    assert "base64" not in json.dumps(_requests(caplog)), "photos are not logged"


class Book:
    """A watcher that keeps what it is told."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, int]] = []

    def ended(self, task: str, status: int, took_s: float) -> None:
        self.entries.append((task, status))


async def _through_the_gate(app: ASGIApp, book: Book) -> list[tuple[str, int]]:
    """What had been counted when the last of the answer was sent."""
    seen: list[tuple[str, int]] = []
    read = False

    async def receive() -> Message:
        nonlocal read
        if read:
            await asyncio.Event().wait()
        read = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            seen.extend(book.entries)

    serving = cast(Serving, SimpleNamespace(limits=Limits(), draining=False))
    scope = {"type": "http", "method": "GET", "path": "/health", "headers": []}
    await Gate(app, serving, watcher=book)(scope, receive, send)
    return seen


def test_who_has_an_answer_finds_it_counted() -> None:
    async def answers(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 404})
        await send({"type": "http.response.body", "body": b"no", "more_body": True})
        await send({"type": "http.response.body"})

    async def fails(scope: Scope, receive: Receive, send: Send) -> None:
        raise DeadlineExceeded("too late")

    book = Book()
    assert asyncio.run(_through_the_gate(answers, book)) == book.entries == [("", 404)]
    book = Book()
    assert asyncio.run(_through_the_gate(fails, book)) == book.entries == [("", 504)]


def _requests(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [json.loads(JsonLines().format(record)) for record in list(caplog.records)]


@pytest.mark.parametrize("error", [ZeroDivisionError("of ours"), StorageError("/secret/place: no room")])
def test_what_nobody_expected_is_answered_in_the_one_shape_and_logged_once(
    serve: Serve, engine: SlowEngine, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    caplog.set_level(logging.INFO, "seetell.serving")
    client = serve()
    engine.error = error
    answer = client.post("/v1/caption", json={"photo": PHOTO}, headers={"x-request-id": "abc"})
    detail = answer.json()["error"]
    assert answer.status_code == 500 and detail["message"].endswith("its log says why")
    assert "secret" not in answer.text and "of ours" not in answer.text
    engine.error = None
    assert client.post("/v1/caption", json={"photo": PHOTO}).status_code == 200
    (line,) = [one for one in _requests(caplog) if one.get("request_id") == "abc"]
    assert (line["level"], line["status"]) == ("error", 500)
    assert line["error"] == f"{type(error).__name__}: {error}"
    told = [one for one in caplog.records if one.name == "seetell.serving" and one.levelno == logging.ERROR]
    assert len(told) == 1 and told[0].exc_info


def test_an_error_after_the_answer_is_logged_with_its_id(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "seetell.serving")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"yes"})
        raise ZeroDivisionError("of ours")

    book = Book()
    asyncio.run(_through_the_gate(app, book))
    assert book.entries == [("", 200)]
    first, second = _requests(caplog)
    assert first["request_id"] == second["request_id"] and "error" not in first
    assert second["event"] == "request failed after its answer"
    assert second["error"] == "ZeroDivisionError: of ours"


def test_who_is_refused_takes_no_place(serve: Serve) -> None:
    """A client without a key that announces a body and sends none is read from for a moment."""
    client = serve(keys=["one"], limits={"requests": 1})
    with ExitStack() as refused:
        for _ in range(3):
            raw = refused.enter_context(_raw(client))
            raw.sendall(b"POST /v1/caption HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n")
            assert raw.recv(65536).startswith(b"HTTP/1.1 401")
        answer = client.post("/v1/caption", json={"photo": PHOTO}, headers=bearer("one"))
        assert answer.status_code == 200


def test_a_full_server_is_not_an_ill_one(serve: Serve, engine: SlowEngine) -> None:
    client = serve(limits={"requests": 1})
    engine.go.clear()
    engine.began.clear()
    runs = threading.Thread(target=client.post, args=("/v1/caption",), kwargs={"json": {"photo": PHOTO}})
    runs.start()
    assert engine.began.wait(20)
    assert client.get("/v1/models").status_code == 429
    assert [client.get(path).status_code for path in ("/health", "/ready")] == [200, 200]
    engine.go.set()
    runs.join()


def test_ready_only_after_an_inference(serve: Serve, engine: SlowEngine) -> None:
    engine.go.clear()
    states: list[int] = []

    def start() -> None:
        states.append(serve().get("/ready").status_code)

    thread = threading.Thread(target=start)
    thread.start()
    assert engine.began.wait(20)
    assert states == []
    engine.go.set()
    thread.join(30)
    assert states == [200]
