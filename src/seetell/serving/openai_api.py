"""The part of OpenAI's API that fits: models, embeddings and chat completions. Their fields and shapes are
OpenAI's; what a client may set and this server cannot honour is refused, not ignored."""

from __future__ import annotations

import base64
import time
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from seetell.serving.branches import branch, wrong_shape
from seetell.serving.lanes import photo_lane, text_lane
from seetell.serving.limits import MOST_CHARACTERS, MOST_PHOTOS, MOST_TEXTS_TO_EMBED
from seetell.serving.problems import Problem
from seetell.serving.schemas import Request, Usage
from seetell.serving.state import Serving

# Texts of one request that wait for the model at the same time: many of them must not fill the queue.
_AT_ONCE = 256


class ServedModel(BaseModel):
    """A model that can be asked for. ``loaded``: it is in memory."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "seetell"
    loaded: bool


class ModelList(BaseModel):
    object: Literal["list"] = "list"
    data: list[ServedModel]


_OneInput = Annotated[str, Field(min_length=1)]
_Inputs = Annotated[list[_OneInput], Field(min_length=1, max_length=MOST_TEXTS_TO_EMBED)]
_ONE: TypeAdapter[str] = TypeAdapter(_OneInput)
_SEVERAL: TypeAdapter[list[str]] = TypeAdapter(_Inputs, config=ConfigDict(strict=True))


def _input(given: Any) -> Any:
    if isinstance(given, str):
        return _ONE.validate_python
    if isinstance(given, list):
        if given and all(isinstance(one, int | list) for one in given):
            raise wrong_shape("numbers of tokens are not read, for each model has its own; send texts")
        return _SEVERAL.validate_python
    raise wrong_shape("input is a text or a list of texts; with modality: image, of photos' addresses")


class EmbeddingsRequest(Request):
    """``input``: texts, or with ``modality: image`` photos (data: URLs or addresses)."""

    input: Annotated[_OneInput | _Inputs, branch(_input)]
    modality: Literal["text", "image"] = "text"
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(None, ge=1, description="Only the model's own.")
    user: str | None = None


class Embedding(BaseModel):
    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class Embeddings(BaseModel):
    """OpenAI's, and ``cut``: the ``index`` of each text that is longer than what the model reads, whose end
    counts for nothing."""

    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: Usage
    cut: list[int]


def openai_routes(serving: Serving) -> APIRouter:
    """``/v1/models`` and ``/v1/embeddings``."""
    router = APIRouter(prefix="/v1", tags=["OpenAI-compatible"])
    started = int(time.time())

    def served(name: str) -> ServedModel:
        return ServedModel(id=name, created=started, loaded=name in serving.pool.loaded)

    @router.get("/models", summary="The models that can be asked for, the default first")
    async def models() -> ModelList:
        return ModelList(data=[served(name) for name in serving.pool.names])

    @router.get("/models/{name:path}", summary="One model")
    async def model(name: str) -> ServedModel:
        if name not in serving.pool.names:
            raise Problem(404, f"no model {name[:100]!r}", type="model_not_found", param="model")
        return served(name)

    @router.post("/embeddings", summary="Texts or photos as unit vectors in one space")
    async def embeddings(request: EmbeddingsRequest) -> Embeddings:
        given = [request.input] if isinstance(request.input, str) else request.input
        tokens, cut = 0, []
        if request.modality == "image":
            if len(given) > MOST_PHOTOS:
                raise Problem(
                    422, f"{len(given)} photos, more than the {MOST_PHOTOS} of a request", param="input"
                )
            photos = [await serving.photo(one, "input") for one in given]
            vectors = await serving.run(
                "embed", request.model, lambda model: photo_lane(model, "embed_images"), photos, "input"
            )
        else:
            _check_texts(given)
            rows = []
            at_once = min(_AT_ONCE, serving.limits.queue)
            for first in range(0, len(given), at_once):
                some = given[first : first + at_once]
                rows += await serving.run("embed", request.model, text_lane, some)
            vectors, tokens = [vector for vector, _, _ in rows], sum(count for _, count, _ in rows)
            cut = [place for place, (_, _, longer) in enumerate(rows) if longer]
        if request.dimensions not in (None, len(vectors[0])):
            raise Problem(
                400,
                f"this model's vectors have {len(vectors[0])} dimensions, and cannot be cut",
                param="dimensions",
            )
        embedded = [
            Embedding(index=place, embedding=coded(vector, request.encoding_format))
            for place, vector in enumerate(vectors)
        ]
        usage = Usage(prompt_tokens=tokens, total_tokens=tokens)
        return Embeddings(data=embedded, model=request.model or serving.pool.default, usage=usage, cut=cut)

    return router


def _check_texts(texts: list[str]) -> None:
    """An empty text would fail in the model, with those of other requests. Raises Problem."""
    for place, text in enumerate(texts):
        if not text.strip():
            raise Problem(422, "a text to embed is empty", param=f"input.{place}")
        if len(text) > MOST_CHARACTERS:
            raise Problem(422, f"{len(text)} characters, more than {MOST_CHARACTERS}", param=f"input.{place}")


def coded(vector: Any, encoding: str) -> list[float] | str:
    """A vector as a list, or as the bytes of float32 in base64."""
    if encoding == "base64":
        return base64.b64encode(np.asarray(vector, "<f4").tobytes()).decode("ascii")
    floats: list[float] = np.asarray(vector, np.float32).tolist()
    return floats
