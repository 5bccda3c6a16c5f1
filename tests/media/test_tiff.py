"""TIFF: the photo among its pages, what white is, and raw files of cameras. Files are made by hand."""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from seetell.core.errors import ImageError
from seetell.media.images import decode_image
from seetell.search.details import details_of
from tests.broken_files import photo_pixels

_BYTES = {3: 2, 4: 4}


def tiff(
    samples: bytes, width: int, height: int, tags: Mapping[int, Sequence[int]], order: str = "<"
) -> bytes:
    """One page in one strip. tags: shorts, over those of 8-bit grey; 330 holds places of directories."""
    said: dict[int, Sequence[int]] = {256: [width], 257: [height], 258: [8], 259: [1], 262: [1], 277: [1]}
    said.update({278: [height], **tags, 273: [8], 279: [len(samples)]})
    place = 8 + len(samples) + len(samples) % 2
    entries, beyond = b"", b""
    after = place + 2 + 12 * len(said) + 4
    for tag, values in sorted(said.items()):
        kind = 4 if tag in (273, 279, 330) else 3
        packed = struct.pack(f"{order}{len(values)}{'I' if kind == 4 else 'H'}", *values)
        if len(packed) > 4:
            packed, beyond = struct.pack(f"{order}I", after + len(beyond)), beyond + packed
        entries += struct.pack(f"{order}HHI", tag, kind, len(values)) + packed.ljust(4, b"\0")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", place)
    return (
        (head + samples).ljust(place, b"\0")
        + struct.pack(f"{order}H", len(said))
        + entries
        + bytes(4)
        + beyond
    )


def grey(values: Sequence[int], tags: Mapping[int, Sequence[int]], order: str = "<") -> list[int]:
    samples = np.array(values, f"{order}u2").tobytes()
    decoded = decode_image(tiff(samples, len(values), 1, {258: [16], **tags}, order))
    assert (decoded == decoded[:, :, :1]).all()
    return [int(one) for one in decoded[0, :, 0]]


@pytest.mark.parametrize("order", ["<", ">"])
def test_twelve_bits_in_sixteen(order: str) -> None:
    """Half of 4095 is half of 255."""
    values = [0, 1024, 2048, 4095]
    assert grey(values, {281: [4095]}, order) == [0, 64, 128, 255]
    assert grey(values, {}, order) == [0, 4, 8, 16]


def test_the_brightest_value_that_occurs_is_taken_for_its_depth() -> None:
    """Some writers put it there."""
    assert grey([0, 2048, 3000], {281: [3000]}) == [0, 128, 187]
    assert grey([0, 32768, 60000], {281: [60000]}) == [0, 128, 233]
    assert grey([0, 32768], {281: [0]}) == [0, 128]


def test_ten_and_fourteen_bits() -> None:
    assert grey([0, 512, 1023], {281: [1023]}) == [0, 128, 255]
    assert grey([0, 8192, 16383], {281: [16383]}) == [0, 128, 255]


def test_twelve_bits_packed() -> None:
    """Two samples in three bytes, the highest bit first."""
    packed = bytes([0x00, 0x04, 0x00, 0x80, 0x0F, 0xFF])
    decoded = decode_image(tiff(packed, 4, 1, {258: [12]}))
    assert decoded[0, :, 0].tolist() == [0, 64, 128, 255]


def test_sixteen_bits_of_which_0_is_white() -> None:
    assert grey([0, 32896, 65535], {262: [0]}) == [255, 127, 0]
    assert grey([0, 2048, 4095], {262: [0], 281: [4095]}) == [255, 127, 0]


@pytest.mark.parametrize("order", ["<", ">"])
def test_twelve_bits_of_colour(order: str) -> None:
    """Every step of 4095 counts: the upper bytes alone are 16 steps."""
    values = [[0, 4095, 2048], [1024, 100, 4000]]
    samples = np.array(values, f"{order}u2").tobytes()
    tags = {258: [16] * 3, 262: [2], 277: [3], 281: [4095] * 3}
    assert decode_image(tiff(samples, 2, 1, tags, order))[0].tolist() == [[0, 255, 128], [64, 6, 249]]
    del tags[281]
    assert decode_image(tiff(samples, 2, 1, tags, order))[0].tolist() == [[0, 15, 8], [4, 0, 15]]


# --- pages ----------------------------------------------------------------------------------------------

SMALL, LARGE = photo_pixels(1, 12, 16), photo_pixels(2, 60, 80)


