"""One file over HTTP: whole and as its hash says, or not at all.

What has come lies in ``NAME.part``. Where the connection breaks, and the next time where a process was
stopped, the rest is asked for; a server that cannot begin in the middle begins anew. No credentials are sent
to anybody: the opener is our own, whatever the program has installed in ``urllib``.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import cast
from urllib.error import HTTPError
from urllib.request import Request, build_opener

from seetell.bundle.fetching import Counter
from seetell.core.errors import BundleDamaged
from seetell.core.files import storage_error

# Of the waiting for an answer and for more of it, not of the whole.
_TIMEOUT_S = 60
_BLOCK_BYTES = 1 << 18
# Attempts, one after the other, that get no further than those before.
_ATTEMPTS = 5
_BEGINS = re.compile(r"bytes (\d+)-")


def ask(url: str, begin: int = 0) -> HTTPResponse:
    """The answer to a GET, from byte ``begin`` on where the server can. Raises OSError and HTTPException."""
    headers = {"User-Agent": "seetell"} | ({"Range": f"bytes={begin}-"} if begin else {})
    return cast(HTTPResponse, build_opener().open(Request(url, headers=headers), timeout=_TIMEOUT_S))


def download(url: str, target: Path, size_bytes: int, sha256: str, counter: Counter, what: str) -> None:
    """Fetch ``url`` to ``target``. ``what`` names it in messages.

    Raises OSError and HTTPException of the network, BundleDamaged where the content is another, StorageError.
    """
    part = part_of(target)
    with _writing(part):
        part.touch()
    furthest, attempt = bytes_there(part), 1
    while (broken := _append(url, part, size_bytes, counter)) is not None:
        if bytes_there(part) > furthest:
            furthest, attempt = bytes_there(part), 1
        elif attempt == _ATTEMPTS:
            raise broken
        else:
            time.sleep(2**attempt / 2)
            attempt += 1
    with _writing(part):
        if _sha256(part) != sha256:
            part.unlink()
            raise BundleDamaged(
                f"{what}: what came differs from its hash and was removed; it was damaged on the way, or "
                "changed meanwhile: run the same again"
            )
        os.replace(part, target)


def part_of(target: Path) -> Path:
    """Where lies what has come of a file."""
    return target.with_name(f"{target.name}.part")


def bytes_there(path: Path) -> int:
    """How much of a file there is; 0 where it is not there."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _append(url: str, part: Path, size_bytes: int, counter: Counter) -> Exception | None:
    """Write what is missing of ``part``; what broke that off, where something did that may pass."""
    had = bytes_there(part)
    if had == size_bytes:  # an empty file, too, which is not asked for: some servers have none to send
        return None
    try:
        response = ask(url, had)
    except HTTPError as error:
        if error.code != 416 and error.code < 500:
            raise
        error.close()
        if error.code != 416:
            return error
        with _writing(part):
            os.truncate(part, 0)
        counter.add(-had)
        return ConnectionError(f"it has no byte {had:,}")
    except (OSError, HTTPException) as error:
        return error
    with response:
        begins = _begins(response)
        if begins > had:
            return ConnectionError(f"asked for byte {had:,} and after, it sent byte {begins:,} and after")
        with _writing(part):
            os.truncate(part, begins)
        counter.add(begins - had)
        return _append_blocks(response, part, size_bytes - begins, counter)


def _append_blocks(response: HTTPResponse, part: Path, left: int, counter: Counter) -> Exception | None:
    # Without a buffer nothing is left to write, and to fail, when the file is closed.
    with part.open("ab", buffering=0) as file:
        while left:
            try:
                block = response.read1(min(_BLOCK_BYTES, left))
            except (OSError, HTTPException) as error:
                return error
            if not block:
                return ConnectionError(f"it ended {left:,} bytes early")
            written = 0
            while written < len(block):
                with _writing(part):
                    written += file.write(block[written:])
            left -= len(block)
            counter.add(len(block))
    return None


def _begins(response: HTTPResponse) -> int:
    """Where in the file the answer begins. By its header and not by its status: ModelScope sends the middle
    that it was asked for with status 200."""
    match = _BEGINS.match(response.headers.get("Content-Range", ""))
    return int(match[1]) if match else 0


def _sha256(path: Path) -> str:
    with path.open("r+b") as file:
        os.fsync(file.fileno())  # a name that is there must mean that the content is, even after a power cut
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise storage_error(error, path) from error
