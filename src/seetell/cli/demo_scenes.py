"""Pictures for `seetell demo`: the sample photographs of the package and a few drawn scenes."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from PIL import Image, ImageDraw

SIZE_PX = 256
COLOURS = {
    "red": (255, 0, 0),
    "blue": (0, 0, 255),
    "green": (0, 255, 0),
    "yellow": (255, 255, 0),
    "teal": (0, 128, 128),
    "black": (0, 0, 0),
}


@dataclass(frozen=True, slots=True)
class Scene:
    """One coloured shape on a pale ground. ``box`` is left, top, right, bottom in 0..1."""

    colour: str
    shape: str
    ground: tuple[int, int, int]
    box: tuple[float, float, float, float]

    @property
    def name(self) -> str:
        return f"drawn: {self.colour} {self.shape}"


SCENES = (
    Scene("red", "triangle", (228, 232, 246), (0.3, 0.15, 0.75, 0.55)),
    Scene("blue", "circle", (253, 250, 234), (0.2, 0.3, 0.7, 0.8)),
    Scene("teal", "rectangle", (252, 232, 230), (0.15, 0.35, 0.6, 0.75)),
)


def draw(scene: Scene) -> Image.Image:
    """The scene as an RGB image of ``SIZE_PX`` x ``SIZE_PX``."""
    # Drawn at twice the size and shrunk: PIL's own edges are jagged.
    side = 2 * SIZE_PX
    image = Image.new("RGB", (side, side), scene.ground)
    left, top, right, bottom = (side * value for value in scene.box)
    pen = ImageDraw.Draw(image)
    fill = COLOURS[scene.colour]
    if scene.shape == "circle":
        pen.ellipse((left, top, right, bottom), fill=fill)
    elif scene.shape == "triangle":
        pen.polygon([((left + right) / 2, top), (right, bottom), (left, bottom)], fill=fill)
    else:
        pen.rectangle((left, top, right, bottom), fill=fill)
    return image.resize((SIZE_PX, SIZE_PX), Image.Resampling.LANCZOS)


def sample_photos() -> list[Path]:
    """The sample photographs; the README beside them says whose they are."""
    folder = Path(str(resources.files("seetell"))) / "samples"
    return sorted(folder.glob("*.jpg"))
