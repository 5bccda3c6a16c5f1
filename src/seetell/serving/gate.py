"""Before and after every request: its id, the key, the body's bounds, the deadline, the client that goes
away, the log line, the metrics.

Plain ASGI, because a body has to be bounded while it arrives, and a request whose client is gone has to be
cancelled; frameworks read bodies whole and let such requests run on.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import logging
import re
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from seetell.core.errors import DeadlineExceeded, FetchError, ServerBusy
from seetell.serving.problems import Problem, problem_of
from seetell.serving.state import Note, Serving, current
from seetell.serving.target import answered_as, understood

_LOG = logging.getLogger("seetell.serving")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._\-]{1,64}")
# What anybody may see: whether the server is there, and what it can do.
_OPEN = frozenset({"/", "/health", "/ready", "/docs", "/openapi.json"})
# What a container is judged by: a server that has all hands full is not ill.
_PROBES = frozenset({"/health", "/ready"})
# What nginx logs where the client went away first; it is never sent.
_CLIENT_GONE = 499
# Server-sent events can end with one that says what went wrong.
_EVENTS = b"text/event-stream"
# Of a request for these, which has no use for a body: without a key nobody may fill the server's memory.
_OPEN_BODY_BYTES = 1024
# How long what a refused client still sends is read.
_LINGER_S = 1.0


class Watcher(Protocol):
    """Told about every request's end."""

    def ended(self, task: str, status: int, took_s: float) -> None:
        """status: as sent, or 499 where the client went away."""
        ...


