"""Drawn pictures that show no thing, and questions about them.

People hold a phone up to what is dark or bright, and keep pictures of text. A model that has seen nothing but
photos puts something into each of them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from photo_words import WORDS, Fact, Photo
from PIL import Image, ImageDraw, ImageFont
from question_forms import LANGUAGES, Split, asked, generator

from seetell.data.records import CaptionRecord

_PAGE = 320
# Of each kind, to learn from.
_LEARNED = 25


def pictures_of_nothing(out: Path, count: int, rng: np.random.Generator) -> list[Path]:
    """Write ``count`` each of plain and shaded surfaces, noise, and pages of text; where they are."""
    out.mkdir(parents=True, exist_ok=True)
    found = []

    def keep(picture: Image.Image) -> None:
        found.append(out / f"{len(found):03d}.png")
        picture.save(found[-1])

    for number in range(count):
        ends = rng.integers(0, 256, (2, 3)) if number > 1 else np.full((2, 3), 255 * number)
        # Every other one is of one colour.
        ramp = np.linspace(0, number % 2, _PAGE)[:, None, None]
        shaded = (ends[0] * (1 - ramp) + ends[1] * ramp).repeat(_PAGE, axis=1)
        keep(Image.fromarray(shaded.round().astype(np.uint8)))
    for number in range(count):
        cell = (1, 2, 4, 8)[number % 4]
        grain = rng.integers(0, 256, (_PAGE // cell, _PAGE // cell, 3 if number % 8 < 4 else 1))
        keep(
            Image.fromarray(
                grain.repeat(cell, 0).repeat(cell, 1).repeat(4 - grain.shape[2], 2)[..., :3].astype(np.uint8)
            )
        )
    for number in range(count):
        page = Image.new(
            "RGB", (_PAGE, _PAGE if number % 2 else _PAGE * 3 // 2), "white" if number % 3 else "#202428"
        )
        size = int(rng.integers(9, 26))
        pen = ImageDraw.Draw(page)
        for top in range(8, page.height - size, round(size * 1.5)):
            words = [
                "".join(chr(97 + letter) for letter in rng.integers(0, 26, rng.integers(2, 9)))
                for _ in range(9)
            ]
            pen.text(
                (10, top), " ".join(words), "black" if number % 3 else "#d8dee9", ImageFont.load_default(size)
            )
        keep(page)
    return found


def boxes_and_lines(out: Path, count: int, rng: np.random.Generator) -> list[Path]:
    """Write ``count`` pictures of boxes, bars, lines and a few letters, as charts and windows have them."""
    out.mkdir(parents=True, exist_ok=True)
    found = []
    for number in range(count):
        size = (_PAGE, _PAGE * 3 // 4) if number % 2 else (_PAGE * 3 // 4, _PAGE * 5 // 4)
        picture = Image.new(
            "RGB", size, tuple(rng.integers(200 if number % 3 else 0, 256 if number % 3 else 60, 3).tolist())
        )
        pen = ImageDraw.Draw(picture)
        for _ in range(int(rng.integers(3, 14))):
            left, top = (int(rng.integers(0, side * 4 // 5)) for side in size)
            right, bottom = (
                left + int(rng.integers(8, size[0] // 2)),
                top + int(rng.integers(8, size[1] // 3)),
            )
            colour = tuple(rng.integers(0, 256, 3).tolist())
            kind = int(rng.integers(0, 4))
            if kind == 0:
                pen.rectangle((left, top, right, bottom), fill=colour)
            elif kind == 1:
                pen.rounded_rectangle((left, top, right, bottom), 6, outline=colour, width=2)
            elif kind == 2:
                pen.line((left, bottom, right, top), fill=colour, width=int(rng.integers(1, 5)))
            else:
                letters = "".join(chr(97 + letter) for letter in rng.integers(0, 26, rng.integers(3, 12)))
                pen.text((left, top), letters, colour, ImageFont.load_default(int(rng.integers(9, 20))))
        found.append(out / f"boxes_{number:03d}.png")
        picture.save(found[-1])
    return found


def nothing(out: Path, seed: int) -> dict[str, Split]:
    """Draw pictures into ``out``: language -> ``train`` -> whether any of the things people ask about is
    there, which it is not."""
    rng = np.random.default_rng([seed, 1])
    # All black and all white, which come first, are left to be measured on.
    drawn = pictures_of_nothing(out, _LEARNED, rng)[2:] + boxes_and_lines(out, _LEARNED, rng)
    draws = generator(seed, "nothing")
    facts = [
        Fact(Photo(CaptionRecord(picture, (), number)), "presence", word, "no", draws.randrange(1 << 30))
        for number, picture in enumerate(drawn)
        for word in WORDS["things"]
    ]
    return {language: {"train": asked(facts, language)} for language in LANGUAGES}
