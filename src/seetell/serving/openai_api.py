"""The part of OpenAI's API that fits: models, embeddings and chat completions. Their fields and shapes are
OpenAI's; what a client may set and this server cannot honour is refused, not ignored."""

from __future__ import annotations

import base64
import time
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from seetell.serving.lanes import photo_lane, text_lane
from seetell.serving.limits import MOST_CHARACTERS, MOST_PHOTOS, MOST_TEXTS
from seetell.serving.problems import Problem
from seetell.serving.schemas import Name
from seetell.serving.state import Serving


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


class EmbeddingsRequest(BaseModel):
    """``input``: texts, or with ``modality: image`` photos (data: URLs or addresses)."""

    model_config = ConfigDict(extra="forbid", strict=True)

    model: Name | None = None
    input: (
        Annotated[str, Field(min_length=1)]
        | Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1, max_length=MOST_TEXTS)]
    )
    modality: Literal["text", "image"] = "text"
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(None, ge=1, description="Only the model's own.")
    user: str | None = None


class Embedding(BaseModel):
    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class Usage(BaseModel):
    """prompt_tokens: what the model read of the texts; photos have none. total_tokens: the same."""

    prompt_tokens: int
    total_tokens: int


class Embeddings(BaseModel):
    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: Usage


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
        tokens = 0
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
            rows = await serving.run("embed", request.model, text_lane, given)
            vectors, tokens = [vector for vector, _ in rows], sum(count for _, count in rows)
        if request.dimensions not in (None, len(vectors[0])):
            raise Problem(
                400,
                f"this model's vectors have {len(vectors[0])} dimensions, and cannot be cut",
                param="dimensions",
            )
        coded = [
            Embedding(index=place, embedding=_coded(vector, request.encoding_format))
            for place, vector in enumerate(vectors)
        ]
        usage = Usage(prompt_tokens=tokens, total_tokens=tokens)
        return Embeddings(data=coded, model=request.model or serving.pool.default, usage=usage)

    return router


def _check_texts(texts: list[str]) -> None:
    """An empty text would fail in the model, with those of other requests. Raises Problem."""
    for place, text in enumerate(texts):
        if not text.strip():
            raise Problem(422, "a text to embed is empty", param=f"input.{place}")
        if len(text) > MOST_CHARACTERS:
            raise Problem(422, f"{len(text)} characters, more than {MOST_CHARACTERS}", param=f"input.{place}")


def _coded(vector: Any, encoding: str) -> list[float] | str:
    if encoding == "base64":
        return base64.b64encode(np.asarray(vector, "<f4").tobytes()).decode("ascii")
    floats: list[float] = np.asarray(vector, np.float32).tolist()
    return floats
