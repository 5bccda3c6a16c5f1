"""The built-in model on drawn scenes, through the whole running half: what must not be spoilt unseen.

Floors lie below what the model scores (see docs/builtin-model.md), above what a fault in decoding,
preprocessing, export or an engine would leave: chance is a third of the shapes and a sixth of the colours.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import seetell
from seetell.cli.demo_scenes import COLOURS, Scene, draw
from seetell.core.errors import PrecisionUnavailable
from seetell.tasks.model import Model

SHAPES = ("circle", "triangle", "rectangle")


def scenes() -> list[Scene]:
    """Every colour and shape at three seeded places and sizes, on pale grounds."""
    rng = np.random.default_rng(11)
    found = []
    for colour in COLOURS:
        for shape in SHAPES:
            for _ in range(3):
                size = rng.uniform(0.35, 0.6)
                left, top = rng.uniform(0.05, 0.9 - size, 2)
                ground = tuple(int(value) for value in rng.integers(225, 256, 3))
                found.append(Scene(colour, shape, ground, (left, top, left + size, top + size)))
    return found


@pytest.fixture(scope="module", params=["fp32", "bf16", "int8"])
def model(request: pytest.FixtureRequest) -> Iterator[Model]:
    try:
        loaded = seetell.load("builtin", precision=request.param)
    except PrecisionUnavailable:
        pytest.skip(f"this processor has no {request.param}")
    with loaded:
        yield loaded


def share_right(model: Model, question: str, expected: list[str]) -> float:
    answers = [model.ask(draw(scene), question).answer for scene in scenes()]
    return sum(one == other for one, other in zip(answers, expected, strict=True)) / len(answers)


def test_it_names_shapes(model: Model) -> None:
    assert share_right(model, "what shape is in the image?", [one.shape for one in scenes()]) >= 0.9


def test_it_names_colours(model: Model) -> None:
    assert share_right(model, "what color is the shape?", [one.colour for one in scenes()]) >= 0.9


def test_it_knows_what_is_there_and_what_is_not(model: Model) -> None:
    expected = ["yes" if scene.shape == "circle" else "no" for scene in scenes()]
    assert share_right(model, "is there a circle?", expected) >= 0.9


def test_a_photo_and_its_half_size_are_neighbours(model: Model) -> None:
    """The embedding of a scene is nearer to that of its smaller copy than to nine in ten of the others."""
    pictures = [draw(scene) for scene in scenes()]
    whole = model.embed_images(pictures)
    half = model.embed_images([picture.resize((128, 128)) for picture in pictures])
    similarity = half @ whole.T
    ranks = (similarity > np.diag(similarity)[:, None]).sum(axis=1)
    assert np.mean(ranks <= len(pictures) // 10) >= 0.95
