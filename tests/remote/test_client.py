"""A server that misbehaves: what is tried again, what is told, and what never leaves."""

from __future__ import annotations

import json
import pickle
import threading
import time
import traceback
from email.utils import formatdate
from typing import Any

import pytest

from seetell.core.errors import RemoteError, UsageError
from seetell.remote import client as client_module
from seetell.remote.client import Client
from seetell.remote.key import Key
from seetell.remote.usage import Meter, Usage, checked_prices
from tests.remote.stand_in import KEY, Reply, StandIn, failed, said, standing_in

FIELDS = {"model": "m", "messages": [], "max_tokens": 5, "temperature": 0, "logprobs": True}


class Asking:
    """A client of a server, and its meter."""

    def __init__(self, base_url: str, patience_s: float = 20.0, key: str = KEY) -> None:
        self.meter = Meter(None)
        self.client = Client(
            base_url, Key(key, "OPENAI_API_KEY" if key else None), self.meter, patience_s=patience_s
        )

    def __call__(self) -> str:
        return self.client.complete(FIELDS, threading.Event()).text

    def fails(self) -> RemoteError:
        with pytest.raises(RemoteError) as caught:
            self()
        message = str(caught.value)
        assert "\n" not in message and len(message) < 500
        shown = (
            "".join(traceback.format_exception(caught.value)) + repr(self.client) + repr(vars(self.client))
        )
        assert KEY not in shown and KEY[-4:] not in shown and "Bearer" not in shown
        return caught.value


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 529])
def test_what_passes_is_tried_again(server: StandIn, status: int) -> None:
    server.replies = [failed(status), failed(status)]
    ask = Asking(server.base_url)
    assert ask() == "a red kite"
    assert ask.meter.usage == Usage(answers=1, retries=2, prompt_tokens=100, completion_tokens=7)
    assert server.asked[0].headers["authorization"] == f"Bearer {KEY}"
    assert server.asked[0].path == "/v1/chat/completions"


@pytest.mark.parametrize(
    "broken",
    [
        Reply(body=said("a red kite").body, cut=40),
        Reply(body=b'{"choices": [{"mess'),
        Reply(body=b""),
        Reply(body=b"\xff\xfe not JSON"),
    ],
    ids=["cut", "half", "nothing", "noise"],
)
def test_an_answer_that_is_broken_is_asked_for_again(server: StandIn, broken: Reply) -> None:
    server.replies = [broken]
    assert Asking(server.base_url)() == "a red kite"
    server.otherwise = broken
    error = Asking(server.base_url).fails()
    assert error.kind == "bad_answer" and not error.ends
    assert str(error) == f"{server.base_url} sent an answer that is cut off or no JSON; tried 6 times"


@pytest.mark.parametrize(("status", "kind"), [(429, "busy"), (500, "failed"), (503, "failed")])
def test_what_does_not_pass_is_told_with_what_was_said(server: StandIn, status: int, kind: str) -> None:
    server.otherwise = failed(status, "out of\nmemory \x1b[31m")
    error = Asking(server.base_url).fails()
    assert (error.kind, error.ends) == (kind, False)
    assert str(error) == f"{server.base_url} answered {status}: out of memory \\x1b[31m; tried 6 times"
    assert len(server.asked) == 6


@pytest.mark.parametrize(
    ("status", "ends"),
    [(400, False), (401, True), (402, True), (403, False), (404, True), (413, False), (422, False)],
)
def test_what_is_refused_is_told_at_once(server: StandIn, status: int, ends: bool) -> None:
    server.otherwise = failed(status, "x" * 5000)
    error = Asking(server.base_url).fails()
    assert (error.kind, error.ends, len(server.asked)) == ("refused", ends, 1)
    assert f"answered {status}: {'x' * 200}" in str(error)


def test_a_spent_budget_is_not_waited_for(server: StandIn) -> None:
    body = json.dumps({"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}})
    server.otherwise = Reply(429, body.encode())
    error = Asking(server.base_url).fails()
    assert (error.kind, error.ends, len(server.asked)) == ("busy", True, 1)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b'{"error": "no such thing"}', "no such thing"),
        (b'{"error": {"message": "no such thing"}}', "no such thing"),
        (b'{"detail": [{"loc": ["body"], "msg": "wrong"}]}', '[{"loc": ["body"], "msg": "wrong"}]'),
        (b'{"message": "no such thing"}', "no such thing"),
        (b"no such thing\r\n", "no such thing"),
    ],
)
def test_where_servers_say_what_is_wrong(server: StandIn, body: bytes, told: str) -> None:
    server.otherwise = Reply(400, body)
    assert str(Asking(server.base_url).fails()) == f"{server.base_url} answered 400: {told}"


