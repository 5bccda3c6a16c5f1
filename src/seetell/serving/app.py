"""The app: the routes, put together inside the gate, with what they share started and ended."""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from PIL import Image
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp

from seetell.core.errors import SeetellError, TaskUnavailable
from seetell.media.fetch import Fetcher, Reach
from seetell.search.index_folder import IndexFolder, require_index
from seetell.search.lancedb_import import import_lancedb
from seetell.search.photo_index import PhotoIndex
from seetell.serving.batching import Batcher
from seetell.serving.chat_api import chat_routes
from seetell.serving.cross_origin import for_origins
from seetell.serving.docs_page import docs_page
from seetell.serving.gate import Gate
from seetell.serving.health import health_routes
from seetell.serving.held import HeldPhotos
from seetell.serving.lanes import caption_lane, photo_lane, text_lane
from seetell.serving.limits import Limits
from seetell.serving.metrics import Metrics
from seetell.serving.model_pool import ModelPool, Source
from seetell.serving.openai_api import openai_routes
from seetell.serving.own_api import own_routes
from seetell.serving.page_api import page_api_routes
from seetell.serving.page_routes import content_security_policy, page_routes
from seetell.serving.photo_index_api import ServedIndex, index_routes
from seetell.serving.photos import PhotoReader
from seetell.serving.problems import PACKED, ErrorBody, Problem, invalid, problem_of
from seetell.serving.state import Serving, current
from seetell.serving.takes import TAKES, describe
from seetell.serving.uploads import Uploads
from seetell.tasks.model import Model

_LOG = logging.getLogger("seetell.serving")

_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorBody, "description": what}
    for status, what in (
        (400, "The photo, an option or a text cannot be used."),
        (401, "No key, or a wrong one."),
        (403, "Without a key: asked by a name that may be somebody else's."),
        (404, "No such model or page."),
        (409, "The index is being brought up to date already."),
        (408, "The body did not arrive in time."),
        (413, "The body or the photo is too large."),
        (415, "The body is not said to be JSON, and neither a form nor a photo."),
        (422, "The body is not what this address takes."),
        (429, "The queue is full; Retry-After says when to come back."),
        (500, "The server failed; its log says why."),
        (503, "The server is starting or ending."),
        (504, "The answer would have come too late."),
    )
}


class _Described(FastAPI):
    """Its OpenAPI document has examples, and what may be sent instead of JSON."""

    def openapi(self) -> dict[str, Any]:
        """Made once."""
        if self.openapi_schema is None:
            describe(super().openapi())
        return super().openapi()


