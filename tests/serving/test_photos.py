"""Photos as programs write them into requests."""

from __future__ import annotations

import asyncio
import base64
import textwrap

import pytest

from seetell.core.errors import ImageError, UsageError
from seetell.serving.photos import PhotoReader, decode_data_url
from tests.serving.conftest import jpeg

# Of a length, and with bytes, that base64 writes with = at its end, and with + and /.
PHOTO = jpeg(1) + b"\xfb\xff\xbe" + b"\0" * (2 - len(jpeg(1)) % 3)
CODED = base64.b64encode(PHOTO).decode()
HEAD = "data:image/jpeg;base64,"


def read(given: str) -> bytes:
    return asyncio.run(PhotoReader(10_000).read(given, lambda size_bytes: None))


def test_the_photo_has_what_programs_write_in_several_ways() -> None:
    assert CODED.endswith("=") and "+" in CODED and "/" in CODED


@pytest.mark.parametrize(
    "coded",
    [
        CODED,
        CODED.rstrip("="),
        base64.encodebytes(PHOTO).decode(),
        "\r\n".join(textwrap.wrap(CODED, 64)),
        base64.urlsafe_b64encode(PHOTO).decode(),
        base64.urlsafe_b64encode(PHOTO).decode().rstrip("="),
    ],
    ids=["plain", "unpadded", "lines", "lines of 64", "for URLs", "for URLs, unpadded"],
)
@pytest.mark.parametrize(("before", "after"), [("", ""), (" ", "\n")])
def test_base64_is_read_as_programs_write_it(coded: str, before: str, after: str) -> None:
    assert read(f"{before}{HEAD}{coded}{after}") == PHOTO


@pytest.mark.parametrize("coded", [CODED + "!", CODED[:-3] + "é", "A", "AAAA=A", "照片"])
def test_what_is_no_base64(coded: str) -> None:
    with pytest.raises(ImageError, match=r"what follows the comma of the data: URL is no base64"):
        read(HEAD + coded)


def test_lines_count_for_nothing_in_the_size() -> None:
    photo = b"x" * 9000
    coded = "\r\n".join(textwrap.wrap(base64.b64encode(photo).decode(), 64))
    assert decode_data_url(HEAD + coded, 9000) == photo
    with pytest.raises(ImageError, match="more than the 8,999 bytes"):
        decode_data_url(HEAD + coded, 8999)


@pytest.mark.parametrize("head", ["", "image/png;base64,"])
def test_base64_alone_is_told_what_to_write_before_it(head: str) -> None:
    with pytest.raises(UsageError, match=r"is a data: URL; write data:image/jpeg;base64, before it"):
        read(head + CODED)
