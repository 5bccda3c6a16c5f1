"""What the requests of one server share, and how a verb is run for one of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from seetell.core.errors import ImageError, SeetellError
from seetell.serving.batching import Batcher, Lane
from seetell.serving.held import HeldPhotos
from seetell.serving.limits import Limits
from seetell.serving.model_pool import ModelPool
from seetell.serving.photos import PhotoReader
from seetell.serving.problems import Problem, problem_of
from seetell.tasks.model import Model


@dataclass(slots=True)
class Note:
    """What the log line and the metrics of a request say besides its status. error: why it is a 500.

    hold: told of bytes that are held for the request until it ends, besides its body. Raises FetchError and
    ServerBusy where they are too many.
    """

    task: str = ""
    model: str = ""
    error: BaseException | None = None
    hold: Callable[[int], None] = lambda size_bytes: None


# Set anew for each request by the gate.
current: ContextVar[Note] = ContextVar("seetell_request")


@dataclass(slots=True)
class Serving:
    """The shared parts of one server. batcher: there while the server runs.

    ready: a first inference has run. draining: the server is ending. failed: why it cannot get ready.
    """

    pool: ModelPool
    limits: Limits
    photos: PhotoReader
    held: HeldPhotos
    workers: int
    _batcher: Batcher | None = None
    ready: bool = False
    draining: bool = False
    failed: Exception | None = None

    @property
    def batcher(self) -> Batcher:
        if self._batcher is None:
            raise Problem(503, "the server has not started yet")
        return self._batcher

    def start(self, batcher: Batcher) -> None:
        """Answer requests with it from now on."""
        self._batcher = batcher

    async def run(
        self,
        task: str,
        model_name: str | None,
        lane_of: Callable[[Model], Lane],
        items: Sequence[Any],
        photo_param: str = "photo",
    ) -> list[Any]:
        """One result per item. Raises Problem, naming ``photo_param`` where a photo cannot be used."""
        note = current.get()
        note.task = task
        async with self.pool.lease(model_name) as model:
            note.model = model.name
            try:
                return await self.batcher.run(lane_of(model), items)
            except ImageError as error:
                raise problem_of(error, photo_param) from error

    async def photo(self, given: str, param: str = "photo") -> bytes:
        """The bytes of a request's photo. Raises Problem naming ``param``."""
        try:
            return await self.photos.read(given, current.get().hold)
        except SeetellError as error:
            raise problem_of(error, param) from error
