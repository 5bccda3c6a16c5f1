"""Whatever the bytes, the file or the name: pixels, or one ImageError of the right kind on one line."""

from __future__ import annotations

import io
import os
import resource
import struct
import subprocess
import sys
import tempfile
import textwrap
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from seetell.core.errors import ImageError, UsageError
from seetell.media import images
from seetell.media.images import decode_image, list_photos
from tests.broken_files import (
    encoded,
    gif_header,
    jpeg_header,
    make_broken_folder,
    photo_pixels,
    png_header,
)

PIXELS = photo_pixels(1, 45, 61)


def cmyk_jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).convert("CMYK").save(buffer, "JPEG")
    return buffer.getvalue()


FILES: dict[str, bytes] = {
    "jpeg": encoded(PIXELS, "JPEG"),
    "progressive": encoded(PIXELS, "JPEG", progressive=True),
    "png rgba": encoded(np.dstack([PIXELS, PIXELS[:, :, :1]]), "PNG"),
    "png": encoded(PIXELS, "PNG"),
    "cmyk": cmyk_jpeg(),
    "gif": encoded(PIXELS, "GIF"),
    "webp": encoded(PIXELS, "WEBP"),
    "webp lossless": encoded(PIXELS, "WEBP", lossless=True),
    "tiff": encoded(PIXELS, "TIFF"),
    "tiff lzw": encoded(PIXELS, "TIFF", compression="tiff_lzw"),
    "bmp": encoded(PIXELS, "BMP"),
    "ppm": encoded(PIXELS, "PPM"),
    "jpeg 2000": encoded(PIXELS, "JPEG2000"),
    "ico": encoded(PIXELS, "ICO"),
    "qoi": encoded(PIXELS, "QOI"),
}

KINDS = {
    "missing",
    "permission",
    "directory",
    "empty",
    "not_an_image",
    "truncated",
    "too_large",
    "unsupported",
    "unreadable",
}


def kind_of(photo: Any, **options: Any) -> str:
    """``ok`` or the kind of the ImageError; any other exception is the test's failure."""
    try:
        pixels = decode_image(photo, **options)
    except ImageError as error:
        refusal = error
    else:
        refusal = None
    if refusal is not None:
        assert refusal.kind in KINDS
        assert str(refusal).isprintable(), "one printable line"
        assert len(str(refusal)) < 400
        return refusal.kind
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 3
    assert pixels.shape[2] == 3
    assert pixels.size > 0
    return "ok"


def test_a_folder_of_broken_files(tmp_path: Path) -> None:
    made = make_broken_folder(tmp_path / "photos", good=20)
    assert len(made.kinds) == 20
    found = {path.name: kind_of(path, min_size=(224, 224)) for path in made.paths}
    assert found == dict.fromkeys(made.good, "ok") | made.kinds
    for path in made.paths:
        if path.name in made.kinds:
            with pytest.raises(ImageError, match=path.name):
                decode_image(path)


@given(st.binary(max_size=300))
def test_random_bytes(data: bytes) -> None:
    assert kind_of(data) != "ok"


@given(st.sampled_from(sorted(FILES)), st.binary(max_size=200))
def test_a_right_beginning_and_random_bytes(name: str, tail: bytes) -> None:
    kind_of(FILES[name][:16] + tail)


@given(st.sampled_from(sorted(FILES)), st.data())
@settings(max_examples=150)
def test_cut_files_are_never_half_shown(name: str, draw: st.DataObject) -> None:
    data = FILES[name]
    length = draw.draw(st.integers(0, len(data) - 1))
    kind = kind_of(data[:length])
    if length == 0:
        assert kind == "empty"
    elif length >= 12:  # less, and some formats are not recognised yet
        assert kind in ("truncated", "ok")
    if kind == "ok":
        # Then only what stands behind the pixels is gone.
        assert np.array_equal(decode_image(data[:length]), decode_image(data))


