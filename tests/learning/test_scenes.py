"""Rendered scenes: repeatable, true to their texts, and readable by the ordinary readers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from seetell.core.errors import StorageError
from seetell.data.coco import read_coco_captions
from seetell.data.imagefolder import read_imagefolder
from seetell.data.vqa import read_vqa
from seetell.learning.scenes import COLOURS, Scene, render_scene, write_scenes

SCENES = [render_scene(np.random.default_rng((0, number)), 48) for number in range(60)]


def centre(scene: Scene, colour: str) -> tuple[float, float]:
    """(across, down) of the pixels of a colour."""
    distance = np.abs(scene.picture.astype(int) - np.array(COLOURS[colour][1])).sum(axis=2)
    down, across = np.nonzero(distance < 12)
    assert across.size > 20, f"nothing {colour} to see"
    return float(across.mean()), float(down.mean())


def test_captions_say_where_things_are() -> None:
    told = 0
    for scene in SCENES:
        if scene.relation is None or scene.things[0].colour == scene.things[1].colour:
            continue
        first, second = (centre(scene, thing.colour) for thing in scene.things)
        across, down = second[0] - first[0], second[1] - first[1]
        true = (
            ("left" if across > 0 else "right")
            if abs(across) > abs(down)
            else ("above" if down > 0 else "below")
        )
        assert scene.relation == true
        texts = dict(scene.captions())
        assert any(true in text for text in texts)
        told += 1
    assert told > 15


def test_both_languages_name_every_thing() -> None:
    for scene in SCENES:
        captions = scene.captions()
        assert [language for _, language in captions] == ["en", "en", "zh", "zh"]
        for text, language in captions:
            for thing in scene.things:
                assert (thing.english if language == "en" else thing.chinese) in text


def test_answers_are_true() -> None:
    for number, scene in enumerate(SCENES):
        colours = {thing.colour for thing in scene.things}
        for question, answer in scene.questions(np.random.default_rng(number)):
            if question.startswith("is there a"):
                assert answer == ("yes" if question.split()[3] in colours else "no")
            elif question.startswith("what colour"):
                shape = question.removesuffix("?").split()[-1]
                assert [thing.colour for thing in scene.things if thing.shape == shape] == [answer]
            elif question.startswith("what shape"):
                colour = question.removesuffix("?").split()[-1]
                assert [thing.shape for thing in scene.things if thing.colour == colour] == [answer]
            else:
                assert answer == {1: "one", 2: "two"}[len(scene.things)]


def test_written_scenes_are_read_by_the_readers_and_repeat_by_seed(tmp_path: Path) -> None:
    for name, seed in (("a", 4), ("b", 4), ("c", 5)):
        write_scenes(tmp_path / name, 8, seed=seed, size=32)
    folder = tmp_path / "a"
    captions = read_coco_captions(folder / "captions_train.json", folder / "images")
    questions = read_vqa(
        folder / "questions_train.json", folder / "annotations_train.json", folder / "images"
    )
    assert len(captions) == 8
    assert all(record.photo.is_file() for record in [*captions, *questions])
    assert {record.photo_id for record in questions} == set(range(8))
    assert {record.label for record in read_imagefolder(folder / "labelled")} <= {
        "circle",
        "square",
        "triangle",
    }

    def content(name: str) -> dict[str, bytes]:
        root = tmp_path / name
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}

    assert content("a") == content("b") != content("c")
    with pytest.raises(StorageError):
        write_scenes(folder, 8)
