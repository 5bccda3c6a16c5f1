"""Whether the server is there, and whether it is ready for work. Both are open to everybody."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter

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


def health_routes(serving: Serving) -> APIRouter:
    """``/health`` and ``/ready``."""
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

    return router