@given(st.sampled_from(sorted(FILES)), st.lists(st.integers(0, 10**6), min_size=1, max_size=8))
@settings(max_examples=300)
def test_flipped_bits(name: str, places: list[int]) -> None:
    data = bytearray(FILES[name])
    for place in places:
        bit = place % (len(data) * 8)
        data[bit // 8] ^= 1 << bit % 8
    kind_of(bytes(data), max_pixels=2_000_000)


@given(st.sampled_from(sorted(FILES)), st.integers(0, 199), st.binary(min_size=1, max_size=6))
@settings(max_examples=150)
def test_overwritten_headers(name: str, place: int, patch: bytes) -> None:
    data = bytearray(FILES[name])
    data[place : place + len(patch)] = patch
    kind_of(bytes(data), max_pixels=2_000_000, min_size=(8, 8))


@pytest.mark.parametrize("name", sorted(FILES))
def test_garbage_after_the_end_is_ignored(name: str) -> None:
    assert np.array_equal(decode_image(FILES[name] + b"trailer" * 9), decode_image(FILES[name]))


def test_stray_bytes_within_a_jpeg_are_forgiven() -> None:
    data = FILES["jpeg"]
    stray = data[:-2] + b"\x00" * 15 + data[-2:]
    assert np.array_equal(decode_image(stray), decode_image(data))


def test_a_cut_photo_is_refused_even_where_pillow_is_told_to_fill_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    for name in ("jpeg", "progressive", "png", "gif", "bmp"):
        data = FILES[name]
        assert kind_of(data) == "ok"
        assert kind_of(data[: len(data) * 2 // 3]) == "truncated", name


# --- size -----------------------------------------------------------------------------------------------

BOMBS = {
    "png": png_header(50_000, 50_000),
    "jpeg": jpeg_header(50_000, 50_000),
    "gif": gif_header(50_000, 50_000),
    "ppm": b"P6 50000 50000 255\n" + bytes(50),
    "bmp": FILES["bmp"][:18] + (50_000).to_bytes(4, "little") * 2 + FILES["bmp"][26:],
    "qoi": b"qoif" + (50_000).to_bytes(4, "big") * 2 + FILES["qoi"][12:],
}


@pytest.mark.parametrize("name", sorted(BOMBS))
def test_a_huge_header_is_refused(name: str) -> None:
    with pytest.raises(ImageError, match="50000 x 50000 pixels") as caught:
        decode_image(BOMBS[name])
    assert caught.value.kind == "too_large"


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak where Linux keeps it")
def test_bombs_take_no_memory_and_no_warning() -> None:
    # In a process of its own, whose peak is this and nothing else's.
    script = textwrap.dedent(
        """
        from pathlib import Path
        from seetell.core.errors import ImageError
        from seetell.media.images import decode_image
        from tests.media.test_broken_images import BOMBS

        for bomb in BOMBS.values():
            try:
                decode_image(bomb, min_size=(224, 224))
            except ImageError as error:
                assert error.kind == "too_large"
            else:
                raise SystemExit("decoded")
        # Not ru_maxrss: a child inherits that from the process that forked it.
        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        print(int(status["VmHWM"].split()[0]) * 1024)
        """
    )
    root = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(root), str(root / "src")])}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment, cwd=root, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert int(done.stdout) < 400 * 1024 * 1024


def test_the_limit_is_the_callers_or_the_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("jpeg", "png", "gif", "webp", "tiff", "bmp"):
        assert kind_of(FILES[name], max_pixels=45 * 61) == "ok"
        assert kind_of(FILES[name], max_pixels=45 * 61 - 1) == "too_large"
    assert kind_of(Image.fromarray(PIXELS), max_pixels=100) == "too_large"
    monkeypatch.setenv("SEETELL_MAX_PIXELS", "1000")
    assert kind_of(FILES["png"]) == "too_large"
    monkeypatch.setenv("SEETELL_MAX_PIXELS", "many")
    with pytest.raises(UsageError, match="SEETELL_MAX_PIXELS"):
        decode_image(FILES["png"])


def test_photos_beyond_pillows_own_limit_are_decoded_without_its_warning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1500)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ("jpeg", "png", "gif", "webp", "tiff", "bmp", "ppm"):
            assert kind_of(FILES[name]) == "ok", name


def test_pillows_warnings_about_damage_stay_inside() -> None:
    damaged = bytearray(FILES["tiff"])
    damaged[4:8] = (len(damaged) - 40).to_bytes(4, "little")  # its directory: pixels read as tags
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        kind_of(bytes(damaged))
        kind_of(FILES["png"][:33] + b"\x00\x00\x00\x00acTL" + bytes(4) + FILES["png"][33:])
    assert not seen


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.jpg"
    with path.open("wb") as file:
        file.write(FILES["jpeg"])
        file.truncate(images.MAX_FILE_BYTES + 1)  # sparse: takes no room on the disk
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert kind_of(path) == "too_large"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


