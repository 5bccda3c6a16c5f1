"""Decoding: what every good file must look like. The bad ones are in test_broken_images.py."""

from __future__ import annotations

import io
import struct
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from seetell.core.errors import ImageError
from seetell.media.images import decode_image, decode_photo, photo_name
from seetell.media.preprocess import ImageSpec, preprocess
from tests.broken_files import encoded, photo_pixels

PIXELS = photo_pixels(1, 61, 97)


def saved(picture: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def difference(left: np.ndarray, right: np.ndarray) -> float:
    assert left.shape == right.shape
    return float(np.abs(left.astype(int) - right.astype(int)).mean())


LOSSLESS = [
    ("PNG", {}),
    ("TIFF", {}),
    ("TIFF", {"compression": "tiff_lzw"}),
    ("BMP", {}),
    ("PPM", {}),
    ("WEBP", {"lossless": True}),
    ("QOI", {}),
    ("JPEG2000", {"irreversible": False}),
]


@pytest.mark.parametrize(("kind", "options"), LOSSLESS)
def test_lossless_files_give_the_very_pixels(kind: str, options: dict[str, Any]) -> None:
    decoded = decode_image(encoded(PIXELS, kind, **options))
    assert decoded.dtype == np.uint8
    assert np.array_equal(decoded, PIXELS)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"optimize": True}])
def test_jpeg_equals_pillow(options: dict[str, Any]) -> None:
    data = encoded(PIXELS, "JPEG", quality=92, **options)
    assert np.array_equal(decode_image(data), np.asarray(Image.open(io.BytesIO(data))))


