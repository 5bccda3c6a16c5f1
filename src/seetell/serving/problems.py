"""From what went wrong to what a client is told: one status, one shape, one line.

``{"error": {"type", "message", "param"}}``: ``type`` is a stable word for programs, ``param`` the field of
the request at fault, or null.
"""

from __future__ import annotations

import json
from typing import Protocol

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
# Of strings that JSON can hold and no text can.
NO_TEXT = "it is no text, for it holds half of a surrogate pair (\\ud800 to \\udfff)"
# Instead of the framework's words, which do not say what to do instead.
_NOT_HERE = "no such address; /docs lists those there are, OpenAI's among them below /v1"
# Instead of pydantic's words, which name classes of ours or say too little.
_OBJECT = "it is to be a JSON object, {...}"
_WORDS = {
    "model_type": _OBJECT,
    "model_attributes_type": _OBJECT,
    "extra_forbidden": "there is no such field",
    "string_unicode": NO_TEXT,
}
_NOT_JSON = "send JSON, and the header Content-Type: application/json with it"
_OR_A_PHOTO = (
    "; or a form (multipart/form-data) with the photo as its file {field}; or the photo alone, with its own "
    "type as image/jpeg"
)
PACKED = "the body is packed (Content-Encoding), which is not read; send it as it is"
# What to call a photo that came as bytes: the word the facade has for it says nothing to a client.
_BYTES = "<bytes>: "


class Wanted(Protocol):
    """What an address takes, for messages that say what to send."""

    @property
    def names(self) -> list[str]:
        """Its fields."""
        ...

    @property
    def short(self) -> str:
        """A whole request as an example."""
        ...

    @property
    def photo_field(self) -> str | None:
        """Where a photo stands that is sent as it is."""
        ...

    def sends(self, field: str) -> str:
        """``field`` and a value for it; empty where there is no example of it."""
        ...


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
        return invalid(error)
    if isinstance(error, HTTPException):
        return _refused(error)
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


def _refused(error: HTTPException) -> Problem:
    """What the framework itself does not take."""
    headers, status, message = dict(error.headers or {}), error.status_code, str(error.detail)
    if status == 400:  # its word for bytes that are no text
        status, message = 422, "the body is no JSON in UTF-8"
    elif status == 404:
        message = _NOT_HERE
    elif status == 405 and "Allow" in headers:
        message = f"this address answers {headers['Allow']} only"
    return Problem(status, message, headers=headers)


def invalid(error: RequestValidationError, wanted: Wanted | None = None) -> Problem:
    """The first thing that is wrong, and what to send instead where the address is known. What the client
    sent is not repeated: it may be large, or no text."""
    errors = error.errors()
    first = errors[0] if errors else {"type": "", "loc": (), "msg": "invalid request"}
    within, *rest = first["loc"] or ("",)
    place = [str(part) for part in rest]
    example = "" if wanted is None else f"; send {wanted.short}"
    if within == "body" and isinstance(error.body, bytes) and error.body:
        field = None if wanted is None else wanted.photo_field
        return Problem(415, _NOT_JSON + ("" if field is None else _OR_A_PHOTO.format(field=field)))
    param = ".".join(place)[:200] or None
    kind = str(first["type"])
    if kind == "json_invalid":
        return Problem(422, f"the body is no JSON{example}")
    if not place and kind == "missing":
        return Problem(422, f"the body is empty{example or '; send a JSON object'}")
    message = _WORDS.get(kind, str(first["msg"]))
    if len(place) == 1 and wanted is not None and within == "body":
        message = _with_example(message, kind, place[0], wanted)
    elif not place:
        message += example
    return Problem(422, f"{param or 'the body'}: {message}", param=param)


def _with_example(message: str, kind: str, field: str, wanted: Wanted) -> str:
    """The words for a field of the request itself, with what to send."""
    if kind == "extra_forbidden":
        return f"{message}; there are {', '.join(wanted.names)}"
    example = wanted.sends(field)
    said = "it is missing" if kind == "missing" else message
    wrong = kind == "missing" or kind.endswith(("_type", "too_short", "pattern_mismatch"))
    return f"{said}; send {example}" if example and wrong else said
