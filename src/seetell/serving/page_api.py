"""What the page asks about its photos, behind the key. Each is sent once, and named from then on; they are
searched in one ranking with those of the server's index. This is for the page alone, and may change."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Request
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from seetell.core.errors import ImageError
from seetell.core.results import Caption
from seetell.search.beside import Both
from seetell.search.photo_index import PhotoIndex
from seetell.serving.batching import Lane
from seetell.serving.lanes import caption_lane, photo_lane
from seetell.serving.limits import MOST_HITS
from seetell.serving.openai_api import coded
from seetell.serving.photo_index_api import ServedIndex
from seetell.serving.problems import Problem, problem_of
from seetell.serving.schemas import Name, Text
from seetell.serving.state import Serving
from seetell.tasks.context import unit
from seetell.tasks.model import Model

# More of the page's photos are not searched at once: 1.4 MB of vectors for the built-in model.
_MOST_VECTORS = 1000


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class ReadRequest(_Request):
    """photo: as everywhere. language: of the caption; the model's first."""

    photo: str = Field(min_length=1, repr=False)
    language: Name | None = None


class ForgetRequest(_Request):
    """photo: as it was named when it was sent."""

    photo: Annotated[str, Field(max_length=100)]


class PageSearchRequest(_Request):
    """text or like: what to look for; like is the place among ``vectors`` of the photo to find others like.

    vectors: of the page's photos, each the bytes of float32 in base64. names: of their files. k: so many
    photos of the index at most.
    """

    text: Text | None = None
    like: int | None = Field(None, ge=0)
    vectors: list[Annotated[str, Field(max_length=64 * 1024)]] = Field(max_length=_MOST_VECTORS, repr=False)
    names: list[Annotated[str, Field(max_length=1000)]] = Field([], max_length=_MOST_VECTORS)
    k: int = Field(24, ge=1, le=MOST_HITS)
    min_probability: float | None = Field(None, ge=0, le=1)


@dataclass(frozen=True, slots=True)
class Named:
    """photo: stands for the photo in requests; None where there is no room for it, and each must bring it."""

    photo: str | None


@dataclass(frozen=True, slots=True)
class Seen:
    """All that the page wants to know of a photo. vector: as embeddings in base64. Each is None where the
    model does not give it."""

    caption: Caption | None
    vector: str | list[float] | None


@dataclass(frozen=True, slots=True)
class PageHit:
    """own: which of the page's photos; photo: the path of one of the index. One of the two is None."""

    own: int | None
    photo: str | None
    score: float
    probability: float | None
    gone: bool


@dataclass(frozen=True, slots=True)
class PageHits:
    """left_out: how many of those looked at fit too little. remarks: what is doubtful about the text."""

    hits: list[PageHit]
    left_out: int
    remarks: list[str]


def page_api_routes(serving: Serving, served: ServedIndex | None = None) -> APIRouter:
    """``/v1/page/hold``, ``forget``, ``read`` and ``search``."""
    router = APIRouter(prefix="/v1/page", include_in_schema=False)

    @router.post("/hold")
    async def hold(request: Request) -> Named:
        """The body is a photo. Its type has to be said: no other web page may send one unasked."""
        if request.headers.get("content-type") != "application/octet-stream":
            raise Problem(415, "send the photo as it is, as application/octet-stream")
        photo = await request.body()
        if len(photo) > serving.limits.photo_bytes:
            message = f"the photo has more than the {serving.limits.photo_bytes:,} bytes this server takes"
            raise problem_of(ImageError("too_large", message), "photo")
        return Named(serving.held.hold(photo))

    @router.post("/forget")
    async def forget(request: ForgetRequest) -> Named:
        serving.held.drop(request.photo)
        return Named(None)

    @router.post("/read")
    async def read(request: ReadRequest) -> Seen:
        photo = await serving.photo(request.photo)
        async with serving.pool.lease() as model:
            tasks = model.tasks

            def captions(model: Model) -> Lane:
                return caption_lane(model, request.language, model.generation_options())

            def vectors(model: Model) -> Lane:
                return photo_lane(model, "embed_images")

            async def one(task: str, lane: Callable[[Model], Lane]) -> Any:
                return (await serving.run(task, None, lane, [photo]))[0] if task in tasks else None

            # One after the other: a photo takes no more than one place in the queue.
            vector, caption = await one("embed", vectors), await one("caption", captions)
        return Seen(caption, None if vector is None else coded(vector, "base64"))

    @router.post("/search")
    async def search(request: PageSearchRequest) -> PageHits:
        if (request.text is None) == (request.like is None):
            raise Problem(422, "say what to look for: text or like", param="text")
        vectors = _vectors(request.vectors)
        if len(request.names) not in (0, len(vectors)):
            raise Problem(422, "names: there is one for each vector", param="names")
        if request.like is not None and request.like >= len(vectors):
            raise Problem(422, f"like: there are {len(vectors)} vectors", param="like")

        def lane(model: Model) -> Lane:
            index = PhotoIndex(None, model) if served is None else served.opened()

            def run(items: list[PageSearchRequest]) -> list[tuple[Both, list[str]]]:
                return [_search(index, model, one, vectors) for one in items]

            # One by one: the vectors are this request's.
            return Lane("search", ("page search", id(request)), 1, run)

        ((both, remarks),) = await serving.run("search", None, lane, [request])
        hits = [
            PageHit(one.place, one.hit.photo or None, one.hit.score, one.hit.probability, one.hit.gone)
            for one in both.found
            if one.place is None or one.place != request.like
        ]
        return PageHits(hits, both.left_out, remarks)

    return router


def _search(
    index: PhotoIndex, model: Model, request: PageSearchRequest, vectors: NDArray[np.float32]
) -> tuple[Both, list[str]]:
    """Raises Problem for vectors that are not of the model."""
    dim = model.embed_texts([]).shape[1] or model.embed_texts(["a photo"]).shape[1]
    if len(vectors) and vectors.shape[1] != dim:
        raise Problem(422, f"vectors: this model's have {dim} dimensions", param="vectors")
    names = request.names
    if request.like is not None:
        return index.search_beside(vectors[request.like], vectors, names=names, k=request.k), []
    assert request.text is not None  # seen to above
    least = request.min_probability
    found = index.search_beside(request.text, vectors, names=names, k=request.k, min_probability=least)
    return found, index.remarks(request.text)


def _vectors(coded: list[str]) -> NDArray[np.float32]:
    """float32[N, S], of unit length; [0, 0] of none. Raises Problem for what are none."""
    try:
        rows = [np.frombuffer(base64.b64decode(one, validate=True), "<f4") for one in coded]
        found = np.stack(rows).astype(np.float32) if rows else np.zeros((0, 0), np.float32)
    except (binascii.Error, ValueError) as error:
        raise Problem(
            422, "vectors: each is float32 in base64, all of one length", param="vectors"
        ) from error
    if not np.isfinite(found).all():
        raise Problem(422, "vectors: one has a number that is none", param="vectors")
    return unit(found) if found.size else found
