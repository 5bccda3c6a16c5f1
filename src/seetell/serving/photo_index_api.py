"""Search over HTTP, and bringing the index up to date from folders that the server's owner named."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from pydantic import Field

from seetell.core.results import Failure, Hit
from seetell.search.photo_index import PhotoIndex
from seetell.serving.batching import Lane
from seetell.serving.limits import MOST_HITS
from seetell.serving.problems import Problem
from seetell.serving.schemas import Request, Text
from seetell.serving.state import Serving
from seetell.tasks.model import Model

_LOG = logging.getLogger("seetell.serving")
_TEXTS = 64


class SearchRequest(Request):
    text: Text | None = Field(None, description="What to look for; a word after a minus is not wanted.")
    photo: str | None = Field(None, min_length=1, description="Photos like this one.", repr=False)
    k: int = Field(10, ge=1, le=MOST_HITS, description="How many.")
    where: Text | None = Field(None, description="A condition in SQL, as of seetell search.")
    hybrid: bool = Field(False, description="Look for the words in captions, too.")
    rerank: bool = Field(False, description="Have the matching head look at the best again.")
    min_probability: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Leave out what fits less probably; by default what the model says does not fit.",
    )


class IndexRequest(Request):
    folders: list[Text] | None = Field(
        None, min_length=1, max_length=100, description="By default all that the server may index."
    )


@dataclass(frozen=True, slots=True)
class Hits:
    """remarks: what is doubtful about the text, as that its end is not read."""

    hits: list[Hit]
    remarks: list[str]


@dataclass(frozen=True, slots=True)
class IndexState:
    """photos: in the index. running: it is being brought up to date. counts: of the last or present run, by
    what happened to a photo (``added``, ``updated``, ``moved``, ``removed``, ``unchanged``, ``failed``).
    error: why the last run stopped."""

    photos: int
    running: bool
    counts: dict[str, int]
    error: str | None


@dataclass(slots=True)
class ServedIndex:
    """An index that a server answers from. index: there while the server runs.

    roots: the folders it may be brought up to date from, and whatever lies below them.
    """

    path: Path
    roots: Sequence[Path] = ()
    index: PhotoIndex | None = None
    counts: Counter[str] = field(default_factory=Counter)
    error: str | None = None
    _task: asyncio.Task[None] | None = None
    _stop: threading.Event = field(default_factory=threading.Event)

    def opened(self) -> PhotoIndex:
        """Raises Problem while the server starts."""
        if self.index is None:
            raise Problem(503, "the index is being opened; ask again")
        return self.index

    @property
    def running(self) -> bool:
        """Whether it is being brought up to date."""
        return self._task is not None and not self._task.done()

    def allowed(self, folders: Sequence[str] | None) -> list[Path]:
        """The folders meant. Raises Problem for one that is not below a root."""
        if not self.roots:
            raise Problem(400, "this server may index no folders; start it with --photos FOLDER")
        if folders is None:
            return list(self.roots)
        found = []
        for name in folders:
            inside = [path for root in self.roots if (path := _folder_below(root, name)) is not None]
            if not inside:
                raise Problem(400, f"{name[:200]!r} is no folder that this server may index", param="folders")
            found.append(inside[0])
        return found

    def begin(self, folders: Sequence[Path]) -> None:
        """Bring the index up to date in another thread. Raises Problem 409 while that goes on."""
        if self.running:
            raise Problem(409, "the index is being brought up to date already", type="conflict")
        self.counts, self.error = Counter(), None
        self._task = asyncio.create_task(self._run(self.opened(), folders))

    async def close(self) -> None:
        """Stop after the present photo; the index keeps what was written."""
        self._stop.set()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self, index: PhotoIndex, folders: Sequence[Path]) -> None:
        def update() -> None:
            for result in index.changes(folders):
                self.counts["failed" if isinstance(result, Failure) else result.what] += 1
                if self._stop.is_set():
                    return

        try:
            await asyncio.to_thread(update)
            _LOG.info("index brought up to date", extra={"fields": dict(self.counts)})
        except Exception as error:
            self.error = f"{type(error).__name__}; the server's log says more"
            _LOG.error("indexing failed", exc_info=error)


def _folder_below(root: Path, name: str) -> Path | None:
    """The folder ``name`` at or below ``root``; None where there is none, or none that may be looked at."""
    try:
        # Unlike Path.resolve and Path.is_dir these raise for no name that is too long or leads in circles.
        path, top = (Path(os.path.realpath(one)) for one in (root / name, root))
    except (OSError, ValueError):  # no name of a file: a NUL byte in it
        return None
    return path if path.is_relative_to(top) and os.path.isdir(path) else None


def index_routes(serving: Serving, served: ServedIndex | None) -> APIRouter:
    """``/v1/search`` and ``/v1/index``."""
    router = APIRouter(prefix="/v1", tags=["search"])

    def there() -> ServedIndex:
        if served is None:
            raise Problem(404, "this server has no index; start it with --index DIR", type="no_index")
        return served

    @router.post("/search", summary="Find photos of the index")
    async def search(request: SearchRequest) -> Hits:
        index = there().opened()
        if request.text is None and request.photo is None:
            raise Problem(422, "say what to look for: text, photo or both", param="text")
        if request.model not in (None, serving.pool.default):
            raise Problem(400, f"the index is of {serving.pool.default}", param="model")
        photo = None if request.photo is None else await serving.photo(request.photo)

        def lane(_: Model) -> Lane:
            options: dict[str, Any] = {"k": request.k, "where": request.where}
            options["min_probability"] = request.min_probability
            more: dict[str, Any] = {"hybrid": request.hybrid, "rerank": request.rerank}

            def run(items: list[tuple[str | None, bytes | None]]) -> Iterable[list[Hit]]:
                texts = [text for text, image in items if text is not None and image is None]
                if len(texts) == len(items) and not any(more.values()):
                    return index.search_many(texts, **options)
                return [index.search(text, image=image, **options, **more) for text, image in items]

            return Lane("search", ("search", *options.values(), *more.values()), _TEXTS, run)

        found: list[list[Hit]] = await serving.run("search", None, lane, [(request.text, photo)])
        remarks = []
        if request.text is not None:
            remarks = await asyncio.to_thread(index.remarks, request.text, image=photo)
        return Hits(found[0], remarks)

    @router.get("/index", summary="What is in the index")
    async def state() -> IndexState:
        mine = there()
        photos = await asyncio.to_thread(len, mine.opened())
        return IndexState(photos, mine.running, dict(mine.counts), mine.error)

    @router.post("/index", status_code=202, summary="Begin to bring the index up to date")
    async def update(request: IndexRequest) -> IndexState:
        mine = there()
        mine.begin(mine.allowed(request.folders))
        return await state()

    return router