@dataclass(slots=True)
class _Call:
    """One request on its way."""

    scope: Scope
    send: Send
    request_id: str
    serving: Serving
    # Log it, count it, and let another take its place; may be called again. Whoever has a whole answer may
    # rely on all three.
    ended: Callable[[], None]
    closing: bool = False
    started: float = field(default_factory=time.monotonic)
    status: int | None = None
    finished: bool = False
    events: bool = False
    body_bytes: int = 0
    fetched_bytes: int = 0
    # Of what the server may hold of all requests together.
    held_bytes: int = 0

    async def pass_on(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.events = (b"content-type", _EVENTS) in (
                (name, value.partition(b";")[0]) for name, value in message.get("headers", ())
            )
            message = {**message, "headers": [*message.get("headers", ()), *self._headers()]}
        elif message["type"] == "http.response.body":
            self.finished = not message.get("more_body", False)
            if self.finished:
                self.ended()
        await self.send(message)

    async def answer(self, problem: Problem) -> None:
        await self._begin(problem)
        await self.pass_on({"type": "http.response.body"})

    async def end_events(self, problem: Problem) -> None:
        """End a stream that was begun with an event that says why; a client waits for it to be whole."""
        event = b"data: %s\n\n" % problem.body
        await self.pass_on({"type": "http.response.body", "body": event})

    async def refuse(self, problem: Problem, receive: Receive) -> None:
        """Answer before the body was read, and close: its rest cannot be told from a next request.

        What still comes is thrown away for a moment. A connection closed on bytes unread is reset, and the
        client may then never see the answer.
        """
        self.closing = True
        await self._begin(problem)
        try:
            async with asyncio.timeout(_LINGER_S):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect" or not message.get("more_body", False):
                        break
        except TimeoutError:
            pass
        await self.pass_on({"type": "http.response.body"})

    async def _begin(self, problem: Problem) -> None:
        """All but the last message, for which no client waits: the length is told."""
        self.status = problem.status
        self.ended()
        headers = {"content-type": "application/json", "content-length": str(len(problem.body))}
        headers |= problem.headers
        coded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        await self.pass_on({"type": "http.response.start", "status": problem.status, "headers": coded})
        await self.pass_on({"type": "http.response.body", "body": problem.body, "more_body": True})

    def _headers(self) -> Iterable[tuple[bytes, bytes]]:
        yield b"x-request-id", self.request_id.encode()
        if self.closing or self.serving.draining:
            yield b"connection", b"close"


class _Gone(Exception):
    """The client went away."""


class Gate:
    """The outermost layer of the app.

    Args:
        app: what answers.
        serving: shared state.
        keys: any of these opens ``/v1`` and ``/metrics``; none lets everybody in.
        watcher: told about every request's end.
        root_path: what a proxy may have left before the paths; empty for nothing.
    """

    def __init__(
        self,
        app: ASGIApp,
        serving: Serving,
        keys: Iterable[str] = (),
        watcher: Watcher | None = None,
        root_path: str = "",
    ) -> None:
        self._app = app
        self._serving = serving
        self._keys = [key.encode() for key in keys]
        self._watcher = watcher
        self._root_path = root_path
        self._calls = 0
        self._held_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope = understood(scope, self._root_path)
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"").decode("latin-1")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        note = Note()
        current.set(note)
        ended = False

        def end() -> None:
            nonlocal ended
            if not ended:
                ended = True
                self._calls -= 1
                self._record(call, note)

        call = _Call(scope, send, request_id, self._serving, end)
        note.hold = partial(self._hold_fetched, call)
        self._calls += 1
        try:
            await self._take(call, headers, receive)
        except _Gone:
            call.status = _CLIENT_GONE
        except asyncio.CancelledError:
            call.status = _CLIENT_GONE
            raise
        except Exception as caught:
            if call.finished:
                _fail_late(call, note, caught)
            else:
                note.error = note.error or caught
                await self._fail(call, caught)
        finally:
            self._held_bytes -= call.held_bytes
            end()

    async def _take(self, call: _Call, headers: dict[bytes, bytes], receive: Receive) -> None:
        limits = self._serving.limits
        try:
            self._admit(call.scope, headers)
            body = await self._body(call, headers, receive)
        except Problem as problem:
            await call.refuse(problem, receive)
            return
        try:
            async with asyncio.timeout(limits.deadline_s):
                await self._answer(call, body, receive)
        except TimeoutError as error:
            raise DeadlineExceeded(
                f"no answer within {limits.deadline_s:g} s; the server is busy, try again later"
            ) from error

    def _admit(self, scope: Scope, headers: dict[bytes, bytes]) -> None:
        """Raises Problem 401, 403 and 429."""
        closed = scope["path"] not in _OPEN
        if self._keys and closed:
            scheme, _, key = headers.get(b"authorization", b"").partition(b" ")
            # Every key is compared, each in constant time: how long it takes says nothing.
            fits = [hmac.compare_digest(key.strip(), known) for known in self._keys]
            if scheme.lower() != b"bearer" or not any(fits):
                raise Problem(
                    401,
                    "a key is needed: send Authorization: Bearer KEY",
                    headers={"www-authenticate": "Bearer"},
                )
        elif closed and _is_rebindable(headers.get(b"host", b"")):
            raise Problem(
                403, "without a key only localhost, addresses and names without a dot are answered to"
            )
        if self._calls > self._serving.limits.requests and scope["path"] not in _PROBES:
            raise problem_of(ServerBusy(f"{self._calls - 1} requests are being answered", 1))

    async def _body(self, call: _Call, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        """The whole body, bounded while it arrives. Raises Problem 408, 413 and 429, and _Gone."""
        limits = self._serving.limits
        open_ = call.scope["path"] in _OPEN
        most_bytes = min(_OPEN_BODY_BYTES, limits.body_bytes) if open_ else limits.body_bytes
        length = headers.get(b"content-length", b"")
        if length.isdigit() and int(length[:20]) > most_bytes:
            raise _too_large(most_bytes)
        body = bytearray()
        try:
            async with asyncio.timeout(limits.body_timeout_s):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _Gone
                    piece = message.get("body", b"")
                    if len(body) + len(piece) > most_bytes:
                        raise _too_large(most_bytes)
                    if not open_:
                        self._hold(call, len(piece))
                    body += piece
                    call.body_bytes += len(piece)
                    if not message.get("more_body", False):
                        return bytes(body)
        except ServerBusy as error:
            raise problem_of(error) from error
        except TimeoutError as error:
            raise Problem(408, f"the body did not arrive within {limits.body_timeout_s:g} s") from error

    def _hold(self, call: _Call, size_bytes: int) -> None:
        """Count bytes until the request ends. Raises ServerBusy."""
        if self._held_bytes + size_bytes > self._serving.limits.bodies_bytes:
            raise ServerBusy("the server holds as many bytes as it may", 1)
        call.held_bytes += size_bytes
        self._held_bytes += size_bytes

    def _hold_fetched(self, call: _Call, size_bytes: int) -> None:
        """As ``_hold``, of the photos fetched for the request: a short body can name many large ones. Raises
        FetchError where one request has too many."""
        most_bytes = self._serving.limits.body_bytes
        if call.fetched_bytes + size_bytes > most_bytes:
            raise FetchError(
                "too_large",
                f"the photos of one request have more than the {most_bytes:,} bytes that are fetched for it; "
                "send several requests",
            )
        self._hold(call, size_bytes)
        call.fetched_bytes += size_bytes

    async def _answer(self, call: _Call, body: bytes, receive: Receive) -> None:
        """Let the app answer, unless the client goes away first. Raises _Gone."""
        gone = asyncio.create_task(_disconnected(receive))
        given = False

        async def replay() -> Message:
            nonlocal given
            if not given:
                given = True
                return {"type": "http.request", "body": body, "more_body": False}
            await asyncio.shield(gone)
            return {"type": "http.disconnect"}

        answering = asyncio.create_task(_awaited(self._app(answered_as(call.scope), replay, call.pass_on)))
        try:
            await asyncio.wait({answering, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not answering.done() and not call.finished:
                raise _Gone
            await answering
        finally:
            answering.cancel()
            gone.cancel()
            await asyncio.gather(answering, gone, return_exceptions=True)

    async def _fail(self, call: _Call, error: Exception) -> None:
        if call.status is not None:
            if call.events:
                await call.end_events(problem_of(error))
                return
            # Too late to say so: the answer had begun. The connection is closed by raising.
            raise error
        await call.answer(problem_of(error))

    def _record(self, call: _Call, note: Note) -> None:
        took_s = time.monotonic() - call.started
        status = call.status or 500
        if self._watcher is not None:
            self._watcher.ended(note.task, status, took_s)
        fields: dict[str, Any] = {
            "request_id": call.request_id,
            "method": call.scope["method"],
            "path": call.scope["path"],
            "status": status,
            "duration_ms": round(1000 * took_s, 1),
            "task": note.task,
            "model": note.model,
            "body_bytes": call.body_bytes,
            "client": (call.scope.get("client") or ("",))[0],
        }
        error = note.error
        if error is not None:
            fields["error"] = f"{type(error).__name__}: {error}"
        unexpected = status == 500 or (error is not None and problem_of(error).status == 500)
        _LOG.log(
            logging.ERROR if unexpected else logging.INFO,
            "request",
            extra={"fields": fields},
            exc_info=error if unexpected else None,
        )


def _fail_late(call: _Call, note: Note, error: Exception) -> None:
    """Log what came after the answer was whole, unless it is what was answered, which is logged."""
    if error is not note.error:
        fields = {"request_id": call.request_id, "error": f"{type(error).__name__}: {error}"}
        _LOG.error("request failed after its answer", extra={"fields": fields}, exc_info=error)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _awaited(awaitable: Any) -> None:
    await awaitable


def _is_rebindable(host: bytes) -> bool:
    """Whether a Host header has a name that somebody else may have given to this machine's address.

    A web page of theirs, open in a browser here, could then ask a server on loopback as if it were its own.
    """
    name = host.decode("latin-1").lower()
    if name.startswith("["):
        return False
    name = name.partition(":")[0].removesuffix(".")
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return "." in name and not name.endswith(".localhost")
    return False


def _too_large(most_bytes: int) -> Problem:
    return Problem(413, f"the body has more than the {most_bytes:,} bytes this server takes here")
