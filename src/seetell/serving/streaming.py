"""Answers sent while they are written: from the worker's thread that writes to the event loop that sends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any


class Growing:
    """The answer about one photo, as far as it is certain. Made inside the running event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._grown = asyncio.Event()
        self._text = ""
        self._wanted = True

    def tell(self, text: str) -> bool:
        """What the answer begins with; whether somebody waits for the rest. Called in a worker's thread."""
        if len(text) > len(self._text):
            self._loop.call_soon_threadsafe(self._grow, text)
        return self._wanted

    def leave(self) -> None:
        """Nobody waits any more."""
        self._wanted = False

    async def pieces(self, future: asyncio.Future[Any], said: Callable[[Any], str]) -> AsyncGenerator[str]:
        """Pieces that join to ``said`` of the future's result, as they come; none of them is empty.

        Raises what the future raises.
        """
        future.add_done_callback(lambda _: self._grown.set())
        sent = ""
        while not future.done():
            await self._grown.wait()
            self._grown.clear()
            if len(self._text) > len(sent):
                piece = self._text[len(sent) :]
                sent = self._text
                yield piece
        whole = said(future.result())
        if not whole.startswith(sent):
            # A batch that failed was run again in parts, which may round differently.
            raise RuntimeError("an answer was begun, and came out as another; ask again")
        if len(whole) > len(sent):
            yield whole[len(sent) :]

    def _grow(self, text: str) -> None:
        # A batch that is run again tells from the beginning.
        if len(text) > len(self._text):
            self._text = text
            self._grown.set()
