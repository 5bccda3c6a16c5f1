"""Each check by itself: what it catches, and what it must let pass."""

from __future__ import annotations

import io

import imagehash
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from seetell.core.errors import ImageError, UsageError
from seetell.data.cleaning.duplicates import Look, find_twins
from seetell.data.cleaning.fingerprints import colour_thumb, contrast, perceptual_hash
from seetell.data.cleaning.languages import LanguageGuesser, spoken_language, wrong_language
from seetell.data.cleaning.limits import Limits
from seetell.data.cleaning.measurement import Measurement, measure_photo, photo_fault
from seetell.data.cleaning.reasons import CAPTION_REASONS, MEANING, PHOTO_REASONS, Reason
from seetell.data.cleaning.texts import compared, count_words, names_its_photo, text_fault, tidied
from tests.broken_files import make_broken_folder, photo_pixels
from tests.data.photo_files import photo_bytes

LIMITS = Limits()


def picture(seed: int, height: int = 60, width: int = 80) -> Image.Image:
    return Image.fromarray(photo_pixels(seed, height, width))


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def measured(image: Image.Image) -> Measurement:
    return measure_photo(lambda: encoded(image))


# --- texts -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", Reason.EMPTY),
        ("   \u200b ", Reason.EMPTY),
        ("IMG_2034.JPG", Reason.FILE_NAME),
        ("my holiday photo (3).jpeg", Reason.FILE_NAME),
        ("DSC00012", Reason.FILE_NAME),
        ("Screenshot 2024-01-02 at 10.11.12", Reason.FILE_NAME),
        ("WhatsApp Image 2020-01-01", Reason.FILE_NAME),
        ("20190304_112233", Reason.FILE_NAME),
        ("d41d8cd98f00b204e9800998ecf8427e", Reason.FILE_NAME),
        ("123e4567-e89b-12d3-a456-426614174000", Reason.FILE_NAME),
        ("Untitled", Reason.BOILERPLATE),
        ("image", Reason.BOILERPLATE),
        ("No description available", Reason.BOILERPLATE),
        ("Image may contain: 2 people, sky", Reason.BOILERPLATE),
        ("Click here to see more", Reason.BOILERPLATE),
        ("sunset, stock photo, royalty-free", Reason.BOILERPLATE),
        ("A beach. © 2019 Someone. All rights reserved", Reason.BOILERPLATE),
        ("see https://example.org/x for more", Reason.BOILERPLATE),
        ("write to someone@example.org", Reason.BOILERPLATE),
        ("暂无图片", Reason.BOILERPLATE),
        ("dog", Reason.TOO_SHORT),
        ("word " * 101, Reason.TOO_LONG),
        ("a dog", None),
        ("A man shows a photo of his dog", None),
        ("a picture of two children on a beach", None),
        ("two people click their glasses together", None),
        ("a test of strength between two goats", None),
        ("a boy downloads a file at his desk", None),
        ("一只狗在沙滩上奔跑", None),
        ("猫と犬", None),
        ("Room 101 at the end of a corridor", None),
        ("a copy of an old map", None),
        ("a man in a p51 plane", None),
    ],
)
def test_a_text_and_what_is_wrong_with_it(text: str, reason: Reason | None) -> None:
    assert text_fault(tidied(text), LIMITS) is reason


def test_own_phrases_count_too() -> None:
    limits = Limits(boilerplate=("^for sale", "best price"))
    assert text_fault("For sale: a red car", limits) is Reason.BOILERPLATE
    assert text_fault("a red car for sale", limits) is None


def test_the_photos_own_name() -> None:
    assert names_its_photo("Beach_02", "album/beach_02.jpg")
    assert not names_its_photo("beach", "album/beach.jpg")
    assert not names_its_photo("a beach", "album/beach_02.jpg")


def test_tidying_and_counting() -> None:
    assert tidied(" a\u00a0 dog &amp; a\tcat\u200b\x00\ud800 ") == "a dog & a cat"
    assert tidied("cafe\u0301") == "café"
    assert count_words("it's a dog, isn't it?") == 5
    assert count_words("一只狗 and 2 cats") == 6
    assert compared("A dog!") == compared("a  DOG")
    assert compared("!!!") == "!!!"


