"""The demo's pictures: photographs that need no download, and scenes that show what they say."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from PIL import Image

from seetell.cli.demo_scenes import COLOURS, SAMPLE_PHOTOS, SCENES, SIZE_PX, Scene, draw, sample_photos


@pytest.mark.skipif(importlib.util.find_spec("skimage") is None, reason="needs scikit-image")
def test_sample_photographs_ship_with_scikit_image() -> None:
    assert [path.name for path in sample_photos()] == list(SAMPLE_PHOTOS)
    for path in sample_photos():
        with Image.open(path) as image:
            assert min(image.size) >= 300


def test_without_scikit_image_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert sample_photos() == []


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_scenes_show_what_they_say(scene: Scene) -> None:
    pixels = np.asarray(draw(scene)).astype(int)
    assert pixels.shape == (SIZE_PX, SIZE_PX, 3)
    painted = np.abs(pixels - COLOURS[scene.colour]).max(axis=2) < 8
    left, top, right, bottom = scene.box
    share_of_box = painted.mean() / ((right - left) * (bottom - top))
    expected = {"rectangle": 1.0, "circle": np.pi / 4, "triangle": 0.5}[scene.shape]
    assert share_of_box == pytest.approx(expected, abs=0.05)
    assert (np.abs(pixels[0, 0] - scene.ground) < 2).all()
