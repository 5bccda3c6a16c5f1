"""Web pages of other origins ask where the server's owner lets them, and nowhere else."""

from __future__ import annotations

import httpx2
import pytest

from seetell.core.errors import UsageError
from seetell.serving.cross_origin import checked_origins
from tests.serving.conftest import Serve, data_url, jpeg

OURS = "https://app.example"
KEY = {"authorization": "Bearer one"}


def asked_first(client: httpx2.Client, origin: str, **more: str) -> httpx2.Response:
    """What a browser asks before it sends JSON and a key to another origin."""
    headers = {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type,x-stainless-lang",
        **more,
    }
    return client.options("/v1/caption", headers=headers)


def test_a_page_of_an_origin_that_is_named_may_ask(serve: Serve) -> None:
    client = serve(keys=["one"], origins=[OURS, "http://localhost:3000"])
    for origin in (OURS, "http://localhost:3000"):
        first = asked_first(client, origin, **{"access-control-request-private-network": "true"})
        assert first.status_code == 200, "without a key: browsers send none here"
        assert first.headers["access-control-allow-origin"] == origin
        assert "POST" in first.headers["access-control-allow-methods"]
        assert "x-stainless-lang" in first.headers["access-control-allow-headers"]
        assert first.headers["access-control-allow-private-network"] == "true"
        for key, status in ((KEY, 200), ({}, 401)):
            answer = client.post(
                "/v1/caption", json={"photo": data_url(jpeg(1))}, headers={"origin": origin, **key}
            )
            # Of a refusal the page is to be told, too.
            assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (status, origin)
            assert "retry-after" in answer.headers["access-control-expose-headers"]
            assert answer.headers["vary"] == "Origin"
            assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize("origin", ["https://evil.example", "https://app.example.evil", "http://app.example"])
def test_a_page_of_another_origin_may_not(serve: Serve, origin: str) -> None:
    client = serve(keys=["one"], origins=[OURS])
    first = asked_first(client, origin)
    assert first.status_code == 400 and "access-control-allow-origin" not in first.headers
    answer = client.get("/v1/models", headers={"origin": origin, **KEY})
    assert "access-control-allow-origin" not in answer.headers


def test_every_page(serve: Serve) -> None:
    client = serve(origins=["*"])
    assert asked_first(client, "https://any.example").headers["access-control-allow-origin"] == "*"
    answer = client.get("/v1/models", headers={"origin": "https://any.example"})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, "*")


def test_a_stream_goes_to_other_origins(serve: Serve) -> None:
    client = serve(origins=[OURS])
    part = {"type": "image_url", "image_url": data_url(jpeg(1))}
    body = {"messages": [{"role": "user", "content": [part]}], "stream": True}
    answer = client.post("/v1/chat/completions", json=body, headers={"origin": OURS})
    assert answer.headers["access-control-allow-origin"] == OURS
    assert answer.text.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize("given", ["example.com", "https://a/", "https://a/b", "", "null", "https://"])
def test_what_is_no_origin(given: str) -> None:
    with pytest.raises(UsageError, match="is no origin; write it as browsers do"):
        checked_origins([given])


def test_origins_are_compared_as_browsers_write_them() -> None:
    assert checked_origins(["HTTPS://App.Example:8443", "*"]) == ["https://app.example:8443", "*"]