@given(st.text(max_size=200))
def test_any_text_is_judged(text: str) -> None:
    plain = tidied(text)
    assert tidied(plain) == plain or "&" in text
    plain.encode("utf-8")
    text_fault(plain, LIMITS)
    compared(plain)


# --- languages -------------------------------------------------------------------------------------------


def test_languages() -> None:
    guesser = LanguageGuesser()
    english = guesser.guess("two dogs are running on the beach")
    german = guesser.guess("ein Hund rennt am Strand entlang")
    chinese = guesser.guess("一只狗在沙滩上奔跑")
    assert (english[0], german[0], chinese[0]) == ("en", "de", "zh")
    assert guesser.guess("dog") == ("", 0.0)
    only = Limits(languages=("en", "zh"))
    assert [wrong_language("", guess, only) for guess in (english, german, chinese)] == [False, True, False]
    # A short text, of which nothing is known, is not thrown away.
    assert not wrong_language("", guesser.guess("Hund"), only)
    # A claim is checked where it can be.
    assert wrong_language("en", german, LIMITS)
    assert wrong_language("en-US", german, LIMITS)
    assert not wrong_language("tlh", german, LIMITS)
    assert wrong_language("de", german, only)
    assert not wrong_language("", german, LIMITS)
    assert spoken_language("en_GB", german, LIMITS) == "en"
    assert spoken_language("", german, LIMITS) == "de"
    assert spoken_language("", ("", 0.0), only) == "en"
    assert spoken_language("", ("", 0.0), LIMITS) == "en"


# --- photos ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (picture(1), None),
        (picture(1, 31, 80), Reason.TINY),
        (picture(1, 32, 160), None),
        (picture(1, 32, 161), Reason.EXTREME_ASPECT),
        (Image.new("RGB", (80, 60), (200, 30, 30)), Reason.BLANK),
        (Image.new("L", (80, 60), 128), Reason.BLANK),
    ],
)
def test_a_photo_and_what_is_wrong_with_it(image: Image.Image, reason: Reason | None) -> None:
    assert photo_fault(measured(image), LIMITS) is reason


def test_a_coloured_shape_as_bright_as_its_background_is_not_blank() -> None:
    pixels = np.zeros((60, 80, 3), np.uint8)
    pixels[:, :40] = (100, 0, 0)
    pixels[:, 40:] = (0, 51, 0)
    assert photo_fault(measured(Image.fromarray(pixels)), LIMITS) is None


def test_noise_is_blank() -> None:
    noise = np.random.default_rng(0).integers(120, 124, (200, 300, 3), dtype=np.uint8)
    assert contrast(Image.fromarray(noise)) < 3


def test_broken_photos_of_every_kind(tmp_path_factory: pytest.TempPathFactory) -> None:
    made = make_broken_folder(tmp_path_factory.mktemp("broken"))
    for name in made.good:
        assert measure_photo((made.folder / name).read_bytes).fault is None
    for name, kind in made.kinds.items():
        path = made.folder / name
        if path.is_file() and kind not in ("permission", "unsupported", "missing", "directory"):
            fault = measure_photo(path.read_bytes).fault
            assert fault is not None and fault[0] == kind, name


def test_a_reader_that_fails() -> None:
    def read() -> bytes:
        raise ImageError("missing", "x.jpg: no such file")

    found = measure_photo(read)
    assert found.fault == ("missing", "x.jpg: no such file")
    assert Measurement.from_row(found.as_row()) == found


@given(st.binary(max_size=300))
def test_any_bytes_are_measured(data: bytes) -> None:
    found = measure_photo(lambda: data)
    assert photo_fault(found, LIMITS) is not None
    assert Measurement.from_row(found.as_row()) == found


def test_a_measurement_survives_being_kept() -> None:
    found = measured(picture(3))
    assert Measurement.from_row(found.as_row()) == found
    for row in ([], [1], [1, 2, 3], ["jpg", "x", "", 1, 1, 1.0, 1, "!"]):
        with pytest.raises((ValueError, TypeError)):
            Measurement.from_row(row)


@pytest.mark.parametrize("seed", range(8))
def test_the_hash_is_imagehashs(seed: int) -> None:
    image = picture(seed, 90 + seed, 140)
    bits = imagehash.phash(image).hash.ravel()
    assert perceptual_hash(image) == int.from_bytes(np.packbits(bits).tobytes(), "big")


