"""Colours are those that a photo's profile makes of its numbers. The right values are worked out by hand."""

from __future__ import annotations

import io
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from seetell.media.images import decode_image, decode_photo
from tests.broken_files import photo_pixels
from tests.media import profiles

P3 = profiles.matrix_profile(profiles.DISPLAY_P3)
PROPHOTO = profiles.matrix_profile(profiles.PROPHOTO, profiles.D50_WHITE, gamma=1.8)
# Paper white, and under cyan L* 60, a* -20, b* -20.
INKS = profiles.ink_profile(paper=(255, 128, 128), cyan=(153, 108, 108))


def saved(picture: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def shown(mode: str, colour: Any, profile: bytes | None, kind: str = "PNG", **options: Any) -> list[int]:
    data = saved(Image.new(mode, (64, 48), colour), kind, icc_profile=profile, **options)
    pixels = decode_image(data)
    assert (pixels == pixels[0, 0]).all()
    return [int(one) for one in pixels[0, 0]]


def near(found: list[int], expected: tuple[int, int, int], most: int = 2) -> bool:
    return max(abs(one - told) for one, told in zip(found, expected, strict=True)) <= most


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {"quality": 100, "subsampling": 0}),
        ("PNG", {}),
        ("TIFF", {}),
        ("WEBP", {"lossless": True}),
        ("AVIF", {"quality": 100, "subsampling": "4:4:4"}),
    ],
)
def test_pure_red_in_display_p3(kind: str, options: dict[str, Any]) -> None:
    """Red beyond what sRGB has is its reddest. sRGB's own red is (0.9175, 0.2003, 0.1386) in Display P3."""
    assert near(shown("RGB", (255, 0, 0), P3, kind, **options), (255, 0, 0))
    assert near(shown("RGB", (234, 51, 35), P3, kind, **options), (255, 0, 0))
    assert near(shown("RGB", (234, 51, 35), None, kind, **options), (234, 51, 35))
    assert near(shown("RGB", (128, 128, 128), P3, kind, **options), (128, 128, 128))


@pytest.mark.parametrize(
    ("stored", "expected"),
    [((179, 70, 26), (255, 0, 0)), ((138, 237, 77), (0, 255, 0)), ((86, 35, 235), (0, 0, 255))],
)
def test_prophoto(stored: tuple[int, int, int], expected: tuple[int, int, int]) -> None:
    """sRGB's corners as RIMM/ROMM RGB has them."""
    # One step of its gamma of 1.8 is several of sRGB's where it is dark.
    assert near(shown("RGB", stored, PROPHOTO), expected, 9)


def test_a_reduced_photo_is_converted_too() -> None:
    """A photo in Display P3 is what the same photo in sRGB is, at full and at reduced scale."""
    plain = Image.fromarray(photo_pixels(3, 600, 800))
    to_p3 = ImageCms.buildTransform(
        ImageCms.createProfile("sRGB"), ImageCms.ImageCmsProfile(io.BytesIO(P3)), "RGB", "RGB"
    )
    wide = to_p3.apply(plain)
    options = {"quality": 98, "subsampling": 0}
    expected, told = saved(plain, "JPEG", **options), saved(wide, "JPEG", icc_profile=P3, **options)
    untold = saved(wide, "JPEG", **options)
    for size in (None, (50, 50)):
        pixels = [decode_photo(one, min_size=size).pixels.astype(int) for one in (expected, told, untold)]
        assert (pixels[0].shape[0] < 600) == (size is not None)
        assert np.abs(pixels[1] - pixels[0]).mean() < 1.5 < np.abs(pixels[2] - pixels[0]).mean()


def test_inks() -> None:
    """L* 60, a* -20, b* -20 is (77, 156, 179) in sRGB; without a profile cyan is what Pillow makes of it."""
    for kind, options in (("TIFF", {}), ("JPEG", {"quality": 100})):
        assert near(shown("CMYK", (0, 0, 0, 0), INKS, kind, **options), (255, 255, 255))
        assert near(shown("CMYK", (255, 0, 0, 0), INKS, kind, **options), (77, 156, 179), 3)
        assert near(shown("CMYK", (255, 0, 0, 0), None, kind, **options), (0, 255, 255))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
def test_greys(kind: str) -> None:
    """128 of 255 to the power of 1.8 is 0.289, which sRGB stores as 146."""
    profile = profiles.grey_profile(1.8)
    assert near(shown("L", 128, profile, kind), (146, 146, 146))
    assert near(shown("L", 128, P3, kind), (128, 128, 128))


def test_what_is_transparent_is_converted_and_shown_on_white() -> None:
    assert near(shown("RGBA", (234, 51, 35, 255), P3), (255, 0, 0))
    assert near(shown("RGBA", (234, 51, 35, 51), P3), (255, 204, 204))
    assert near(shown("LA", (128, 255), profiles.grey_profile(1.8)), (146, 146, 146))
    picture = Image.new("P", (64, 48), 0)
    picture.putpalette([234, 51, 35])
    assert near(list(decode_image(saved(picture, "PNG", icc_profile=P3))[0, 0].astype(int)), (255, 0, 0))


def test_sixteen_bits_of_grey_are_converted() -> None:
    deep = Image.fromarray(np.full((4, 4), 32896, np.uint16))
    data = saved(deep, "TIFF", icc_profile=profiles.grey_profile(1.8))
    assert near([int(one) for one in decode_image(data)[0, 0]], (146, 146, 146))


@pytest.mark.parametrize(
    "profile",
    [
        b"",
        b"no profile",
        P3[:100],
        P3[:1000],
        P3[:16] + b"XYZ " + P3[20:],
        profiles.grey_profile(1.8),  # of another kind than the pixels
        INKS,
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
        profiles.matrix_profile(profiles.SRGB),
    ],
)
def test_a_broken_profile_is_ignored_and_srgb_needs_no_change(profile: bytes) -> None:
    pixels = photo_pixels(2, 60, 80)
    for kind, options in (("PNG", {}), ("TIFF", {})):
        data = saved(Image.fromarray(pixels), kind, icc_profile=profile, **options)
        assert np.array_equal(decode_image(data), pixels)
    plain, told = (saved(Image.fromarray(pixels), "JPEG", icc_profile=one) for one in (None, profile))
    assert np.array_equal(decode_image(told), decode_image(plain))


def test_a_pillow_image_brings_its_profile() -> None:
    picture = Image.open(io.BytesIO(saved(Image.new("RGB", (4, 4), (234, 51, 35)), "PNG", icc_profile=P3)))
    assert near([int(one) for one in decode_image(picture)[0, 0]], (255, 0, 0))


def test_a_profile_that_cannot_be_unpacked_is_ignored() -> None:
    data = saved(Image.new("RGB", (4, 4), (234, 51, 35)), "PNG", icc_profile=P3)
    start = data.index(b"iCCP") - 4
    length = int.from_bytes(data[start : start + 4], "big")
    for body in (b"name\0\0rubbish", b"name\0\7" + zlib.compress(P3), b"", b"name\0"):
        chunk = b"iCCP" + body
        odd = len(body).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
        broken = data[:start] + odd + data[start + 12 + length :]
        assert decode_image(broken)[0, 0].tolist() == [234, 51, 35]
