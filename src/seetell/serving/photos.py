"""Photos as requests carry them: a ``data:`` URL, an address to fetch one from, or the name of one that is
held. Never a path."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Awaitable, Callable
from urllib.parse import unquote_to_bytes

from seetell.core.errors import ImageError, UsageError
from seetell.media.fetch import Arrived
from seetell.serving.held import SCHEME as HELD
from seetell.serving.held import HeldPhotos

# From an address to the bytes there, each piece told as it arrives; refuses what may not be fetched.
Fetch = Callable[[str, Arrived], Awaitable[bytes]]

# Undoing percent-encoding takes a second per 16 MB, in which nobody else is answered.
_MOST_ESCAPED = 64 * 1024
# From what some programs write to base64 without line breaks, and how much longer those make it at most.
_PLAIN, _BETWEEN = bytes.maketrans(b"-_", b"+/"), b" \t\r\n"
_LINES = 66 / 64
# Of what stands before the comma; types of images are short.
_LONGEST_HEAD = 1024

# What other APIs take for a photo; with or without the type of an image.
_BASE64_ALONE = re.compile(r"(image/[a-z+.-]+;base64,)?[A-Za-z0-9+/_-]{64}")
_DATA = re.compile(r"data:(?P<type>[^,;]*)(?P<parameters>(?:;[^,;]*)*),", re.IGNORECASE)


class PhotoReader:
    """Gives the bytes of photos.

    Args:
        largest_bytes: of one photo.
        fetch: None where photos may not be fetched at all.
        held: what has been sent for later requests; None where nothing is held.
    """

    def __init__(
        self, largest_bytes: int, fetch: Fetch | None = None, held: HeldPhotos | None = None
    ) -> None:
        self._largest_bytes = largest_bytes
        self._fetch = fetch
        self._held = held

    async def read(self, given: str, arrived: Arrived) -> bytes:
        """``arrived`` is told of what is fetched, piece by piece, and may end it by raising.

        Raises ImageError, FetchError, UsageError for what is no photo's address, and Problem for one that is
        not held any more.
        """
        if given[:1].isspace() or given[-1:].isspace():
            given = given.strip()
        scheme = given[:16].partition(":")[0].lower()
        if scheme == "data":
            return decode_data_url(given, self._largest_bytes)
        if scheme == HELD and self._held is not None:
            return self._held.get(given)
        if scheme in ("http", "https"):
            if self._fetch is None:
                raise UsageError("this server fetches no addresses; send the photo as a data: URL")
            return await self._fetch(given, arrived)
        if _BASE64_ALONE.match(given) is not None:
            raise UsageError("a photo in base64 is a data: URL; write data:image/jpeg;base64, before it")
        raise UsageError("a photo is a data: URL (data:image/jpeg;base64,...) or an http(s) address")


def decode_data_url(url: str, largest_bytes: int) -> bytes:
    """The bytes of ``data:[TYPE][;base64],DATA``; without ``;base64`` only short ones are taken.

    Raises ImageError when they are too many or no base64.
    """
    head = _DATA.match(url[:_LONGEST_HEAD])
    if head is None:
        raise ImageError("unreadable", "the data: URL has no comma; write data:image/jpeg;base64,DATA")
    kind = head["type"].strip().lower()
    if kind and not kind.startswith("image/") and kind != "application/octet-stream":
        raise ImageError("not_an_image", f"the data: URL holds {kind[:60]!r}, not an image")
    coded = len(url) - head.end()
    if not re.search(r";\s*base64\s*$", head["parameters"], re.IGNORECASE):
        if coded > _MOST_ESCAPED:
            raise ImageError(
                "too_large",
                f"a data: URL without ;base64 holds at most {_MOST_ESCAPED:,} characters; write it in base64",
            )
        data = unquote_to_bytes(url[head.end() :])
    else:
        if coded > 4 * (largest_bytes // 3 + 2) * _LINES:
            raise _too_large(largest_bytes)
        data = _decoded(url[head.end() :])
    if len(data) > largest_bytes:
        raise _too_large(largest_bytes)
    return data


def _decoded(coded: str) -> bytes:
    """The bytes of base64 as programs write it: also in lines, without the padding at its end, or in the
    alphabet for URLs. Raises ImageError for what is none of these."""
    try:
        return base64.b64decode(coded, validate=True)
    except (binascii.Error, ValueError):
        try:
            plain = coded.encode("ascii").translate(_PLAIN, _BETWEEN).rstrip(b"=")
            return base64.b64decode(plain + b"=" * (-len(plain) % 4), validate=True)
        except (binascii.Error, ValueError) as error:
            raise ImageError("unreadable", "what follows the comma of the data: URL is no base64") from error


def _too_large(largest_bytes: int) -> ImageError:
    return ImageError("too_large", f"the photo has more than the {largest_bytes:,} bytes this server takes")
