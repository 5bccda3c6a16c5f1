"""The web page at ``/``: one file with everything in it, and what it has to know of the server.

The file is built from ``web/`` (``npm run build`` there) and committed. Its script and its style are allowed
by their hashes, and nothing else is: no other script runs in it, and it sends requests nowhere but here.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import io
import re
from dataclasses import dataclass
from importlib import resources
from typing import Annotated

from fastapi import APIRouter, Query, Request
from PIL import Image
from starlette.responses import Response

from seetell.media.images import decode_image
from seetell.search.index_folder import fingerprint_of
from seetell.serving.photo_index_api import ServedIndex
from seetell.serving.problems import Problem
from seetell.serving.state import Serving

# Photos of the index made smaller at the same time: a large one takes hundreds of megabytes.
_DECODED_AT_ONCE = 2
_INLINE = re.compile(r"<(script|style)\b[^>]*>(.*?)</\1>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Abilities:
    """What the default model can do, and how large a photo may be.

    files: changes when the model's files do. languages: the default first. image_size: the longest edge that
    the model sees, in pixels. index: photos in the server's index, None where it has none. samples: photos to
    try it with.
    """

    model: str
    files: str
    tasks: list[str]
    languages: list[str]
    image_size: int | None
    photo_bytes: int
    index: int | None
    samples: list[str]


def page_routes(serving: Serving, served: ServedIndex | None = None, root_path: str = "") -> APIRouter:
    """``/``, open to everybody, and behind the key what it has to know: ``/v1/page``, samples and photos of
    the index."""
    router = APIRouter(include_in_schema=False)
    html = resources.files("seetell.serving").joinpath("page", "index.html").read_bytes()
    if root_path:
        # The page asks relative to where it lies; a proxy may show it without the slash at the end.
        html = html.replace(b"<head>", b'<head><base href="%b/">' % root_path.encode(), 1)
    folder = resources.files("seetell").joinpath("samples")
    samples = {one.name: one for one in folder.iterdir() if one.name.endswith(".jpg")}
    packed = gzip.compress(html, mtime=0)
    headers = {
        "content-security-policy": content_security_policy(html.decode("utf-8"), has_base=bool(root_path)),
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cross-origin-opener-policy": "same-origin",
        "cache-control": "no-cache",
        "vary": "accept-encoding",
        "etag": f'"{hashlib.sha256(html).hexdigest()[:32]}"',
    }

    @router.get("/")
    async def page(request: Request) -> Response:
        if request.headers.get("if-none-match") == headers["etag"]:
            return Response(status_code=304, headers=headers)
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Response(packed, headers=headers | {"content-encoding": "gzip"}, media_type="text/html")
        return Response(html, headers=headers, media_type="text/html")

    @router.get("/v1/page")
    async def abilities() -> Abilities:
        if serving.failed is not None:
            raise Problem(503, "the model could not be run; the server's log says why", type="failed")
        if not serving.ready or serving.draining:
            raise Problem(503, "the server is starting or ending; ask again")
        photos = None if served is None else await asyncio.to_thread(len, served.opened())
        async with serving.pool.lease() as model:
            return Abilities(
                model=model.name,
                files=fingerprint_of(model),
                tasks=sorted(model.tasks),
                languages=list(model.languages),
                image_size=model.image_size,
                photo_bytes=serving.limits.photo_bytes,
                index=photos,
                samples=sorted(samples),
            )

    decoding = asyncio.Semaphore(_DECODED_AT_ONCE)

    async def small(photo: str | bytes, edge: int) -> Response:
        async with decoding:
            picture = await asyncio.to_thread(_smaller, photo, edge)
        return Response(picture, media_type="image/jpeg", headers={"cache-control": "private, max-age=600"})

    @router.get("/v1/page/sample")
    async def sample(
        name: Annotated[str, Query(max_length=100)], edge: Annotated[int, Query(ge=16, le=2048)] = 2048
    ) -> Response:
        if name not in samples:
            raise Problem(404, "no such sample", param="name")
        return await small(samples[name].read_bytes(), edge)

    @router.get("/v1/page/photo")
    async def photo(
        path: Annotated[str, Query(max_length=4096)], edge: Annotated[int, Query(ge=16, le=2048)] = 320
    ) -> Response:
        index = None if served is None else served.opened()
        # Nothing but the index's own photos: a path is not to be trusted.
        if index is None or not await asyncio.to_thread(index.__contains__, path):
            raise Problem(404, "no such photo in the index", param="path")
        return await small(path, edge)

    return router


def _smaller(photo: str | bytes, edge: int) -> bytes:
    """A photo as JPEG, its longer edge at most ``edge``; without what cameras write beside the pixels."""
    picture = Image.fromarray(decode_image(photo, min_size=(edge // 2, edge // 2)))
    picture.thumbnail((edge, edge))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def content_security_policy(html: str, *, has_base: bool = False) -> str:
    """What a page may do: run and look as its own inline parts say, show its photos, ask its server.
    has_base: it names the place on its server that it asks."""
    hashes: dict[str, list[str]] = {"script": [], "style": []}
    for found in _INLINE.finditer(html):
        digest = hashlib.sha256(found[2].encode("utf-8")).digest()
        hashes[found[1]].append(f"'sha256-{base64.b64encode(digest).decode('ascii')}'")
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {' '.join(hashes['script'])}",
            f"style-src {' '.join(hashes['style'])}",
            "img-src blob: data:",
            "connect-src 'self'",
            "base-uri 'self'" if has_base else "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )
