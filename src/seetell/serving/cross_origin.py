"""Which web pages of other origins may ask the server: none, unless its owner names them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from seetell.core.errors import UsageError

# As browsers write it: no path, no slash at the end.
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#\s]+", re.IGNORECASE)
EVERY_ORIGIN = "*"


def checked_origins(given: Sequence[str]) -> list[str]:
    """The origins as browsers send them. Raises UsageError for what can never be one."""
    for one in given:
        if one != EVERY_ORIGIN and _ORIGIN.fullmatch(one) is None:
            raise UsageError(
                f"--cors-origin {one!r} is no origin; write it as browsers do, https://example.com or "
                "http://localhost:3000, without a path, or * for every one"
            )
    return [one.lower() for one in given]


def for_origins(app: ASGIApp, origins: Sequence[str]) -> ASGIApp:
    """``app`` for pages of these origins, too. Outside the gate: what browsers ask first has no key."""
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=["GET", "HEAD", "POST"],
        # OpenAI's client sends a dozen of its own.
        allow_headers=["*"],
        # Pages of the internet may ask a machine of a private network where its owner says so.
        allow_private_network=True,
        expose_headers=["x-request-id", "retry-after"],
    )