def pages(*kinds: tuple[np.ndarray, int | None]) -> bytes:
    """Pages with their NewSubfileType."""
    buffer = io.BytesIO()
    with TiffImagePlugin.AppendingTiffWriter(buffer, True) as writer:
        for pixels, kind in kinds:
            told = TiffImagePlugin.ImageFileDirectory_v2()
            if kind is not None:
                told[254] = kind
            Image.fromarray(pixels).save(writer, "TIFF", tiffinfo=told)
            writer.newFrame()
    return buffer.getvalue()


@pytest.mark.parametrize("kind", [1, 3, 5])
def test_a_thumbnail_first_is_passed_over(kind: int) -> None:
    data = pages((SMALL, kind), (LARGE, 0))
    assert np.array_equal(decode_image(data), LARGE)
    assert (details_of(data).width, details_of(data).height) == (80, 60)


def test_a_mask_and_two_thumbnails_first() -> None:
    data = pages((SMALL, 1), (SMALL, 4), (SMALL, 1), (LARGE, None), (SMALL, None))
    assert np.array_equal(decode_image(data), LARGE)


@pytest.mark.parametrize("kinds", [(None, None), (0, 1), (2, 2)])
def test_other_files_show_their_first_page(kinds: tuple[int | None, int | None]) -> None:
    assert np.array_equal(decode_image(pages((SMALL, kinds[0]), (LARGE, kinds[1]))), SMALL)


def test_thumbnails_alone_are_better_than_nothing() -> None:
    assert np.array_equal(decode_image(pages((SMALL, 1))), SMALL)
    assert np.array_equal(decode_image(pages((SMALL, 1), (LARGE, 1))), SMALL)


def test_the_photo_below_a_thumbnail() -> None:
    """SubIFDs: a directory of its own that the first one names, and no next page."""
    large = tiff(bytes(range(200)) * 24, 80, 60, {254: [0]})
    below = struct.unpack("<I", large[4:8])[0]
    small = tiff(bytes(192), 16, 12, {254: [1]})
    start = len(large)
    moved = start - 8
    directory = struct.unpack("<I", small[4:8])[0]
    body = bytearray(small[8:])
    count = struct.unpack_from("<H", body, directory - 8)[0]
    entries = [bytes(body[directory - 6 + 12 * one :][:12]) for one in range(count)]
    entries = [
        struct.pack("<HHII", 273, 4, 1, start) if entry[:2] == struct.pack("<H", 273) else entry
        for entry in entries
    ]
    entries.append(struct.pack("<HHII", 330, 4, 1, below))
    data = large[:4] + struct.pack("<I", directory + moved) + large[8:] + small[8:directory]
    data += struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    expected = np.frombuffer(bytes(range(200)) * 24, np.uint8).reshape(60, 80)
    assert np.array_equal(decode_image(data)[:, :, 0], expected)


@pytest.mark.parametrize("place", [0, 5, 10**6, 2**32 - 1])
def test_a_directory_below_that_is_none_spoils_nothing(place: int) -> None:
    samples = bytes(range(192))
    for kind in (0, 1):
        decoded = decode_image(tiff(samples, 16, 12, {254: [kind], 330: [place]}))
        assert decoded[:, :, 0].tobytes() == samples


def test_a_page_that_is_too_large_is_refused_though_its_thumbnail_is_not() -> None:
    with pytest.raises(ImageError, match="80 x 60 pixels, more than the limit of 1,000"):
        decode_image(pages((SMALL, 1), (LARGE, 0)), max_pixels=1000)


# --- raw files ------------------------------------------------------------------------------------------


def test_dng_is_refused_by_name() -> None:
    """Its first page is a preview, which Pillow would show."""
    data = tiff(bytes(192), 16, 12, {254: [1], 50706: [1, 4]})
    with pytest.raises(ImageError, match=r"DNG, a camera's raw file, which is not read; darktable") as caught:
        decode_image(data)
    assert caught.value.kind == "unsupported"


def test_sensor_values_are_refused_by_name() -> None:
    """As Nikon and Sony have them: a preview, and a directory of values behind colour filters below it."""
    data = tiff(bytes(192), 16, 12, {254: [1], 330: [0]})
    values = tiff(bytes(192), 16, 12, {254: [0], 262: [32803]})
    directory = struct.unpack("<I", values[4:8])[0]
    place = data.index(struct.pack("<HHI", 330, 4, 1)) + 8
    data = data[:place] + struct.pack("<I", len(data)) + data[place + 4 :] + values[directory:]
    with pytest.raises(ImageError, match=r"a camera's raw file, which is not read") as caught:
        decode_image(data)
    assert caught.value.kind == "unsupported"
