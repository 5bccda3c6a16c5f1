"""Rendered scenes: small pictures of coloured shapes with captions (English, Chinese) and questions.

They are data that can be had anywhere, exactly known, and enough to see a model learn from nothing in
minutes. Written in the formats of real data (COCO captions JSON, VQAv2 JSON, imagefolder), so that the
ordinary readers read them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from seetell.core.files import atomic_folder

# English, Chinese, RGB.
COLOURS = {
    "red": ("红色", (214, 40, 40)),
    "green": ("绿色", (38, 160, 65)),
    "blue": ("蓝色", (36, 84, 214)),
    "yellow": ("黄色", (240, 205, 30)),
    "black": ("黑色", (25, 25, 25)),
    "purple": ("紫色", (135, 45, 170)),
}
# English -> Chinese.
SHAPES = {"circle": "圆形", "square": "正方形", "triangle": "三角形"}
# relation -> (English, Chinese).
_RELATIONS = {
    "left": ("left of", "左边"),
    "right": ("right of", "右边"),
    "above": ("above", "上面"),
    "below": ("below", "下面"),
}
_OPPOSITE = {"left": "right", "right": "left", "above": "below", "below": "above"}


@dataclass(frozen=True, slots=True)
class Thing:
    """One coloured shape."""

    colour: str
    shape: str

    @property
    def english(self) -> str:
        """ "red circle" """
        return f"{self.colour} {self.shape}"

    @property
    def chinese(self) -> str:
        """ "红色的圆形" """
        return f"{COLOURS[self.colour][0]}的{SHAPES[self.shape]}"


@dataclass(frozen=True, slots=True)
class Scene:
    """One thing, or two of which the first is ``relation`` of the second. uint8[H, W, 3] in ``picture``."""

    things: tuple[Thing, ...]
    relation: str | None
    picture: NDArray[np.uint8]

    def captions(self) -> list[tuple[str, str]]:
        """(text, language) pairs, two of each language, all true."""
        first = self.things[0]
        if self.relation is None:
            return [
                (f"a {first.english} .", "en"),
                (f"there is one {first.english} in the picture .", "en"),
                (f"一个{first.chinese}。", "zh"),
                (f"图中有一个{first.chinese}。", "zh"),
            ]
        second = self.things[1]
        english, chinese = _RELATIONS[self.relation]
        back_english, back_chinese = _RELATIONS[_OPPOSITE[self.relation]]
        return [
            (f"a {first.english} {english} a {second.english} .", "en"),
            (f"a {second.english} {back_english} a {first.english} .", "en"),
            (f"一个{first.chinese}在一个{second.chinese}的{chinese}。", "zh"),
            (f"一个{second.chinese}在一个{first.chinese}的{back_chinese}。", "zh"),
        ]

    def questions(self, rng: np.random.Generator) -> list[tuple[str, str]]:
        """(question, answer) pairs, all true."""
        first = self.things[0]
        asked = [("how many shapes are there?", {1: "one", 2: "two"}[len(self.things)])]
        colour = str(rng.choice(list(COLOURS)))
        shown = any(thing.colour == colour for thing in self.things)
        asked.append((f"is there a {colour} shape?", "yes" if shown else "no"))
        # "the circle" must mean one of them.
        if len({thing.shape for thing in self.things}) == len(self.things):
            asked.append((f"what colour is the {first.shape}?", first.colour))
        if len({thing.colour for thing in self.things}) == len(self.things):
            asked.append((f"what shape is {first.colour}?", first.shape))
        return asked


def render_scene(rng: np.random.Generator, size: int = 64) -> Scene:
    """Draw one scene of ``size`` x ``size`` pixels, of one thing or two that differ."""
    background = tuple(int(value) for value in rng.integers(205, 250, 3))
    # Drawn four times larger and shrunk, which smooths the edges.
    canvas = Image.new("RGB", (4 * size, 4 * size), background)
    pen = ImageDraw.Draw(canvas)
    things = _some_things(rng)
    relation = None if len(things) == 1 else str(rng.choice(list(_RELATIONS)))
    for thing, (across, down) in zip(things, _places(relation, rng), strict=True):
        radius = 4 * size * float(rng.uniform(0.13, 0.18))
        _draw(pen, thing, 4 * size * across, 4 * size * down, radius)
    picture = canvas.resize((size, size), Image.Resampling.BOX)
    return Scene(things, relation, np.asarray(picture, dtype=np.uint8))


def write_scenes(folder: Path, count: int, *, seed: int = 0, split: str = "train", size: int = 64) -> None:
    """Write ``count`` scenes to a new folder, with captions, questions and labelled pictures.

    ``images/``, ``captions_{split}.json``, ``questions_{split}.json``, ``annotations_{split}.json``, and
    ``labelled/SHAPE/`` with the scenes of one thing. The same seed gives the same files. Raises
    StorageError when the folder exists or cannot be written.
    """
    photos: list[dict[str, Any]] = []
    captions: list[dict[str, Any]] = []
    questions: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    with atomic_folder(folder) as writing:
        (writing / "images").mkdir()
        for number in range(count):
            rng = np.random.default_rng((seed, number))
            scene = render_scene(rng, size)
            name = f"{number:06d}.png"
            image = Image.fromarray(scene.picture)
            image.save(writing / "images" / name)
            photos.append({"id": number, "file_name": name, "width": size, "height": size})
            for text, language in scene.captions():
                entry = {"id": len(captions), "image_id": number, "caption": text, "language": language}
                captions.append(entry)
            for question, answer in scene.questions(rng):
                ids = {"question_id": len(questions), "image_id": number}
                questions.append({**ids, "image": name, "question": question})
                answers = [{"answer": answer}]
                annotations.append({**ids, "answers": answers, "multiple_choice_answer": answer})
            if scene.relation is None:
                labelled = writing / "labelled" / scene.things[0].shape
                labelled.mkdir(parents=True, exist_ok=True)
                image.save(labelled / name)
        documents = {
            f"captions_{split}.json": {"images": photos, "annotations": captions},
            f"questions_{split}.json": {"questions": questions},
            f"annotations_{split}.json": {"annotations": annotations},
        }
        for file, document in documents.items():
            (writing / file).write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")


def _some_things(rng: np.random.Generator) -> tuple[Thing, ...]:
    kinds = [Thing(colour, shape) for colour in COLOURS for shape in SHAPES]
    chosen = rng.permutation(len(kinds))[: 1 if rng.random() < 0.35 else 2]
    return tuple(kinds[int(place)] for place in chosen)


def _places(relation: str | None, rng: np.random.Generator) -> list[tuple[float, float]]:
    """Centres (across, down) in 0..1; those of a pair lie clearly apart along the relation's axis."""
    if relation is None:
        across, down = rng.uniform(0.25, 0.75, 2)
        return [(float(across), float(down))]
    near, far = float(rng.uniform(0.2, 0.3)), float(rng.uniform(0.7, 0.8))
    # The other axis hardly differs, so that one relation is true and the other two are not.
    level = rng.uniform(0.35, 0.65) + rng.uniform(-0.05, 0.05, 2)
    first, second = (near, far) if relation in ("left", "above") else (far, near)
    if relation in ("left", "right"):
        return [(first, float(level[0])), (second, float(level[1]))]
    return [(float(level[0]), first), (float(level[1]), second)]


def _draw(pen: ImageDraw.ImageDraw, thing: Thing, across: float, down: float, radius: float) -> None:
    fill = COLOURS[thing.colour][1]
    box = (across - radius, down - radius, across + radius, down + radius)
    if thing.shape == "circle":
        pen.ellipse(box, fill=fill)
    elif thing.shape == "square":
        pen.rectangle(box, fill=fill)
    else:
        pen.polygon([(across, box[1]), (box[0], box[3]), (box[2], box[3])], fill=fill)