class App:
    """An ASGI app that serves models.

    Args:
        sources: the models, the default first.
        keys: any of these opens ``/v1``; none lets everybody in.
        limits: what is allowed.
        reach: where photos' addresses may lead; None fetches none.
        workers: batches run at the same time: one more than compute, whose photos are decoded meanwhile.
        memory_bytes: for all loaded models; None for no bound.
        index: answers searches with the default model, which then stays loaded. It need not be there yet
            where clients may bring it up to date.
        threads: processor threads of a search; None for all that this process may use.
        origins: whose web pages may ask, ``*`` for all; as from ``checked_origins``.
        root_path: what a proxy puts before the paths; as from ``checked_root_path``.

    Raises UsageError for sources that cannot be served together and an index that is not there or, as far as
    is known, of another model; StorageError for one that cannot be read, and MissingExtra where none can.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        *,
        keys: Sequence[str] = (),
        limits: Limits | None = None,
        reach: Reach | None = "public",
        workers: int = 2,
        memory_bytes: int | None = None,
        index: ServedIndex | None = None,
        threads: int | None = None,
        origins: Sequence[str] = (),
        root_path: str = "",
    ) -> None:
        if index is not None:
            _check_index(index, sources[0])
        limits = limits or Limits()
        fetcher = None
        if reach is not None:
            fetcher = Fetcher(
                largest_bytes=limits.photo_bytes,
                timeout_s=limits.fetch_timeout_s,
                at_once=limits.fetches,
                reach=reach,
            )
        held = HeldPhotos(limits.held_bytes, limits.held_s)
        self.serving = Serving(
            pool=ModelPool(sources, memory_bytes, default_stays=index is not None),
            limits=limits,
            photos=PhotoReader(limits.photo_bytes, None if fetcher is None else fetcher.fetch, held),
            held=held,
            workers=workers,
        )
        self._index = index
        self._threads = threads
        self._root_path = root_path
        self._metrics = Metrics()
        self.api = self._api()
        uploads = Uploads(self.api, TAKES, origins)
        gate = Gate(uploads, self.serving, keys, self._metrics, root_path)
        self._outermost: ASGIApp = for_origins(gate, origins) if origins else gate

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._outermost(scope, receive, send)

    def _api(self) -> FastAPI:
        api = _Described(
            title="seetell",
            version=version("seetell"),
            description="Captions, answers and vectors of photos.",
            lifespan=self._lifespan,
            docs_url=None,
            redoc_url=None,
            # A redirect would lead past a proxy, and the gate leaves slashes at the end out.
            redirect_slashes=False,
            servers=[{"url": self._root_path}] if self._root_path else None,
            responses=_ERRORS,
        )
        api.include_router(health_routes(self.serving, self._metrics))
        api.include_router(own_routes(self.serving))
        api.include_router(openai_routes(self.serving))
        api.include_router(chat_routes(self.serving))
        api.include_router(index_routes(self.serving, self._index))
        api.add_api_route("/docs", self._docs, include_in_schema=False)
        api.include_router(page_routes(self.serving, self._index, self._root_path))
        api.include_router(page_api_routes(self.serving, self._index))
        for kind in (RequestValidationError, HTTPException, Problem, SeetellError, Exception):
            api.add_exception_handler(kind, _answer)
        return api

    async def _docs(self) -> Response:
        html = docs_page(self.api.openapi())
        return HTMLResponse(html, headers={"content-security-policy": content_security_policy(html)})

    @asynccontextmanager
    async def _lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        serving, limits = self.serving, self.serving.limits
        batcher = Batcher(
            workers=serving.workers,
            queue=limits.queue,
            max_wait_s=limits.max_wait_s,
            observer=self._metrics,
        )
        serving.start(batcher)
        self._metrics.follow(lambda: batcher.waiting, lambda: len(serving.pool.loaded))
        async with AsyncExitStack() as open_index:
            warming = asyncio.create_task(self._get_ready(open_index))
            sweeping = asyncio.create_task(serving.held.drop_old_for_ever())
            try:
                yield
            finally:
                warming.cancel()
                sweeping.cancel()
                await asyncio.gather(warming, sweeping, return_exceptions=True)
                if self._index is not None:
                    await self._index.close()
                await batcher.close()
        serving.pool.close()

    async def _get_ready(self, open_index: AsyncExitStack) -> None:
        serving = self.serving
        try:
            if self._index is not None:
                model = await open_index.enter_async_context(serving.pool.lease())
                self._index.index = await asyncio.to_thread(_opened, self._index.path, model, self._threads)
            await _warm_up(serving)
            serving.ready = True
            _LOG.info("ready", extra={"fields": {"model": serving.pool.default}})
        except Exception as error:
            serving.failed = error


def _check_index(index: ServedIndex, source: Source) -> None:
    """What can be told before the model is open. Raises UsageError, StorageError and MissingExtra."""
    import_lancedb()  # for its errors
    if not index.roots:
        require_index(index.path)  # nothing can ever come into it
    if source.identity is not None:
        IndexFolder(index.path).table_named(source.name, source.identity)


def _opened(path: Path, model: Model, threads: int | None) -> PhotoIndex:
    """Raises UsageError for an index that the model cannot search: better no server than one that refuses
    every search."""
    index = PhotoIndex(path, model, threads=threads)
    index.require_model()
    return index


async def _warm_up(serving: Serving) -> None:
    """Run the default model's verbs once: graphs are compiled when they first run."""
    picture = io.BytesIO()
    Image.new("RGB", (64, 64), (128, 128, 128)).save(picture, "JPEG")
    photo = picture.getvalue()
    run = serving.batcher.run
    async with serving.pool.lease() as model:
        if "caption" in model.tasks:
            await run(caption_lane(model, None, model.generation_options()), [photo])
        if "ask" in model.tasks:
            await run(photo_lane(model, "ask"), [(photo, "what is this?")])
        if "match" in model.tasks:
            await run(photo_lane(model, "match", texts=["a photo"]), [photo])
        if "embed" in model.tasks:
            await run(photo_lane(model, "embed_images"), [photo])
            with suppress(TaskUnavailable):  # a model without texts
                await run(text_lane(model), ["a photo"])
        elif "embed_texts" in model.tasks:
            await run(text_lane(model), ["a text"])
        if model.tasks.isdisjoint(("caption", "ask", "match", "embed", "embed_texts")):
            await run(photo_lane(model, "classify", labels=None), [photo])


async def _answer(request: Request, error: Exception) -> Response:
    problem = problem_of(error)
    packed = request.headers.get("content-encoding", "identity")
    if isinstance(error, RequestValidationError | HTTPException) and packed != "identity":
        problem = Problem(415, PACKED)
    elif isinstance(error, RequestValidationError):
        problem = invalid(error, TAKES.get(request.scope["path"]))
    if problem.status == 500:
        current.get().error = error
    return Response(problem.body, problem.status, problem.headers, media_type="application/json")
