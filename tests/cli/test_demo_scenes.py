"""The demo's pictures: photographs that need no download, and scenes that show what they say."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from seetell.cli.demo import QUESTIONS
from seetell.cli.demo_scenes import COLOURS, SCENES, SIZE_PX, Scene, draw, sample_photos


def test_sample_photographs_are_whole_and_few_bytes() -> None:
    for path in sample_photos():
        with Image.open(path) as image:
            image.load()
            assert min(image.size) >= 300
    assert sum(path.stat().st_size for path in sample_photos()) < 400_000


def test_every_sample_photograph_has_a_question_and_terms() -> None:
    names = [path.name for path in sample_photos()]
    assert sorted(QUESTIONS) == names and len(names) == 5
    terms = (sample_photos()[0].parent / "README.md").read_text(encoding="utf-8")
    rows = {line.split("`")[1]: line for line in terms.splitlines() if line.startswith("| `")}
    assert sorted(rows) == names
    assert all("CC0 1.0 |" in row or "public domain" in row for row in rows.values())


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
