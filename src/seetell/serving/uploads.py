"""Photos sent as they are: in a form (multipart/form-data), or alone as the body with an image's type.

Either becomes the JSON that it stands for before the app sees it, so that what a request may say, and what is
said of its faults, stands in one place. The photo alone has the other fields in its address, after the ``?``.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.message import Message as Headers
from email.utils import collapse_rfc2231_value
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from seetell.serving.cross_origin import EVERY_ORIGIN
from seetell.serving.problems import PACKED, Problem
from seetell.serving.takes import Takes

_FORM = "multipart/form-data"
# No request has so many: 256 texts, or 64 photos, and what else it may say.
_MOST_PARTS = 512
_CRLF = b"\r\n"


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a form. photo: it is said to be a file or a picture, not a text."""

    name: str
    data: bytes
    photo: bool


class Uploads:
    """Hands the app JSON where a photo was sent as it is.

    Args:
        app: what answers JSON.
        takes: what each address takes that is asked about a photo.
        origins: whose web pages may send forms, besides those of this server.
    """

    def __init__(self, app: ASGIApp, takes: Mapping[str, Takes], origins: Sequence[str] = ()) -> None:
        self._app = app
        self._takes = takes
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        takes = self._takes.get(scope["path"]) if scope["type"] == "http" else None
        headers = dict(scope["headers"]) if takes is not None else {}
        kind = _header(headers.get(b"content-type", b""))
        alone = (
            kind.get_content_maintype() == "image" or kind.get_content_type() == "application/octet-stream"
        )
        if takes is None or takes.photo_field is None or not (alone or kind.get_content_type() == _FORM):
            await self._app(scope, receive, send)
            return
        if headers.get(b"content-encoding", b"identity") != b"identity":
            raise Problem(415, PACKED)
        if not alone:
            self._check_origin(headers)
        body = await _whole(receive)
        if alone:
            said = parse_qsl(
                scope.get("query_string", b"").decode("ascii", "replace"), keep_blank_values=True
            )
            given = takes.gathered([*said, (takes.photo_field, data_url(body))], photo=True)
        else:
            parts = parts_of(body, str(kind.get_param("boundary") or ""))
            given = takes.gathered(
                [(part.name, _said(part, takes.photo_field)) for part in parts],
                photo=any(part.photo and part.name == takes.photo_field for part in parts),
            )
        await self._hand_over(scope, json.dumps(given).encode(), receive, send)

    def _check_origin(self, headers: Mapping[bytes, bytes]) -> None:
        """A browser lets every page send a form anywhere, unasked: without a key any page that is open on
        this machine could have the server work. Raises Problem 403."""
        origin = headers.get(b"origin", b"").decode("latin-1").lower()
        # What pages cannot write themselves, and what a proxy leaves as it is.
        own = headers.get(b"sec-fetch-site") == b"same-origin"
        if not origin or own or not self._origins.isdisjoint((origin, EVERY_ORIGIN)):
            return
        if urlsplit(origin).netloc != headers.get(b"host", b"").decode("latin-1").lower():
            raise Problem(
                403, "a form from a web page of another origin; --cors-origin lets it, or send JSON"
            )

    async def _hand_over(self, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        replaced = (b"content-type", b"content-length")
        headers = [(name, value) for name, value in scope["headers"] if name not in replaced]
        headers += [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        given = False

        async def once() -> Any:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app({**scope, "headers": headers}, once, send)


def parts_of(body: bytes, boundary: str) -> list[Part]:
    """The parts of a form, in their order. Raises Problem for what is none."""
    if not boundary or not boundary.isascii():
        raise Problem(422, "the form's Content-Type has no boundary; let the client write that header")
    pieces = (_CRLF + body).split(b"\r\n--" + boundary.encode(), _MOST_PARTS + 2)
    if len(pieces) > _MOST_PARTS + 2:
        raise Problem(422, f"the form has more than {_MOST_PARTS} parts")
    if len(pieces) < 2 or not pieces[-1].startswith(b"--"):
        raise Problem(422, "the form is not whole: its last boundary is missing")
    return [_part(piece) for piece in pieces[1:-1]]


def _part(piece: bytes) -> Part:
    padding, _, rest = piece.partition(_CRLF)
    head, found, data = (_CRLF + rest).partition(_CRLF + _CRLF)
    headers = Headers()
    for line in head.decode("utf-8", "replace").split("\r\n"):
        name, colon, value = line.partition(":")
        if colon and name.lower() in ("content-disposition", "content-type"):
            headers[name] = value.strip()
    named: Any = headers.get_param("name", header="content-disposition")
    if not found or padding.strip(b" \t") or not named:
        raise Problem(
            422, 'a part of the form has no name; write Content-Disposition: form-data; name="photo"'
        )
    filed = headers.get_filename() is not None or headers.get_content_maintype() == "image"
    return Part(collapse_rfc2231_value(named), data, filed)


def _said(part: Part, photo_field: str) -> str:
    """What a part stands for in JSON. Raises Problem."""
    if part.photo and part.name == photo_field:
        return data_url(part.data)
    try:
        return part.data.decode("utf-8")
    except UnicodeDecodeError as error:
        name = part.name[:200]
        message = f"{name}: it is no text in UTF-8; send a photo as a file that is called {photo_field}"
        raise Problem(422, message, param=name) from error


def data_url(data: bytes) -> str:
    """A photo's bytes as JSON carries them."""
    # Its format is seen by its bytes, whatever the client calls it.
    return f"data:;base64,{base64.b64encode(data).decode('ascii')}"


def _header(content_type: bytes) -> Headers:
    """Content-Type, read; text/plain where there is none."""
    headers = Headers()
    headers["content-type"] = content_type.decode("latin-1").replace("\r", "").replace("\n", "")
    return headers


async def _whole(receive: Receive) -> bytes:
    """The body, which the gate has bounded."""
    pieces: list[bytes] = []
    more = True
    while more:
        message = await receive()
        pieces.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(pieces)