@pytest.mark.parametrize("how", ["path", "text", "bytes", "image", "array"])
def test_all_ways_to_give_a_photo_agree(how: str, tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(encoded(PIXELS, "PNG"))
    photos: dict[str, Any] = {
        "path": path,
        "text": str(path),
        "bytes": path.read_bytes(),
        "image": Image.open(path),
        "array": PIXELS,
    }
    names = {"path": str(path), "text": str(path), "bytes": "<bytes>", "image": "<image>", "array": "<image>"}
    assert np.array_equal(decode_image(photos[how]), PIXELS)
    assert photo_name(photos[how]) == names[how]


def test_the_content_decides_not_the_name(tmp_path: Path) -> None:
    path = tmp_path / "holiday.jpg"
    path.write_bytes(encoded(PIXELS, "PNG"))
    assert np.array_equal(decode_image(path), PIXELS)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    data = saved(Image.fromarray(PIXELS), kind, exif=exif, **options)
    decoded = decode_image(data)
    # Pillow's own reading of the tag, from a file without loss and independent of our table.
    upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
    assert np.array_equal(decoded, upright)
    assert decoded.shape[:2] == ((97, 61) if orientation >= 5 else (61, 97))
    assert np.array_equal(decode_image(Image.open(io.BytesIO(data))), upright)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_holds_for_a_reduced_decode(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(Image.fromarray(photo_pixels(4, 800, 1200)), "JPEG", exif=exif, quality=95)
    full, reduced = decode_image(data), decode_image(data, min_size=(50, 140))
    height, width = reduced.shape[:2]
    assert height >= 2.75 * 50
    assert width >= 2.75 * 140
    assert reduced.size < full.size
    shrunk = np.asarray(Image.fromarray(full).resize((width, height), Image.Resampling.BOX))
    assert difference(reduced, shrunk) < 3


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_a_nonsense_orientation_is_upright(value: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = value
    assert np.array_equal(decode_image(saved(Image.fromarray(PIXELS), "PNG", exif=exif)), PIXELS)


@pytest.mark.parametrize(
    "damage", [b"Exif\x00\x00", b"Exif\x00\x00II*\x00\xff\xff\xff\xff", b"Exif\x00\x00MM"]
)
def test_damaged_exif_does_not_spoil_a_photo(damage: bytes) -> None:
    data = encoded(PIXELS, "JPEG", quality=90)
    segment = b"\xff\xe1" + struct.pack(">H", len(damage) + 2) + damage
    assert np.array_equal(decode_image(data[:2] + segment + data[2:]), decode_image(data))


@given(
    st.integers(200, 900),
    st.integers(200, 900),
    st.integers(8, 300),
    st.integers(8, 300),
    st.booleans(),
)
@settings(max_examples=20)
def test_a_reduced_decode_is_well_above_its_target(
    height: int, width: int, min_height: int, min_width: int, progressive: bool
) -> None:
    data = encoded(photo_pixels(7, height, width), "JPEG", quality=90, progressive=progressive)
    full = decode_image(data)
    reduced = decode_image(data, min_size=(min_height, min_width))
    assert reduced.shape[0] >= min(height, 2.75 * min_height)
    assert reduced.shape[1] >= min(width, 2.75 * min_width)
    assert np.array_equal(decode_image(data, min_size=(min_height, min_width), exact=True), full)


def test_a_reduced_decode_looks_the_same_at_its_target() -> None:
    data = encoded(photo_pixels(2, 1500, 2001), "JPEG", quality=90)
    reduced = decode_image(data, min_size=(224, 224))
    assert reduced.shape[0] < 1500

    def at_target(pixels: np.ndarray) -> np.ndarray:
        return np.asarray(Image.fromarray(pixels).resize((224, 224), Image.Resampling.BICUBIC))

    assert difference(at_target(reduced), at_target(decode_image(data))) < 1


@pytest.mark.parametrize(("subsampling", "least"), [(0, 440), (1, 880), (2, 440)])
def test_colour_too_stays_well_above_its_target(
    subsampling: int, least: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """4:2:2 has half the columns of colour, which reduced decoding halves again; 4:2:0 it spares."""
    grain = np.random.default_rng(5).integers(0, 256, (64, 250, 3), dtype=np.uint8)
    grain[..., 0] = 128  # one brightness: what differs is colour
    picture = Image.fromarray(grain, "YCbCr").convert("RGB").resize((2000, 512), Image.Resampling.BICUBIC)
    data = saved(picture, "JPEG", quality=95, subsampling=subsampling)
    spec = ImageSpec(height=64, width=160)

    def error() -> tuple[int, float]:
        full, reduced = decode_photo(data), decode_photo(data, min_size=(64, 160))
        there, here = (preprocess([one], spec)[0] * 127.5 for one in (full, reduced))
        return reduced.pixels.shape[1], float(np.abs(there - here).mean())

    width, with_care = error()
    assert least <= width < 2000
    monkeypatch.setattr("seetell.media.jpeg._uneven_colour", lambda picture: (1, 1))
    careless_width, without = error()
    assert (careless_width < width) == (subsampling == 1)
    assert with_care < without if subsampling == 1 else with_care == without


@pytest.mark.parametrize("mode", ["RGB", "CMYK"])
@pytest.mark.parametrize(("subsampling", "columns"), [(0, 500), (1, 1000), (2, 500)])
def test_colour_is_spared_in_irregular_files_too(subsampling: int, columns: int, mode: str) -> None:
    """Stray bytes between segments, over which only Pillow goes on, at scales of 1/2, 1/4 and 1/8."""
    picture = Image.fromarray(photo_pixels(6, 512, 2000)).convert(mode)
    data = saved(picture, "JPEG", quality=95, subsampling=subsampling)
    after_first_segment = 4 + int.from_bytes(data[4:6], "big")
    irregular = data[:after_first_segment] + b"\x00\x00" + data[after_first_segment:]
    with pytest.raises(ValueError, match=r"extraneous|subsampling"):
        simplejpeg.decode_jpeg(irregular)
    # At least 2.75 x 160 = 440 columns, or twice that where the colour has half of them.
    assert decode_photo(irregular, min_size=(32, 160)).pixels.shape[1] == columns


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["RGB", "CMYK"])
def test_a_reduced_photo_says_what_part_of_the_whole_it_is(orientation: int, mode: str) -> None:
    """Edges that are no multiple of the scale: taken for whole, the last block would shift all others."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = Image.fromarray(photo_pixels(4, 801, 1197)).convert(mode)
    data = saved(picture, "JPEG", exif=exif, quality=95)
    whole = decode_photo(data)
    reduced = decode_photo(data, min_size=(36, 36))
    assert whole.box is None and whole.size == whole.pixels.shape[:2] == reduced.size
    assert reduced.box is not None and reduced.pixels.size < whole.pixels.size
    height, width = reduced.pixels.shape[:2]
    left, top, right, bottom = reduced.box
    beyond = (height - (bottom - top), width - (right - left))
    # 801 / 8 is 100.125 and 1197 / 8 is 149.625, both rounded up.
    assert beyond == ((0.875, 0.375) if orientation < 5 else (0.375, 0.875))
    for spec in (
        ImageSpec(height=36, width=36),
        ImageSpec(height=30, width=36, resize="shortest_edge", size=36, crop="center"),
    ):
        expected = preprocess([whole], spec)[0] * 127.5
        aligned, shifted = (preprocess([one], spec)[0] * 127.5 for one in (reduced, reduced.pixels))
        error = float(np.abs(aligned - expected).mean())
        assert error < 1
        assert float(np.abs(shifted - expected).mean()) > 2 * error


def test_small_photos_and_other_formats_ignore_min_size() -> None:
    assert decode_image(encoded(PIXELS, "JPEG"), min_size=(500, 500)).shape == PIXELS.shape
    assert np.array_equal(decode_image(encoded(PIXELS, "PNG"), min_size=(8, 8)), PIXELS)


# --- colour modes ---------------------------------------------------------------------------------------


def half_transparent() -> Image.Image:
    picture = Image.fromarray(PIXELS).convert("RGBA")
    alpha = np.full(PIXELS.shape[:2], 255, np.uint8)
    alpha[:20], alpha[20:40] = 0, 128
    picture.putalpha(Image.fromarray(alpha))
    return picture


@pytest.mark.parametrize(
    ("kind", "options"), [("PNG", {}), ("WEBP", {"lossless": True, "exact": True}), ("TIFF", {})]
)
def test_transparency_is_shown_on_white(kind: str, options: dict[str, Any]) -> None:
    decoded = decode_image(saved(half_transparent(), kind, **options))
    assert (decoded[:20] == 255).all()
    assert np.array_equal(decoded[40:], PIXELS[40:])
    blended = (PIXELS[20:40].astype(int) * 128 + 255 * 127) / 255
    assert np.abs(decoded[20:40] - blended).max() <= 1


def test_grey_with_alpha() -> None:
    decoded = decode_image(saved(half_transparent().convert("LA"), "PNG"))
    assert (decoded[:20] == 255).all()
    grey = np.asarray(Image.fromarray(PIXELS).convert("L"))
    assert np.array_equal(decoded[40:], np.repeat(grey[40:, :, None], 3, axis=2))


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_a_palette_with_a_transparent_colour(kind: str) -> None:
    indices = np.zeros((10, 12), np.uint8)
    indices[5:] = 1
    picture = Image.fromarray(indices, "P")
    picture.putpalette([255, 0, 0, 0, 0, 255])
    plain = decode_image(saved(picture, kind))
    assert plain[0, 0].tolist() == [255, 0, 0]
    assert plain[9, 0].tolist() == [0, 0, 255]
    seen = decode_image(saved(picture, kind, transparency=0))
    assert seen[0, 0].tolist() == [255, 255, 255]
    assert seen[9, 0].tolist() == [0, 0, 255]


def test_a_palette_with_graded_transparency() -> None:
    picture = Image.fromarray(np.arange(4, dtype=np.uint8).reshape(1, 4), "P")
    picture.putpalette([0, 0, 0] * 4)
    decoded = decode_image(saved(picture, "PNG", transparency=bytes([0, 128, 254, 255])))
    assert decoded[0, :, 0].tolist() == [255, 127, 1, 0]


def test_a_key_colour_in_rgb() -> None:
    pixels = np.full((4, 4, 3), 9, np.uint8)
    pixels[0] = (1, 2, 3)
    decoded = decode_image(saved(Image.fromarray(pixels), "PNG", transparency=(1, 2, 3)))
    assert (decoded[0] == 255).all()
    assert (decoded[1:] == 9).all()


def test_cmyk_jpeg_is_not_inverted() -> None:
    red = np.zeros((40, 40, 3), np.uint8)
    red[:, :, 0] = 230
    decoded = decode_image(saved(Image.fromarray(red).convert("CMYK"), "JPEG", quality=95))
    assert np.abs(decoded.astype(int) - red).max() <= 6


def test_inverted_adobe_ycck_jpeg() -> None:
    # Photoshop's form: YCCK with the Adobe marker, inks stored inverted. libjpeg makes YCCK out of the
    # CMYK data Pillow hands it when the marker says transform 2; here the marker of a CMYK file is read.
    data = saved(Image.fromarray(PIXELS).convert("CMYK"), "JPEG", quality=95)
    assert b"Adobe" in data
    pillow = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert np.array_equal(decode_image(data), pillow)
    patched = bytearray(data)
    patched[data.index(b"Adobe") + 11] = 2
    expected = np.asarray(Image.open(io.BytesIO(bytes(patched))).convert("RGB"))
    assert np.array_equal(decode_image(bytes(patched)), expected)
    large = saved(Image.fromarray(photo_pixels(3, 900, 900)).convert("CMYK"), "JPEG")
    assert 100 <= decode_image(large, min_size=(50, 50)).shape[0] < 900


def test_grey_jpeg_and_png() -> None:
    grey = Image.fromarray(PIXELS).convert("L")
    for data in (saved(grey, "PNG"), saved(grey, "JPEG", quality=95)):
        decoded = decode_image(data)
        assert decoded.shape == PIXELS.shape
        assert np.array_equal(decoded[:, :, 0], decoded[:, :, 2])
        assert difference(decoded[:, :, 0], np.asarray(grey)) < 2


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_one_bit(kind: str) -> None:
    bits = Image.fromarray(PIXELS).convert("1")
    decoded = decode_image(saved(bits, kind))
    assert set(np.unique(decoded)) == {0, 255}
    assert np.array_equal(decoded[:, :, 1], np.asarray(bits).astype(np.uint8) * 255)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_not_clipped(kind: str) -> None:
    deep = np.array([[0, 257, 32896, 65535, 255, 10000]], np.uint16).repeat(3, axis=0)
    decoded = decode_image(saved(Image.fromarray(deep), kind))
    assert decoded.shape == (3, 6, 3)
    assert decoded[0, :, 0].tolist() == [0, 1, 128, 255, 1, 39]


def test_big_endian_sixteen_bits() -> None:
    values = np.array([[0, 32896], [65535, 257]], ">u2")
    tags = [(256, 3, 1, 2), (257, 3, 1, 2), (258, 3, 1, 16), (259, 3, 1, 1), (262, 3, 1, 1)]
    tags += [(273, 4, 1, 122), (277, 3, 1, 1), (278, 3, 1, 2), (279, 4, 1, 8)]
    entries = b"".join(
        struct.pack(">HHI", tag, kind, count)
        + (struct.pack(">HH", value, 0) if kind == 3 else struct.pack(">I", value))
        for tag, kind, count, value in tags
    )
    data = b"MM\x00*" + struct.pack(">IH", 8, len(tags)) + entries + bytes(4)
    decoded = decode_image(data.ljust(122, b"\x00") + values.tobytes())
    assert decoded[:, :, 0].tolist() == [[0, 128], [255, 1]]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([[0.0, 0.5, 1.0]], [0, 128, 255]),
        ([[0.0, 128.0, 255.0]], [0, 128, 255]),
        ([[-1000.0, 0.0, 1000.0]], [0, 128, 255]),
        ([[float("nan"), 0.5, 1.0]], [0, 128, 255]),
        ([[7.5, 7.5, 7.5]], [8, 8, 8]),
        ([[300.0, 300.0, 300.0]], [0, 0, 0]),
    ],
)
def test_fractions_are_scaled(values: list[list[float]], expected: list[int]) -> None:
    decoded = decode_image(saved(Image.fromarray(np.array(values, np.float32)), "TIFF"))
    assert decoded[0, :, 0].tolist() == expected


@pytest.mark.parametrize(
    ("kind", "options"), [("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {}), ("TIFF", {})]
)
def test_the_first_frame_of_an_animation(kind: str, options: dict[str, Any]) -> None:
    frames = [Image.new("RGB", (20, 10), colour) for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
    data = saved(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    decoded = decode_image(data)
    assert decoded.shape == (10, 20, 3)
    assert (decoded == (255, 0, 0)).all()


def test_several_photos_in_one_jpeg(tmp_path: Path) -> None:
    """MPO, as phones and cameras with two lenses write it: the first."""
    first, second = Image.fromarray(PIXELS), Image.new("RGB", (97, 61))
    path = tmp_path / "a.mpo"
    first.save(path, "MPO", save_all=True, append_images=[second], quality=95, subsampling=0)
    assert difference(decode_image(path), PIXELS) < 2


# --- what is given back, and to whom --------------------------------------------------------------------


def test_arrays_are_checked_and_handed_through() -> None:
    assert decode_image(PIXELS) is PIXELS


@pytest.mark.parametrize(
    ("array", "kind", "words"),
    [
        (np.zeros((4, 5), np.uint8), "unsupported", "grey"),
        (np.zeros((4, 5, 4), np.uint8), "unsupported", r"uint8\[4, 5, 4\]"),
        (np.zeros((4, 5, 3), np.float32), "unsupported", "float32"),
        (np.zeros((0, 5, 3), np.uint8), "empty", "no pixels"),
        (np.zeros((2, 4, 5, 3), np.uint8), "unsupported", "uint8"),
    ],
)
def test_other_arrays_are_refused(array: Any, kind: str, words: str) -> None:
    with pytest.raises(ImageError, match=words) as caught:
        decode_image(array)
    assert caught.value.kind == kind


@pytest.mark.parametrize("thing", [None, 5, ["a.jpg"], object()])
def test_other_things_are_no_photos(thing: Any) -> None:
    with pytest.raises(ImageError, match="a photo is a path") as caught:
        decode_image(thing)
    assert caught.value.kind == "unsupported"


def test_a_pillow_image_is_left_as_it_was() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = Image.open(io.BytesIO(saved(half_transparent(), "PNG", exif=exif)))
    decode_image(picture)
    assert picture.mode == "RGBA"
    assert picture.size == (97, 61)
    assert picture.getexif()[0x0112] == 6


@pytest.mark.parametrize("data", [encoded(PIXELS, "JPEG"), encoded(PIXELS, "PNG")])
def test_the_pixels_are_the_callers_own(data: bytes) -> None:
    decoded = decode_image(data)
    assert decoded.flags.writeable
    assert decoded.flags.c_contiguous


def test_threads_do_not_disturb_each_other(tmp_path: Path) -> None:
    files = []
    for index in range(12):
        kind = ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP")[index % 6]
        path = tmp_path / f"{index}.{kind.lower()}"
        path.write_bytes(encoded(photo_pixels(index, 40 + index, 50), kind))
        files.append(path)
    files.insert(5, tmp_path / "missing.jpg")
    alone = [outcome(path) for path in files]
    filters = list(warnings.filters)
    barrier = threading.Barrier(8)

    def work(_: int) -> list[Any]:
        barrier.wait()
        return [outcome(path) for path in files]

    with ThreadPoolExecutor(8) as pool:
        for together in pool.map(work, range(8)):
            for left, right in zip(alone, together, strict=True):
                assert np.array_equal(left, right)
    assert warnings.filters == filters


def outcome(path: Path) -> Any:
    try:
        return decode_image(path)
    except ImageError as error:
        return error.kind
