"""JPEG: missing image data is never shown as grey, and a large photo is read at the size it is used."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from seetell.core.errors import ImageError
from seetell.core.settings import DEFAULT_MAX_PIXELS
from seetell.media.images import decode_image, decode_photo
from seetell.media.jpeg_structure import ends, has_all_scans, has_many_scans, mended
from tests.broken_files import jpeg_header, photo_pixels

PIXELS = photo_pixels(8, 240, 320)
END = b"\xff\xd9"


def jpeg(mode: str = "RGB", pixels: np.ndarray = PIXELS, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, "JPEG", quality=90, **options)
    return buffer.getvalue()


PLAIN, GREY, INKS = jpeg(), jpeg("L"), jpeg("CMYK")
PROGRESSIVE = jpeg(progressive=True)
RESTARTS = jpeg(restart_marker_rows=2)
ALL = {"plain": PLAIN, "grey": GREY, "inks": INKS, "progressive": PROGRESSIVE, "restarts": RESTARTS}


def refused(data: bytes, words: str, **options: Any) -> bool:
    with pytest.raises(ImageError, match=words) as caught:
        decode_image(data, **options)
    return caught.value.kind == "truncated"


# --- missing image data ---------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [None, (20, 20)])
@pytest.mark.parametrize("name", sorted(ALL))
def test_missing_image_data_is_refused_with_and_without_an_end_marker(
    name: str, size: tuple[int, int] | None
) -> None:
    for part in (0.4, 0.7, 0.97):
        cut = ALL[name][: int(part * len(ALL[name]))]
        assert refused(cut, "the file is cut off", min_size=size)
        assert refused(cut + bytes(500), "the file is cut off", min_size=size)
        assert refused(cut + END, "image data is missing", min_size=size)
        assert refused(cut + END + b"trailer" * 9, "cut off|image data is missing", min_size=size)


@pytest.mark.parametrize("size", [None, (20, 20)])
@pytest.mark.parametrize("name", sorted(ALL))
def test_a_file_that_lacks_only_its_end_marker_is_read(name: str, size: tuple[int, int] | None) -> None:
    whole = decode_photo(ALL[name], min_size=size)
    assert ALL[name].endswith(END)
    for data in (ALL[name][:-2], ALL[name][:-1], ALL[name][:-2] + bytes(1000)):
        found = decode_photo(data, min_size=size)
        assert np.array_equal(found.pixels, whole.pixels) and found.box == whole.box


@given(st.sampled_from(sorted(ALL)), st.data())
@settings(max_examples=150)
def test_every_cut_with_an_end_marker_behind_it(name: str, draw: st.DataObject) -> None:
    data = ALL[name]
    length = draw.draw(st.integers(12, len(data) - 1))
    try:
        pixels = decode_image(data[:length] + END)
    except ImageError:
        return
    # Then nothing but the end was missing.
    assert np.array_equal(pixels, decode_image(data))


def test_a_gap_between_restarts_is_refused() -> None:
    third, fifth = RESTARTS.index(b"\xff\xd3"), RESTARTS.index(b"\xff\xd5")
    assert refused(RESTARTS[: third - 100] + RESTARTS[third:], "image data is missing")
    assert refused(RESTARTS[:third] + RESTARTS[fifth:], "image data is missing")


def test_scans_that_never_came_are_refused() -> None:
    """libjpeg takes no notice: what is left is blurred, or has no colours."""
    scans = [place for place in range(len(PROGRESSIVE)) if PROGRESSIVE[place : place + 2] == b"\xff\xda"]
    assert len(scans) > 5
    tables = PROGRESSIVE.rindex(b"\xff\xc4", 0, scans[-1])
    assert refused(PROGRESSIVE[:tables] + END, "image data is missing")
    assert refused(PROGRESSIVE[:tables], "the file is cut off")
    early = PROGRESSIVE.rindex(b"\xff\xc4", 0, scans[1])
    assert refused(PROGRESSIVE[:early] + END, "image data is missing")


def test_stray_bytes_in_the_header_do_not_hide_a_gap() -> None:
    """libjpeg says only what it noticed first."""
    place = 4 + int.from_bytes(PLAIN[4:6], "big")
    stray = PLAIN[:place] + b"\x00\x00\x00" + PLAIN[place:]
    assert np.array_equal(decode_image(stray), decode_image(PLAIN))
    assert refused(stray[: len(stray) * 2 // 3] + END, "image data is missing")
    assert refused(stray[: len(stray) * 2 // 3], "the file is cut off")


def test_pillows_switch_that_fills_gaps_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    for data in ALL.values():
        assert refused(data[: len(data) // 2] + END, "image data is missing")


# --- structure ------------------------------------------------------------------------------------------


def test_what_the_structure_says() -> None:
    assert [has_many_scans(ALL[name]) for name in sorted(ALL)] == [False, False, False, True, False]
    assert has_many_scans(b"\xff\xd8\xff") and has_many_scans(PLAIN[:40])
    assert all(has_all_scans(data) for data in ALL.values())
    assert ends(PLAIN) and ends(PLAIN + bytes(9)) and not ends(PLAIN[:-1])
    assert mended(PLAIN) == PLAIN and mended(PLAIN[:-2]) == PLAIN
    assert mended(b"\xff\xd8\xff") == b"\xff\xd8\xff"


def test_a_scan_for_each_component() -> None:
    """Sequential, as scanners write it: brightness first. Whole where all three are there."""
    size = struct.pack(">BHHB", 8, 8, 8, 3)
    frame = b"\xff\xc0" + struct.pack(">H", 17) + size + bytes([1, 17, 0, 2, 17, 0, 3, 17, 0])
    scans = [
        b"\xff\xda" + struct.pack(">H", 8) + bytes([1, one, 0, 0, 63, 0]) + b"\x12\xff\x00"
        for one in (1, 2, 3)
    ]
    assert has_many_scans(b"\xff\xd8" + frame + b"".join(scans) + END)
    assert has_all_scans(b"\xff\xd8" + frame + b"".join(scans) + END)
    assert not has_all_scans(b"\xff\xd8" + frame + b"".join(scans[:2]) + END)


# --- large photos ---------------------------------------------------------------------------------------


def resized(data: bytes, width: int, height: int, marker: bytes = b"\xff\xc0") -> bytes:
    place = data.index(marker) + 5
    return data[:place] + struct.pack(">HH", height, width) + data[place + 4 :]


def test_a_photo_of_200_megapixels_is_read_at_the_size_it_is_used() -> None:
    """One colour in quarters, so that it is made in a moment."""
    quarters = Image.new("RGB", (16320, 12240), (200, 40, 40))
    quarters.paste((40, 40, 200), (8160, 0, 16320, 6120))
    buffer = io.BytesIO()
    quarters.save(buffer, "JPEG", quality=80)
    data = buffer.getvalue()
    assert DEFAULT_MAX_PIXELS < 16320 * 12240
    photo = decode_photo(data, min_size=(224, 224))
    assert photo.size == (12240, 16320) and photo.pixels.shape == (1530, 2040, 3)
    assert np.abs(photo.pixels[300, 300].astype(int) - (200, 40, 40)).max() < 5
    assert np.abs(photo.pixels[300, -300].astype(int) - (40, 40, 200)).max() < 5
    with pytest.raises(ImageError, match="16320 x 12240 pixels, more than the limit of 178,956,970"):
        decode_image(data)


@pytest.mark.parametrize("mode", ["RGB", "CMYK"])
def test_the_pixels_that_will_be_decoded_count(mode: str) -> None:
    data = jpeg(mode, photo_pixels(1, 800, 1200))
    photo = decode_photo(data, min_size=(50, 50), max_pixels=60_000)
    assert photo.size == (800, 1200) and photo.pixels.shape == (200, 300, 3)
    for options in ({}, {"min_size": (50, 50), "exact": True}, {"min_size": (100, 100)}):
        with pytest.raises(ImageError, match="1200 x 800 pixels, more than the limit of 60,000") as caught:
            decode_image(data, max_pixels=60_000, **options)
        assert caught.value.kind == "too_large"


def test_of_a_photo_in_many_scans_all_pixels_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """libjpeg keeps all of it, however small it becomes."""
    data = jpeg(pixels=photo_pixels(1, 800, 1200), progressive=True)
    assert decode_photo(data, min_size=(50, 50), max_pixels=960_000).pixels.shape == (200, 300, 3)
    with pytest.raises(ImageError, match=r"1200 x 800 pixels, more than the limit of 60,000 .*; .* baseline"):
        decode_image(data, min_size=(50, 50), max_pixels=60_000)
    # A baseline one would be too large, too: where all of it is decoded, and above the limit of those.
    with pytest.raises(ImageError, match=r"SEETELL_MAX_PIXELS\)$"):
        decode_image(data, max_pixels=60_000)
    monkeypatch.setattr("seetell.media.jpeg._MOST_PIXELS", 900_000)
    with pytest.raises(ImageError, match=r"SEETELL_MAX_PIXELS\)$"):
        decode_image(data, min_size=(50, 50), max_pixels=60_000)


def test_a_header_that_promises_the_largest_jpeg_is_refused() -> None:
    """Going through so much takes a minute, even where little of it is kept."""
    with pytest.raises(ImageError, match="65500 x 65500 pixels") as caught:
        decode_image(jpeg_header(65_500, 65_500), min_size=(224, 224))
    assert caught.value.kind == "too_large"