def ico(picture: bytes) -> bytes:
    """An ICO of one picture (PNG or DIB), of which its directory says that it has 16 x 16 pixels."""
    directory = struct.pack("<HHHBBBBHHII", 0, 1, 1, 16, 16, 0, 0, 1, 32, len(picture), 22)
    return directory + picture


def dib(width: int, height: int) -> bytes:
    """A bitmap as icons hold it: twice as high as it is seen, run-length encoded, empty."""
    header = struct.pack("<IiiHHIIiiII", 40, width, 2 * height, 1, 8, 1, 0, 0, 0, 256, 0)
    return header + bytes(1024) + b"\0\1"


@pytest.mark.parametrize(
    "picture",
    [
        png_header(13_300, 13_300),
        # Another chunk first, which Pillow does not mind.
        png_header(1, 1)[:8]
        + struct.pack(">I4sI", 0, b"abCd", zlib.crc32(b"abCd"))
        + png_header(13_300, 13_300)[8:],
        dib(13_300, 13_300),
    ],
    ids=["png", "png with its header second", "dib"],
)
def test_an_icon_larger_than_its_directory_says(picture: bytes) -> None:
    """Pillow's reader of icons decodes as it opens."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ImageError, match="13300 x 13300 pixels, more than the limit of 1,000,000") as caught:
        decode_image(ico(picture), max_pixels=1_000_000)
    assert caught.value.kind == "too_large"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


def test_icons_within_the_limit() -> None:
    small = Image.fromarray(PIXELS).resize((16, 16))
    for bitmap_format in ("bmp", "png"):
        buffer = io.BytesIO()
        small.save(buffer, "ICO", bitmap_format=bitmap_format, sizes=[(16, 16)])
        assert decode_image(buffer.getvalue(), max_pixels=256).shape == (16, 16, 3)
        assert kind_of(buffer.getvalue(), max_pixels=255) == "too_large"
    assert kind_of(ico(encoded(PIXELS, "PNG")), max_pixels=45 * 61) == "ok"
    assert kind_of(ico(encoded(PIXELS, "PNG")), max_pixels=45 * 61 - 1) == "too_large"
    assert kind_of(struct.pack("<HHH", 0, 1, 0)) == "unreadable"


def test_running_out_of_memory_is_an_error_of_the_photo(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(images, "from_pillow", full)
    assert kind_of(FILES["png"]) == "too_large"


# --- files ----------------------------------------------------------------------------------------------


def test_names_that_are_no_files(tmp_path: Path) -> None:
    assert kind_of(tmp_path / "nothing.jpg") == "missing"
    assert kind_of(tmp_path / "nothing" / "deeper.jpg") == "missing"
    assert kind_of(str(tmp_path / ("n" * 300))) == "missing"
    assert kind_of("with\x00nul.jpg") == "missing"
    assert kind_of("") == "missing"
    assert kind_of(tmp_path) == "directory"
    (tmp_path / "file.jpg").write_bytes(FILES["jpeg"])
    assert kind_of(tmp_path / "file.jpg" / "inside.jpg") == "missing"
    (tmp_path / "circle.jpg").symlink_to(tmp_path / "circle.jpg")
    assert kind_of(tmp_path / "circle.jpg") == "unreadable"
    with pytest.raises(ImageError, match="download it first"):
        decode_image("https://example.org/photo.jpg")


def test_pipes_and_devices_never_block(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.jpg"
    os.mkfifo(pipe)
    assert kind_of(pipe) == "unsupported"
    for device in ("/dev/zero", "/dev/null", "/dev/tty"):
        if Path(device).exists():
            assert kind_of(device) == "unsupported"


def test_no_permission() -> None:
    """Asked as another user where the tests run as root, who may read everything."""
    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o755)
        photo, folder = Path(place, "locked.jpg"), Path(place, "locked")
        photo.write_bytes(FILES["jpeg"])
        folder.mkdir()
        photo.chmod(0)
        folder.chmod(0)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                if os.geteuid() == 0:
                    os.setgid(65534)
                    os.setuid(65534)
                kinds = kind_of(photo), kind_of(folder)
                listed = list(list_photos([place]))
                # A folder that cannot be listed is named, to fail when it is decoded.
                right = kinds == ("permission", "permission") and listed == [folder, photo]
                status = 0 if right else 2
            finally:
                os._exit(status)
        _, status = os.waitpid(child, 0)
        folder.chmod(0o700)
    assert os.waitstatus_to_exitcode(status) == 0


@pytest.mark.parametrize("name", ["line\nbreak.jpg", "bell\x07.jpg", "\udcff\udcfe.jpg", "tab\t.jpg"])
def test_a_strange_name_stays_on_one_printable_line(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    assert kind_of(path) == "missing"
    path.write_bytes(b"")
    assert kind_of(path) == "empty"
    path.write_bytes(FILES["png"])
    assert kind_of(path) == "ok"


@pytest.mark.parametrize(
    ("head", "word"),
    [
        (b"%PDF-1.4", "PDF"),
        (b"\x00\x00\x00\x18ftypisom", "video"),
        (b"8BPS\x00\x01", "Photoshop"),
        (b"<svg xmlns=''>", "SVG"),
        (b"%!PS-Adobe", "PostScript"),
        (b"\xff\x0a", "JPEG XL, which is not read; djxl, GIMP and Krita export it"),
        (b"\x00\x00\x00\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"II*\x00\x10\x00\x00\x00CR\x02\x00", "a camera's raw file, which is not read; darktable"),
        (b"\x00\x00\x00\x18ftypcrx ", "a camera's raw file"),
        (b"FUJIFILMCCD-RAW 0201", "a camera's raw file"),
        (b"IIU\x00\x18\x00\x00\x00", "a camera's raw file"),
    ],
)
def test_known_files_of_other_kinds_are_named(head: bytes, word: str) -> None:
    with pytest.raises(ImageError, match=word) as caught:
        decode_image(head + bytes(100))
    assert caught.value.kind == "unsupported"


def test_a_closed_pillow_image() -> None:
    picture = Image.open(io.BytesIO(FILES["png"]))
    picture.close()
    assert kind_of(picture) == "unreadable"


# --- listing --------------------------------------------------------------------------------------------


def test_listing_is_recursive_sorted_and_by_suffix(tmp_path: Path) -> None:
    for name in (
        "b.JPG",
        "a.png",
        "notes.txt",
        "sub/z.webp",
        "sub/deep/y.gif",
        "Sub2/x.tiff",
        "raw.cr2",
        "c.heic",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    found = [str(path.relative_to(tmp_path)) for path in list_photos([tmp_path])]
    assert found == ["Sub2/x.tiff", "a.png", "b.JPG", "c.heic", "sub/deep/y.gif", "sub/z.webp"]
    # Named explicitly, anything is tried, and the order given is kept.
    explicit = [tmp_path / "notes.txt", tmp_path / "missing.jpg", tmp_path / "a.png"]
    assert list(list_photos([str(path) for path in explicit])) == explicit


def test_listing_survives_link_loops(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").write_bytes(b"x")
    (tmp_path / "in" / "up").symlink_to(tmp_path)
    (tmp_path / "in" / "self").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "round.jpg").symlink_to(tmp_path / "in" / "round.jpg")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "b.jpg").write_bytes(b"x")
    (tmp_path / "in" / "linked").symlink_to(tmp_path / "out")
    found = [path.name for path in list_photos([tmp_path / "in"])]
    # Every photo once; the link in circles too, to fail by name.
    assert sorted(found) == ["a.jpg", "b.jpg", "round.jpg"]
    assert kind_of(tmp_path / "in" / "round.jpg") == "unreadable"


def test_listing_names_what_would_be_lost_in_silence(tmp_path: Path) -> None:
    made = make_broken_folder(tmp_path / "photos", good=2)
    assert list(list_photos([made.folder])) == list(made.paths)
    assert list(list_photos([tmp_path / "photos" / "bad-folder.jpg"])) == [made.folder / "bad-folder.jpg"]
    (tmp_path / "nothing").mkdir()
    assert list(list_photos([tmp_path / "nothing"])) == []


def test_listing_is_lazy(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    endless = (tmp_path for _ in iter(int, 1))
    photos = list_photos(endless)
    assert [next(photos).name for _ in range(3)] == ["a.jpg"] * 3