# --- duplicates ------------------------------------------------------------------------------------------


def look(image: Image.Image, split: str | None = None, told: bool = True, sha: str | None = None) -> Look:
    pixels = image.width * image.height
    name = sha if sha is not None else str(hash(image.tobytes()))
    return Look(name, perceptual_hash(image), colour_thumb(image), pixels, split, told)


def compressed(image: Image.Image) -> Image.Image:
    return Image.open(io.BytesIO(encoded(image, "JPEG"))).convert("RGB")


def test_copies_that_look_alike_are_found_and_the_larger_stays() -> None:
    small = picture(1)
    large = small.resize((240, 180), Image.Resampling.BICUBIC)
    bright = Image.fromarray(np.clip(np.asarray(small).astype(int) + 15, 0, 255).astype(np.uint8))
    looks = [look(small), look(picture(2)), look(large), None, look(compressed(bright))]
    twins = find_twins(looks, 4)
    assert {place: (twin.reason, twin.of) for place, twin in twins.items()} == {
        0: (Reason.NEAR_DUPLICATE, 2),
        4: (Reason.NEAR_DUPLICATE, 2),
    }
    assert find_twins(looks, None) == {}


def test_one_about_which_something_is_said_stays() -> None:
    small = picture(1)
    looks = [look(small), look(small.resize((240, 180)), told=False)]
    assert list(find_twins(looks, 4)) == [1]


def test_the_evaluation_split_keeps_its_photo() -> None:
    image = picture(1)
    looks = [look(image, "train"), look(image, "test"), look(compressed(image), "train"), look(image, "dev")]
    twins = find_twins(looks, 4)
    assert {place: (twin.reason, twin.of) for place, twin in twins.items()} == {
        0: (Reason.ACROSS_SPLITS, 1),
        2: (Reason.ACROSS_SPLITS, 1),
        3: (Reason.ACROSS_SPLITS, 1),
    }


def test_drawings_that_differ_in_colour_stay() -> None:
    def drawn(colour: tuple[int, int, int], size: int) -> Look:
        pixels = np.full((64, 64, 3), 240, np.uint8)
        pixels[32 : 32 + size, 16 : 16 + size] = colour
        return look(Image.fromarray(pixels))

    for size in (8, 30):
        looks = [drawn(colour, size) for colour in ((200, 40, 40), (40, 40, 200), (40, 200, 40))]
        assert find_twins(looks, 4) == {}
        assert list(find_twins([*looks, looks[0]], 4)) == [3]


@given(data=st.data(), distance=st.integers(0, 8))
def test_the_search_finds_what_comparing_all_with_all_finds(data: st.DataObject, distance: int) -> None:
    base = data.draw(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=4))
    flips = st.lists(st.integers(0, 63), max_size=8)
    hashes = [data.draw(st.sampled_from(base)) for _ in range(data.draw(st.integers(1, 14)))]
    hashes = [value ^ sum(1 << bit for bit in set(data.draw(flips))) for value in hashes]
    looks = [Look(str(n), value, bytes(192), 100 - n, None) for n, value in enumerate(hashes)]
    expected: dict[int, int] = {}
    for n, value in enumerate(hashes):
        near = [m for m in range(n) if m not in expected and (hashes[m] ^ value).bit_count() <= distance]
        if near:
            expected[n] = near[0]
    assert {place: twin.of for place, twin in find_twins(looks, distance).items()} == expected


# --- limits and reasons ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"min_edge": 0},
        {"max_aspect": 0.5},
        {"near_distance": 17},
        {"min_words": 5, "max_words": 4},
        {"max_repeats": 0},
        {"min_score": 0.1, "keep_fraction": 0.5},
        {"keep_fraction": 0.0},
        {"keep_fraction": 1.5},
        {"boilerplate": ("(",)},
    ],
    ids=str,
)
def test_limits_that_cannot_be_meant(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        Limits(**wrong)  # type: ignore[arg-type]


def test_every_reason_has_a_meaning() -> None:
    assert set(MEANING) == set(Reason)
    assert set(PHOTO_REASONS) | set(CAPTION_REASONS) | {Reason.BROKEN_ENTRY} == set(Reason)
    assert photo_bytes(1)
