"""A server of chat completions on this machine, and what can go wrong with one."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "sk-remote-0123456789-WXYZ"


@dataclass(frozen=True)
class Reply:
    """status, headers and body of an answer. cut: the connection breaks after so many bytes. wait: is waited
    for first."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    wait: threading.Event | None = None


def said(
    content: Any,
    *,
    finish: str = "stop",
    log_probs: list[float] | None = None,
    usage: Any = (100, 7),
    **message: Any,
) -> Reply:
    """A good answer."""
    choice: dict[str, Any] = {
        "index": 0,
        "message": {"role": "assistant", "content": content, **message},
        "finish_reason": finish,
    }
    if log_probs is not None:
        choice["logprobs"] = {"content": [{"token": "?", "logprob": one} for one in log_probs]}
    answer: dict[str, Any] = {"id": "x", "object": "chat.completion", "choices": [choice]}
    if usage is not None:
        answer["usage"] = {"prompt_tokens": usage[0], "completion_tokens": usage[1]}
    return Reply(body=json.dumps(answer).encode())


def failed(status: int, message: str = "", **headers: str) -> Reply:
    """An answer as OpenAI's errors are."""
    body = json.dumps({"error": {"message": message, "type": "x", "code": None}}).encode()
    return Reply(status, body, {name.replace("_", "-"): value for name, value in headers.items()})


@dataclass(frozen=True)
class Asked:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    fields: dict[str, Any]

    @property
    def photo(self) -> bytes:
        """The photo of its last message, which stands before the text."""
        part, _ = self.fields["messages"][-1]["content"]
        kind, _, data = part["image_url"]["url"].partition(";base64,")
        assert (part["type"], kind) == ("image_url", "data:image/jpeg")
        return base64.b64decode(data)

    @property
    def text(self) -> str:
        """What was asked."""
        _, part = self.fields["messages"][-1]["content"]
        assert part["type"] == "text"
        return str(part["text"])

    @property
    def rule(self) -> str | None:
        """How to answer."""
        first = self.fields["messages"][0]
        return first["content"] if first["role"] == "system" else None


class StandIn:
    """Gives ``replies`` one after the other, then ``otherwise``; either may be a function of the request."""

    def __init__(self) -> None:
        self.replies: list[Reply | Callable[[Asked], Reply]] = []
        self.otherwise: Reply | Callable[[Asked], Reply] = said("a red kite")
        self.asked: list[Asked] = []
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()
        self.base_url = ""


@contextmanager
def standing_in() -> Iterator[StandIn]:
    """One that listens."""
    stand_in = StandIn()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            with stand_in.lock:
                stand_in.asked.append(Asked(self.path, dict(self.headers), {}))
            self.send_error(405)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Asked(self.path, headers, json.loads(body))
            with stand_in.lock:
                stand_in.asked.append(asked)
                stand_in.at_once += 1
                stand_in.most_at_once = max(stand_in.most_at_once, stand_in.at_once)
                reply = stand_in.replies.pop(0) if stand_in.replies else stand_in.otherwise
            try:
                if callable(reply):
                    reply = reply(asked)
                if reply.wait is not None:
                    reply.wait.wait(30)
            finally:
                # Before the answer is sent: whoever has it may ask again at once.
                with stand_in.lock:
                    stand_in.at_once -= 1
            with suppress(BrokenPipeError, ConnectionResetError):  # whoever asked went away
                self.reply(reply)

        def reply(self, reply: Reply) -> None:
            self.send_response(reply.status)
            for name, value in {"Content-Type": "application/json", **reply.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body[: reply.cut])
            self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    stand_in.base_url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield stand_in
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
