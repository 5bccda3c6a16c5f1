"""Views of photos: what may change, and what must not."""

from __future__ import annotations

import colorsys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from seetell.learning.augmentation import (
    RENDERED,
    Augmentation,
    crop_box,
    jitter_light,
    names_a_side,
    random_view,
)

HALF = np.full(3, 0.5, dtype=np.float32)
STILL = Augmentation(scale=(1.0, 1.0), aspect=(1.0, 1.0), flip=False, brightness=0, contrast=0, saturation=0)


def view(
    photo: NDArray[np.uint8], size: int, rule: Augmentation, seed: int = 0, may_flip: bool = True
) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    return random_view(photo, size, rule, rng, mean=HALF, std=HALF, may_flip=may_flip)


def noise(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(7).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_no_augmentation_is_the_photo_itself_normalised() -> None:
    photo = noise(32, 32)
    found = view(photo, 32, STILL)
    np.testing.assert_allclose(found, (photo / 255.0 - 0.5) / 0.5, atol=1e-6)
    assert found.dtype == np.float32 and found.flags.c_contiguous


def test_mean_and_std_are_per_channel() -> None:
    mean, std = np.array([0.1, 0.2, 0.3], np.float32), np.array([0.5, 1.0, 2.0], np.float32)
    photo = np.full((8, 8, 3), 255, dtype=np.uint8)
    found = random_view(photo, 8, STILL, np.random.default_rng(0), mean=mean, std=std, may_flip=True)
    np.testing.assert_allclose(found[0, 0], (1 - mean) / std, rtol=1e-6)


@given(
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    size=st.sampled_from([8, 24]),
    seed=st.integers(0, 1000),
)
def test_any_photo_gives_a_finite_view_of_the_size_asked(
    height: int, width: int, size: int, seed: int
) -> None:
    found = view(
        noise(height, width), size, Augmentation(scale=(0.05, 1.0), aspect=(0.3, 3.0), erase=1.0), seed
    )
    assert found.shape == (size, size, 3)
    assert np.isfinite(found).all()
    assert found.min() >= -1.0 and found.max() <= 1.0


@given(
    height=st.integers(1, 400),
    width=st.integers(1, 400),
    draws=st.lists(st.floats(0, 1, exclude_max=True), min_size=4, max_size=4),
)
def test_crops_lie_inside_and_keep_their_share(height: int, width: int, draws: list[float]) -> None:
    rule = Augmentation(scale=(0.36, 0.5), aspect=(0.8, 1.25))
    left, top, right, bottom = crop_box(height, width, rule, np.array(draws))
    assert 0 <= left < right <= width + 1e-6
    assert 0 <= top < bottom <= height + 1e-6
    if min(height, width) >= 4:
        share = (right - left) * (bottom - top) / (height * width)
        assert 0.36 - 1e-6 <= share <= 0.5 + 1e-6
        stretch = ((right - left) / width) / ((bottom - top) / height)
        assert 0.8 - 1e-6 <= stretch <= 1.25 + 1e-6


def test_flips_happen_half_the_time_and_never_when_forbidden() -> None:
    photo = np.zeros((16, 16, 3), dtype=np.uint8)
    photo[:, 8:] = 255
    rule = replace(STILL, flip=True)
    mirrored = sum(view(photo, 16, rule, seed)[0, 0, 0] > 0 for seed in range(200))
    assert 70 < mirrored < 130
    assert not any(view(photo, 16, rule, seed, may_flip=False)[0, 0, 0] > 0 for seed in range(200))
    assert not any(view(photo, 16, STILL, seed)[0, 0, 0] > 0 for seed in range(50))


def test_forbidding_a_flip_changes_nothing_else() -> None:
    photo = noise(40, 30)
    for seed in range(20):
        free, kept = (view(photo, 16, Augmentation(), seed, may_flip=may) for may in (True, False))
        assert np.allclose(free, kept, atol=1e-5) or np.allclose(free[:, ::-1], kept, atol=1e-5)


@given(
    colour=st.tuples(*[st.integers(20, 235)] * 3),
    draws=st.tuples(*[st.floats(0, 1)] * 3),
)
def test_light_never_moves_the_hue(colour: tuple[int, int, int], draws: tuple[float, ...]) -> None:
    rule = Augmentation(brightness=0.3, contrast=0.3, saturation=0.5)
    pixels = np.full((4, 4, 3), colour, dtype=np.float32)
    pixels[:2] = 128.0
    lit = jitter_light(pixels, rule, np.array(draws))[3, 3]
    if lit.min() <= 0 or lit.max() >= 255 or np.ptp(lit) < 4 or np.ptp(colour) < 4:
        return  # clipped, or too grey to have a hue
    before, after = (colorsys.rgb_to_hsv(*(float(v) / 255 for v in one))[0] for one in (colour, lit))
    assert min(abs(before - after), 1 - abs(before - after)) < 0.01


def test_light_really_varies_and_grey_stays_grey() -> None:
    photo = np.full((8, 8, 3), 100, dtype=np.uint8)
    means = [float(view(photo, 8, Augmentation(), seed).mean()) for seed in range(30)]
    assert np.std(means) > 0.02
    assert all(np.ptp(view(photo, 8, Augmentation(), seed)[0, 0]) < 1e-4 for seed in range(5))


def test_rendered_pictures_keep_colours_and_nearly_all_of_their_area() -> None:
    photo = np.full((64, 64, 3), (200, 30, 30), dtype=np.uint8)
    np.testing.assert_allclose(view(photo, 32, RENDERED, 3), view(photo, 32, STILL), atol=1e-5)
    for seed in range(50):
        left, top, right, bottom = crop_box(100, 100, RENDERED, np.random.default_rng(seed).random(4))
        assert (right - left) * (bottom - top) >= 0.9 * 100 * 100 - 1e-6


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a dog left of a cat", True),
        ("The RIGHT hand", True),
        ("the leftmost chair", True),
        ("on the right-hand side", True),
        ("a person turns clockwise", True),
        ("左边的狗", True),
        ("狗在右边", True),
        ("leftover food on a bright plate", False),
        ("an upright piano in sunlight", False),
        ("a dog above a cat", False),
        ("", False),
    ],
)
def test_texts_that_name_a_side(text: str, expected: bool) -> None:
    assert names_a_side([text]) is expected
    assert names_a_side(["a dog", text]) is expected