def test_a_page_is_no_api(server: StandIn) -> None:
    server.otherwise = Reply(404, b"<html>not here</html>")
    assert str(Asking(server.base_url).fails()).endswith("answered 404; does the address end in /v1?")
    server.otherwise = Reply(200, b"<!doctype html>")
    error = Asking(server.base_url).fails()
    assert error.ends and "a page and not with JSON" in str(error)
    assert len(server.asked) == 2


@pytest.mark.parametrize("as_date", [False, True])
def test_a_server_says_how_long_to_wait(
    server: StandIn, monkeypatch: pytest.MonkeyPatch, as_date: bool
) -> None:
    waited: list[float] = []

    class Stop(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waited.append(timeout or 0.0)
            return False

    when = formatdate(time.time() + 60, usegmt=True) if as_date else "60"
    server.replies = [failed(429, Retry_After=when)]
    ask = Asking(server.base_url, patience_s=300)
    assert ask.client.complete(FIELDS, Stop()).text == "a red kite"
    assert waited == [pytest.approx(60, abs=3)]


@pytest.mark.parametrize("nonsense", ["soon", "-5", "nan", ""])
def test_nonsense_about_waiting_is_no_wait(server: StandIn, nonsense: str) -> None:
    server.replies = [failed(503, Retry_After=nonsense)]
    assert Asking(server.base_url)() == "a red kite"


def test_a_longer_wait_than_there_is_patience_ends_it(server: StandIn) -> None:
    server.otherwise = failed(429, "slow down", Retry_After="3600")
    error = Asking(server.base_url).fails()
    assert (error.kind, len(server.asked)) == ("busy", 1)
    assert "it asks to wait 3600 s, longer than there is patience for" in str(error)


def test_pauses_grow_and_are_not_all_alike(server: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []

    class Stop(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waited.append(timeout or 0.0)
            return False

    monkeypatch.setattr(client_module, "_FIRST_PAUSE_S", 1.0)
    server.otherwise = failed(500)
    with pytest.raises(RemoteError):
        Asking(server.base_url, patience_s=600).client.complete(FIELDS, Stop())
    assert len(waited) == 5
    assert all(2**step / 2 <= pause <= 2**step for step, pause in enumerate(waited))
    assert len({pause / 2**step for step, pause in enumerate(waited)}) == 5


def test_a_server_that_hangs_is_given_up_and_asked_again(server: StandIn) -> None:
    never = threading.Event()
    server.replies = [Reply(wait=never)]
    assert Asking(server.base_url, patience_s=1.0)() == "a red kite"
    server.otherwise = Reply(wait=never)
    error = Asking(server.base_url, patience_s=0.2).fails()
    never.set()
    assert error.kind == "timeout" and "tried 2 times" in str(error)


def test_a_server_that_drips_is_given_up() -> None:
    """The time a socket allows begins anew with every byte."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        over = threading.Event()

        def drip() -> None:
            listener.settimeout(10)
            while not over.is_set():
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    try:
                        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
                        while not over.wait(0.02):
                            connection.sendall(b" ")
                    except OSError:
                        pass

        thread = threading.Thread(target=drip)
        thread.start()
        error = Asking(f"http://127.0.0.1:{listener.getsockname()[1]}", patience_s=0.4).fails()
        over.set()
        listener.close()
        thread.join(15)
    assert error.kind == "timeout"


def test_more_than_an_answer_can_be(server: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "_LARGEST_ANSWER_BYTES", 1000)
    server.otherwise = Reply(body=b" " * 200_000)
    error = Asking(server.base_url).fails()
    assert "more than an answer can be" in str(error) and len(server.asked) == 1


def test_where_nothing_listens_that_is_told_at_once() -> None:
    with standing_in() as gone:
        ask = Asking(gone.base_url)
        assert ask() == "a red kite"
    error = ask.fails()
    assert error.ends and error.kind == "unreachable" and "tried 6 times" in str(error), "it was there before"
    error = Asking(gone.base_url).fails()
    assert str(error) == f"{gone.base_url} cannot be reached (Connection refused)"


def test_a_redirect_is_not_followed(server: StandIn) -> None:
    with standing_in() as other:
        for status in (301, 302, 307, 308):
            server.otherwise = Reply(status, headers={"Location": f"{other.base_url}/elsewhere?k={KEY}"})
            error = Asking(server.base_url).fails()
            assert error.ends and f"answered {status}, which leads to" in str(error)
        assert other.asked == []


def test_a_key_is_taken_out_of_what_servers_say(server: StandIn) -> None:
    server.otherwise = failed(401, f"Incorrect API key provided: {KEY}, or {KEY[:6]}*****{KEY[-4:]}.")
    error = Asking(server.base_url).fails()
    assert str(error) == (
        f"{server.base_url} answered 401: Incorrect API key provided: *** or *** "
        "(the key sent is that of OPENAI_API_KEY)"
    )
    server.otherwise = said(f"your key is {KEY}")
    assert Asking(server.base_url)() == "your key is ***"
    server.otherwise = failed(401, "who are you?")
    error = Asking(server.base_url, key="").fails()
    assert "no key was sent; set SEETELL_REMOTE_API_KEY or OPENAI_API_KEY" in str(error)
    assert "authorization" not in server.asked[-1].headers


def test_what_a_server_does_not_take_is_sent_otherwise(server: StandIn) -> None:
    """As OpenAI's models that think first, and our own server, refuse these."""

    def reply(asked: Any) -> Reply:
        for name in ("logprobs", "max_tokens", "temperature"):
            if name in asked.fields:
                return failed(400, f"Unsupported parameter: '{name}' is not supported with this model.")
        return said("a red kite")

    server.otherwise = reply
    ask = Asking(server.base_url)
    assert ask() == "a red kite"
    assert server.asked[-1].fields == {"model": "m", "messages": [], "max_completion_tokens": 5}
    before = len(server.asked)
    assert ask() == "a red kite"
    assert len(server.asked) == before + 1, "it is remembered"
    assert ask.meter.usage.retries == 0


def test_an_answer_without_a_count_of_tokens(server: StandIn) -> None:
    server.replies = [said("one", usage=None), said("two", finish="length")]
    ask = Asking(server.base_url)
    assert [ask(), ask()] == ["one", "two"]
    assert (
        str(ask.meter.usage)
        == "2 answers, 100 + 7 tokens, 1 without a count of tokens, 1 cut at the limit of tokens"
    )


def test_what_answers_cost() -> None:
    meter = Meter(checked_prices("0.15,0.6"))
    meter.answered((2_000_000, 500_000), cut=False)
    assert meter.usage.cost == pytest.approx(0.6)
    assert str(meter.usage) == "1 answer, 2,000,000 + 500,000 tokens, cost 0.6"


@pytest.mark.parametrize("prices", ["3", "a,b", "1,2,3", (1, -2), (1, float("nan")), 5, "inf,1"])
def test_prices_that_cannot_be_meant(prices: Any) -> None:
    with pytest.raises(UsageError, match="two numbers"):
        checked_prices(prices)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("http://localhost:8000", "http://localhost:8000/v1"),
        ("http://localhost:8000/v1/", "http://localhost:8000/v1"),
        (" https://x.test/openai/v1/chat/completions ", "https://x.test/openai/v1"),
        ("http://[::1]:80/v1", "http://[::1]:80/v1"),
    ],
)
def test_addresses(given: str, meant: str) -> None:
    found = Client(given, Key(""), Meter(None))
    assert found.base_url == meant
    assert found.is_local == ("x.test" not in meant)


@pytest.mark.parametrize(
    "given",
    ["", "localhost:8000", "file:///etc/passwd", "http://", "http://u:secret@x/v1", "http://x/?key=secret",
     "http://x:port/", "http://x/v1#secret", "http://x/v 1", "http://[x/"],
)  # fmt: skip
def test_addresses_that_cannot_be_meant(given: str) -> None:
    with pytest.raises(UsageError, match="base_url") as caught:
        Client(given, Key(""), Meter(None))
    assert "secret" not in str(caught.value)


def test_a_key_shows_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", f" {KEY}\n")
    key = Key.from_environment()
    assert key.headers() == {"Authorization": f"Bearer {KEY}"}
    assert KEY not in f"{key} {key!r} {vars(type(key))}" and key
    with pytest.raises(TypeError):
        pickle.dumps(key)
    monkeypatch.setenv("SEETELL_REMOTE_API_KEY", "ours")
    assert Key.from_environment().headers() == {"Authorization": "Bearer ours"}
    monkeypatch.setenv("SEETELL_REMOTE_API_KEY", "")
    assert not Key.from_environment(), "one set to nothing keeps the other from being sent"
    for wrong in ("two words", "clé", "a\nb"):
        monkeypatch.setenv("SEETELL_REMOTE_API_KEY", wrong)
        with pytest.raises(UsageError, match="SEETELL_REMOTE_API_KEY is no key") as caught:
            Key.from_environment()
        assert wrong not in str(caught.value)


def test_a_short_key_is_left_in_answers() -> None:
    assert Key("test").hidden("a test tube") == "a test tube"
    assert Key("test").hidden_in_error("bad key test") == "bad key ***"


def test_no_proxy_stands_between_this_machine_and_itself(
    server: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    assert Asking(server.base_url)() == "a red kite"
