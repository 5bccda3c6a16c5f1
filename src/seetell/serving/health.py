"""Whether the server is there and ready for work, which anybody may ask, and its metrics."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter
from starlette.responses import PlainTextResponse, Response

from seetell.serving.metrics import Metrics
from seetell.serving.problems import Problem
from seetell.serving.state import Serving


@dataclass(frozen=True, slots=True)
class Health:
    status: str = "ok"


@dataclass(frozen=True, slots=True)
class Readiness:
    """model: the one that has been run."""

    status: str
    model: str


def health_routes(serving: Serving, metrics: Metrics) -> APIRouter:
    """``/health``, ``/ready`` and ``/metrics``."""
    router = APIRouter(tags=["server"])

    @router.get("/health", summary="The process answers")
    async def health() -> Health:
        return Health()

    @router.get("/ready", summary="A first inference has run")
    async def ready() -> Readiness:
        if serving.draining:
            raise Problem(503, "the server is ending", type="draining")
        if serving.failed is not None:
            raise Problem(503, "the model could not be run; the server's log says why", type="failed")
        if not serving.ready:
            raise Problem(503, "the model is being loaded; ask again")
        return Readiness("ready", serving.pool.default)

    @router.get("/metrics", summary="For Prometheus", response_class=PlainTextResponse)
    async def page() -> Response:
        body, kind = metrics.page()
        return Response(body, media_type=kind)

    return router
