"""The verbs over HTTP, one photo a request: requests that wait at the same time run together anyway."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter

from seetell.core.results import Answer, Caption, Classification, Match
from seetell.serving.batching import Lane
from seetell.serving.lanes import caption_lane, photo_lane
from seetell.serving.limits import MOST_BEAMS
from seetell.serving.problems import Problem
from seetell.serving.schemas import AskRequest, CaptionRequest, ClassifyRequest, MatchRequest
from seetell.serving.state import Serving
from seetell.tasks.model import Model


@dataclass(frozen=True, slots=True)
class Matches:
    """In the order of ``texts``."""

    matches: list[Match]


def own_routes(serving: Serving) -> APIRouter:
    """``/v1/caption``, ``/v1/ask``, ``/v1/match`` and ``/v1/classify``."""
    router = APIRouter(prefix="/v1", tags=["photos"])

    @router.post("/caption", summary="Describe a photo")
    async def caption(request: CaptionRequest) -> Caption:
        changes = {
            name: value
            for name in ("method", "beams", "max_tokens", "prompt")
            if (value := getattr(request, name)) is not None
        }

        def lane(model: Model) -> Lane:
            options = model.generation_options(**changes)
            return caption_lane(model, request.language, options)

        photo = await serving.photo(request.photo)
        found: list[Caption] = await serving.run("caption", request.model, lane, [photo])
        return found[0]

    @router.post("/ask", summary="Ask about a photo")
    async def ask(request: AskRequest) -> Answer:
        def lane(model: Model) -> Lane:
            # Each alternative of a written answer is one more beam of the search.
            if request.top > MOST_BEAMS and request.answers is None and model.writes_answers:
                raise Problem(
                    422,
                    f"top: this model writes its answers, of which it gives at most {MOST_BEAMS}",
                    param="top",
                )
            return photo_lane(
                model, "ask", answers=request.answers, top=request.top, min_confidence=request.min_confidence
            )

        photo = await serving.photo(request.photo)
        found: list[Answer] = await serving.run("ask", request.model, lane, [(photo, request.question)])
        return found[0]

    @router.post("/match", summary="How well each text fits a photo")
    async def match(request: MatchRequest) -> Matches:
        def lane(model: Model) -> Lane:
            return photo_lane(model, "match", texts=request.texts)

        photo = await serving.photo(request.photo)
        return Matches((await serving.run("match", request.model, lane, [photo]))[0])

    @router.post("/classify", summary="Choose the label that fits a photo best")
    async def classify(request: ClassifyRequest) -> Classification:
        def lane(model: Model) -> Lane:
            return photo_lane(model, "classify", labels=request.labels, language=request.language)

        photo = await serving.photo(request.photo)
        found: list[Classification] = await serving.run("classify", request.model, lane, [photo])
        return found[0]

    return router
