"""PNG: what stands beside the pixels is no reason to refuse them."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from PIL import ImageFile, PngImagePlugin

from seetell.core.errors import ImageError
from seetell.media.images import decode_image
from tests.broken_files import encoded, photo_pixels
from tests.media import profiles

PIXELS = photo_pixels(5, 40, 50)
PNG = encoded(PIXELS, "PNG")
LARGE = 3 * 1024 * 1024


def with_chunk(kind: bytes, body: bytes, *, last: bool = False) -> bytes:
    chunk = len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")
    place = PNG.index(b"IEND") - 4 if last else 33
    return PNG[:place] + chunk + PNG[place:]


TEXTS = {
    "plain": (b"tEXt", b"prompt\0" + b"a" * LARGE),
    "packed": (b"zTXt", b"prompt\0\0" + zlib.compress(b"a" * LARGE)),
    "international": (b"iTXt", b"workflow\0\0\0en\0\0" + b"a" * LARGE),
    "international, packed": (b"iTXt", b"workflow\0\1\0en\0\0" + zlib.compress(b"a" * LARGE)),
    "packed in an unknown way": (b"zTXt", b"prompt\0\7" + b"abc"),
}


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("name", sorted(TEXTS))
def test_a_long_text_is_no_damage(name: str, last: bool) -> None:
    assert np.array_equal(decode_image(with_chunk(*TEXTS[name], last=last)), PIXELS)


def test_many_texts_are_no_damage() -> None:
    """Pillow takes 64 megabytes in all."""
    texts = PngImagePlugin.PngInfo()
    for number in range(70):
        texts.add_text(f"part {number}", "a" * 1_000_000)
    assert np.array_equal(decode_image(encoded(PIXELS, "PNG", pnginfo=texts)), PIXELS)


def test_pillows_limits_stay_as_they_are() -> None:
    """They are the whole process's."""
    before = PngImagePlugin.MAX_TEXT_CHUNK, ImageFile.LOAD_TRUNCATED_IMAGES
    decode_image(with_chunk(*TEXTS["packed"]))
    after = PngImagePlugin.MAX_TEXT_CHUNK, ImageFile.LOAD_TRUNCATED_IMAGES
    assert after == before


def test_a_large_profile_is_used() -> None:
    """sRGB's red as Display P3 has it, and padding that no packing shrinks."""
    profile = profiles.matrix_profile(profiles.DISPLAY_P3)
    padding = np.random.default_rng(1).integers(0, 256, LARGE, dtype=np.uint8).tobytes()
    large = (len(profile) + LARGE).to_bytes(4, "big") + profile[4:] + padding
    data = encoded(np.full((4, 4, 3), (234, 51, 35), np.uint8), "PNG", icc_profile=large)
    assert len(data) > LARGE
    assert np.abs(decode_image(data)[0, 0].astype(int) - (255, 0, 0)).max() <= 2


def test_a_text_that_tells_how_the_photo_was_held_is_kept() -> None:
    """XMP's orientation, beside a text that is too long."""
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:Orientation="6"/></x:xmpmeta>'
    first = with_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)
    turned = decode_image(first)
    assert turned.shape[:2] == (50, 40)
    long = TEXTS["plain"]
    chunk = len(long[1]).to_bytes(4, "big") + long[0] + long[1]
    chunk += zlib.crc32(long[0] + long[1]).to_bytes(4, "big")
    assert np.array_equal(decode_image(first[:33] + chunk + first[33:]), turned)


def test_a_bomb_of_text_is_not_unpacked() -> None:
    packer = zlib.compressobj(9)
    bomb = b"".join(packer.compress(bytes(1024 * 1024)) for _ in range(300)) + packer.flush()
    assert len(bomb) < 1024 * 1024
    assert np.array_equal(decode_image(with_chunk(b"zTXt", b"bomb\0\0" + bomb)), PIXELS)


def test_a_whole_picture_is_still_needed() -> None:
    cut = with_chunk(*TEXTS["packed"])[:-200]
    with pytest.raises(ImageError, match="cut off"):
        decode_image(cut)
