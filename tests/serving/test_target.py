"""What a request asks for, however clients and proxies write it."""

from __future__ import annotations

import json
import socket
from typing import Any

import httpx2
import pytest

from seetell.core.errors import UsageError
from seetell.serving.target import checked_root_path, understood
from tests.serving.conftest import Serve


def sent(client: httpx2.Client, *lines: str) -> tuple[int, dict[str, str], bytes]:
    """What is answered to a request of these lines: status, headers, and all that follows."""
    url = client.base_url
    with socket.create_connection((url.host, url.port or 80), timeout=30) as raw:
        raw.sendall("\r\n".join([*lines, "connection: close", "", ""]).encode("latin-1"))
        answer = b""
        while piece := raw.recv(65536):
            answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *rest = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
    return int(first.split()[1]), headers, body


def test_head_is_answered_where_get_is(client: httpx2.Client) -> None:
    for path in ("/", "/health", "/ready", "/docs", "/openapi.json", "/v1/models", "/v1/models/toy"):
        got = client.get(path, headers={"accept-encoding": "identity"})
        status, headers, body = sent(client, f"HEAD {path} HTTP/1.1", "host: localhost")
        assert (status, body) == (got.status_code, b"") == (200, b"")
        for name in ("content-type", "content-length"):
            assert headers[name] == got.headers[name]
    assert sent(client, "HEAD /v1/caption HTTP/1.1", "host: localhost")[0] == 405
    assert sent(client, "HEAD /v1/nothing HTTP/1.1", "host: localhost")[0] == 404


def test_head_needs_the_key_too(serve: Serve) -> None:
    client = serve(keys=["one"])
    assert sent(client, "HEAD /v1/models HTTP/1.1", "host: localhost")[0] == 401


@pytest.mark.parametrize("scheme", ["http", "HTTPS"])
def test_a_target_may_be_the_whole_address(client: httpx2.Client, scheme: str) -> None:
    status, _, body = sent(client, f"GET {scheme}://localhost:1/v1/models?a=b HTTP/1.1", "host: localhost")
    assert status == 200 and json.loads(body.split(b"\r\n")[-1] or body)["data"][0]["id"] == "toy"
    assert sent(client, f"GET {scheme}://localhost HTTP/1.1", "host: localhost")[0] == 200


@pytest.mark.parametrize(
    ("target", "host", "status"),
    [
        ("http://evil.example/v1/models", "localhost", 403),
        ("http://127.0.0.1/v1/models", "evil.example", 200),
        ("http://evil.example/health", "localhost", 200),
    ],
)
def test_the_host_of_a_whole_address_counts(
    client: httpx2.Client, target: str, host: str, status: int
) -> None:
    assert sent(client, f"GET {target} HTTP/1.1", f"host: {host}")[0] == status


def test_a_whole_address_opens_nothing(serve: Serve) -> None:
    client = serve(keys=["one"])
    for path in (
        "http://a/v1/models",
        "http:///v1/models",
        "/v1/models/",
        "//v1/models",
        "/health/../v1/models",
    ):
        assert sent(client, f"GET {path} HTTP/1.1", "host: localhost")[0] == 401


@pytest.mark.parametrize("path", ["/v1/models/", "//v1/models", "/v1//models", "/v1/models//"])
def test_slashes_too_many_are_let_be(client: httpx2.Client, path: str) -> None:
    """Clients put addresses together, and a redirect would lead past a proxy."""
    assert sent(client, f"GET {path} HTTP/1.1", "host: localhost")[0] == 200


def test_requests_sent_together_are_answered_in_order(client: httpx2.Client) -> None:
    """Over one connection, and with an empty key, which clients send where their user has set none."""
    lines = ["GET /health HTTP/1.1", "host: localhost", "", "GET /v1/models HTTP/1.1", "host: localhost"]
    status, _, rest = sent(client, *lines, "authorization: Bearer ")
    first, _, second = rest.partition(b"HTTP/1.1 ")
    assert (status, first, second[:3]) == (200, b'{"status":"ok"}', b"200")
    assert b'"id":"toy"' in second


def scope(path: str, raw: bytes | None = None) -> dict[str, Any]:
    return {"type": "http", "method": "GET", "path": path, "raw_path": raw or path.encode(), "headers": []}


@pytest.mark.parametrize(
    ("path", "want"),
    [
        ("/photos/v1/models", "/v1/models"),
        ("/v1/models", "/v1/models"),
        ("/photos", "/"),
        ("/photos/", "/"),
        ("/photoshop/v1", "/photoshop/v1"),
        ("/photos/photos/v1", "/photos/v1"),
    ],
)
def test_a_prefix_may_be_left_or_taken_away(path: str, want: str) -> None:
    assert understood(scope(path), "/photos")["path"] == want


def test_escapes_are_read_once() -> None:
    name = understood(scope("http://a/v1/models/a%2Fb", b"http://a/v1/models/a%252Fb"), "")
    assert name["path"] == "/v1/models/a%2Fb"


@pytest.mark.parametrize("given", ["", "/", "/photos", "/photos/", "/a/b-c_d.e~f"])
def test_prefixes(given: str) -> None:
    assert checked_root_path(given) == given.rstrip("/")


@pytest.mark.parametrize("given", ["photos", "/a b", "/a//b", "https://a/b", '/"><script>', "/a/../b", "/é"])
def test_what_is_no_prefix(given: str) -> None:
    with pytest.raises(UsageError, match="is no path; write what the proxy puts before ours, as /photos"):
        checked_root_path(given)


def test_behind_a_prefix(serve: Serve) -> None:
    """The page, the API and its description, whether the proxy takes the prefix away or not."""
    client = serve(root_path="/photos", keys=["one"])
    headers = {"authorization": "Bearer one"}
    for prefix in ("/photos", ""):
        assert client.get(f"{prefix}/health").status_code == 200
        assert client.get(f"{prefix}/v1/models").status_code == 401
        assert client.get(f"{prefix}/v1/models", headers=headers).status_code == 200
        assert client.get(f"{prefix}/openapi.json").json()["servers"] == [{"url": "/photos"}]
    for path in ("/photos", "/photos/", "/"):
        page = client.get(path)
        assert '<head><base href="/photos/">' in page.text
        assert "base-uri 'self'" in page.headers["content-security-policy"]


def test_without_a_prefix_the_page_has_no_base(client: httpx2.Client) -> None:
    page = client.get("/")
    assert "<base" not in page.text and "base-uri 'none'" in page.headers["content-security-policy"]
    assert "servers" not in client.get("/openapi.json").json()
