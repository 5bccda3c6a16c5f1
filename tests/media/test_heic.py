"""HEIC: read where the extra is installed, and named with it where it is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from seetell.core.errors import ImageError
from seetell.media import formats
from seetell.media.formats import Format, sniff
from seetell.media.images import decode_image, decode_photo
from seetell.search.details import details_of, read_file
from tests.broken_files import encoded, photo_pixels
from tests.media.heic_files import DISPLAY_P3, TURNED


def without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "find_spec", lambda name: None)


def test_a_phones_photo_is_read_upright() -> None:
    photo = decode_photo(TURNED, min_size=(8, 8))
    assert photo.size == (64, 48)
    corners = [photo.pixels[row, column].astype(int) for row in (8, -8) for column in (8, -8)]
    expected = [(255, 255, 255), (200, 30, 30), (30, 30, 200), (255, 255, 255)]
    assert all(np.abs(one - told).max() <= 4 for one, told in zip(corners, expected, strict=True))


def test_its_colours_are_those_of_its_profile() -> None:
    assert np.abs(decode_image(DISPLAY_P3)[20, 20].astype(int) - (255, 0, 0)).max() <= 3


def test_what_it_says_of_itself_is_read() -> None:
    found = details_of(TURNED)
    assert (found.taken, found.camera, found.width, found.height) == (
        "2025-06-01 14:03:59",
        "Example",
        48,
        64,
    )


@pytest.mark.parametrize("length", [40, len(TURNED) // 2, len(TURNED) - 30])
def test_one_that_was_cut_off_is_refused(length: int) -> None:
    with pytest.raises(ImageError, match="cut off") as caught:
        decode_image(TURNED[:length])
    assert caught.value.kind == "truncated"


def test_a_large_one_is_refused_before_it_is_decoded() -> None:
    with pytest.raises(ImageError, match="48 x 64 pixels, more than the limit of 3,000") as caught:
        decode_image(TURNED, max_pixels=3000)
    assert caught.value.kind == "too_large"


def test_without_the_extra_it_is_named_and_not_read_in_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_the_extra(monkeypatch)
    photo = tmp_path / "IMG_0001.HEIC"
    photo.write_bytes(TURNED)
    with pytest.raises(ImageError, match=r"IMG_0001\.HEIC: HEIC, .*pip install pi-heif") as caught:
        decode_image(photo)
    assert caught.value.kind == "unsupported"
    assert read_file(str(photo)).sha256 is None


@pytest.mark.parametrize("brand", [b"heic", b"heix", b"hevc", b"hevx", b"heim", b"mif1", b"msf1"])
def test_brands(brand: bytes) -> None:
    found = sniff(b"\x00\x00\x00\x18ftyp" + brand + bytes(4) + b"mif1heic")
    assert isinstance(found, Format) and found.name == "HEIC"


def test_an_open_brand_is_what_it_is_compatible_with() -> None:
    """AVIF files whose first brand is that of the container."""
    data = encoded(photo_pixels(1), "AVIF")
    assert data[8:12] == b"avif" and b"mif1" in data[16:32]
    place = data.index(b"mif1", 16)
    other = data[:8] + b"mif1" + data[12:place] + b"avif" + data[place + 4 :]
    assert np.array_equal(decode_image(other), decode_image(data))
