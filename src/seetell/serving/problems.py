"""From what went wrong to what a client is told: one status, one shape, one line.

``{"error": {"type", "message", "param"}}``: ``type`` is a stable word for programs, ``param`` the field of
the request at fault, or null.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from seetell.core.errors import (
    BundleNotFound,
    DeadlineExceeded,
    FetchError,
    InputError,
    SeetellError,
    ServerBusy,
    UsageError,
)

_OF_STATUS = {
    400: "invalid_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "timeout",
    413: "too_large",
    415: "unsupported_media_type",
    422: "invalid_request",
    429: "queue_full",
    503: "not_ready",
    504: "timeout",
}
# What to call a photo that came as bytes: the word the facade has for it says nothing to a client.
_BYTES = "<bytes>: "


class ErrorDetail(BaseModel):
    """type: a stable word for programs. message: one line for people. param: the field at fault."""

    type: str
    message: str
    param: str | None = None


class ErrorBody(BaseModel):
    error: ErrorDetail


class Problem(Exception):
    """A request ends with this ``status`` and this error."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str | None = None,
        param: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        self.status = status
        self.detail = ErrorDetail(type=type or _OF_STATUS.get(status, "error"), message=message, param=param)
        self.headers = headers or {}
        super().__init__(message)

    @property
    def body(self) -> bytes:
        return json.dumps(ErrorBody(error=self.detail).model_dump(), ensure_ascii=True).encode()


def problem_of(error: BaseException, param: str | None = None) -> Problem:
    """How to answer a request that ended with ``error``; 500 without details for what nobody expected."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, RequestValidationError):
        return _invalid(error.errors())
    if isinstance(error, HTTPException):
        return Problem(error.status_code, str(error.detail), headers=dict(error.headers or {}))
    message = str(error).replace(_BYTES, "the photo: ")
    if isinstance(error, ServerBusy):
        return Problem(
            429, message, type=error.kind, headers={"retry-after": str(error.retry_after_s)}, param=param
        )
    if isinstance(error, DeadlineExceeded):
        return Problem(504, message, type=error.kind, param=param)
    if isinstance(error, FetchError | InputError):
        return Problem(413 if error.kind == "too_large" else 400, message, type=error.kind, param=param)
    if isinstance(error, UsageError):
        return Problem(400, message, type=error.kind, param=param)
    if isinstance(error, BundleNotFound):
        return Problem(404, message, type=error.kind, param="model")
    # The message of an error of ours may name the server's files; it is logged, and not told.
    kind = error.kind if isinstance(error, SeetellError) else "internal"
    return Problem(500, "the server failed at this request; its log says why", type=kind, param=param)


def _invalid(errors: Sequence[Any]) -> Problem:
    """The first thing that is wrong. What the client sent is not repeated: it may be large, or no text."""
    first = errors[0] if errors else {"loc": (), "msg": "invalid request"}
    place = [str(part) for part in first["loc"] if part not in ("body", "query", "header")]
    param = ".".join(place)[:200] or None
    message = "the body is no JSON" if first.get("type") == "json_invalid" else str(first["msg"])
    return Problem(422, f"{param}: {message}" if param else message, param=param)
