"""The app behind a socket: started, told to end by a signal, drained."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from seetell.core.errors import UsageError
from seetell.serving.app import App

# Longer than load balancers keep a connection idle (60 s), so that it is they who close it.
_KEEP_ALIVE_S = 75
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Server(uvicorn.Server):
    """Ends in two steps: at the first signal ``/ready`` says no and connections are closed as they are
    answered, so that load balancers look elsewhere; after ``drain_s`` no new ones are taken, and what was
    accepted is answered. A second signal ends at once."""

    def __init__(self, app: App, *, host: str, port: int, started: Callable[[str], None]) -> None:
        self._app = app
        self._said = started
        self._told = 0
        super().__init__(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                http=_bounded(app.serving.limits.head_timeout_s),
                log_config=None,
                access_log=False,
                server_header=False,
                lifespan="on",
                timeout_keep_alive=_KEEP_ALIVE_S,
                # Every accepted request ends by its own deadline before that.
                timeout_graceful_shutdown=int(
                    app.serving.limits.deadline_s + app.serving.limits.body_timeout_s
                )
                + 1,
            )
        )

    async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        """As uvicorn's, and then the address is told."""
        await super().startup()
        if self.started:
            name = self.servers[0].sockets[0].getsockname()
            host = f"[{name[0]}]" if ":" in name[0] else name[0]
            self._said(f"http://{host}:{name[1]}")

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The signals' handlers are ours while the server runs; an ended server is not ended again."""
        if threading.current_thread() is not threading.main_thread():
            yield  # signals are the main thread's
            return
        before = {number: signal.signal(number, self.handle_exit) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain, and at the second signal end at once."""
        self._told += 1
        self._app.serving.draining = True
        if self._told > 1:
            self.should_exit = self.force_exit = True

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second."""
        if self._app.serving.failed is not None:
            self._app.serving.draining = self.should_exit = True
        if self._told and not self.should_exit:
            await asyncio.sleep(self._app.serving.limits.drain_s)
            self.should_exit = True
        return await super().on_tick(counter)


def _bounded(head_timeout_s: float) -> type[H11Protocol]:
    """uvicorn's protocol, which waits for a request's head as long as the client likes; this one does not.
    Clients that open connections and say nothing would use up the files a process may have open."""

    class Bounded(H11Protocol):
        _timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._watch()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop()
            super().connection_lost(exc)

        def _watch(self) -> None:
            # Between requests a connection is idle too, but then nothing is received, and uvicorn's own
            # timer runs.
            if self.conn.their_state is not h11.IDLE:
                self._stop()
            elif self._timer is None:
                self._timer = self.loop.call_later(head_timeout_s, self.transport.close)

        def _stop(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    return Bounded


def serve(app: App, *, host: str, port: int, started: Callable[[str], None]) -> None:
    """Serve until a signal. ``started`` is told the address.

    Raises UsageError where the address cannot be used, and why the model could not be run.
    """
    try:
        Server(app, host=host, port=port, started=started).run()
    except SystemExit as error:  # uvicorn's way to say that the address is taken; it has been logged
        if error.code:
            raise UsageError(f"cannot listen at {host}:{port}; is another server there?") from error
    if app.serving.failed is not None:
        raise app.serving.failed
