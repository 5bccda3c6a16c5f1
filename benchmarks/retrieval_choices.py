"""What searching could gain without training: several views of each photo, and ranking again by matching.

    python benchmarks/retrieval_choices.py CAPTIONS.json IMAGES [--model BUNDLE] [--language en] [--again]

A photo's vector is the mean of those of its views: mirrored, and without a tenth or a seventh of its sides.
With `--again` the best 20 photos of each caption and the best 60 captions of each photo are ranked again by
cosine times the model's scale plus a weight times the matching head's log-odds (Li et al. 2021, section 3.5,
where the head decides alone; so does a weight of 1000). Prints R@1, 5 and 10 in both directions as a Markdown
table.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

import seetell
from seetell.data.coco import read_coco_captions
from seetell.media.images import decode_image
from seetell.tasks.model import Model

Matrix = NDArray[np.float32]
WEIGHTS = (0.25, 0.5, 1.0, 2.0, 1000.0)
PHOTOS_AGAIN, CAPTIONS_AGAIN = 20, 60


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("captions", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--model", default=None)
    parser.add_argument("--language", default="en")
    parser.add_argument("--again", action="store_true")
    given = parser.parse_args()
    records = read_coco_captions(given.captions, given.images)
    texts = [text for record in records for text in record.texts(given.language)]
    owner = np.repeat(np.arange(len(records)), [len(record.texts(given.language)) for record in records])
    print("| | text -> photo R@1 / 5 / 10 | photo -> text R@1 / 5 / 10 |\n|---|---|---|")
    with seetell.load(given.model) as model:
        text_embeds = model.embed_texts(texts)
        seen = view_embeds(model, [record.photo for record in records])
        for name, chosen in VIEWS.items():
            mean = np.sum([seen[one] for one in chosen], axis=0)
            scores = (mean / np.linalg.norm(mean, axis=1, keepdims=True)) @ text_embeds.T
            print_row(name, recalls(scores, owner), recalls_of_photos(scores, owner))
        if given.again:
            scores = seen["whole"] @ text_embeds.T
            rank_again(model, scores, owner, [record.photo for record in records], texts)


VIEWS = {
    "the photo": ("whole",),
    "and mirrored": ("whole", "mirrored"),
    "and its middle nine tenths, both mirrored, too": ("whole", "mirrored", "middle", "middle mirrored"),
    "and its left and right six sevenths": (
        *("whole", "mirrored", "middle", "middle mirrored"),
        *("left", "right"),
    ),
}


def view_embeds(model: Model, photos: list[Path]) -> dict[str, Matrix]:
    """Name of a view -> float32[N, S]."""
    whole = [Image.fromarray(decode_image(photo)) for photo in photos]
    middle = [cropped(photo, 0.9, 0.5) for photo in whole]
    views = {
        "whole": whole,
        "mirrored": [ImageOps.mirror(photo) for photo in whole],
        "middle": middle,
        "middle mirrored": [ImageOps.mirror(photo) for photo in middle],
        "left": [cropped(photo, 6 / 7, 0.0) for photo in whole],
        "right": [cropped(photo, 6 / 7, 1.0) for photo in whole],
    }
    return {name: model.embed_images(several) for name, several in views.items()}


def cropped(photo: Image.Image, part: float, place: float) -> Image.Image:
    """``part`` of both sides, its left edge at ``place`` of what is left over, vertically in the middle."""
    width, height = (round(side * part) for side in photo.size)
    left, top = round((photo.width - width) * place), (photo.height - height) // 2
    return photo.crop((left, top, left + width, top + height))


def recalls(scores: Matrix, owner: NDArray[np.intp]) -> list[float]:
    """Text -> photo at 1, 5, 10, in percent; ties rank last. scores: float32[N, T]; owner: int[T]."""
    own = scores[owner, np.arange(len(owner))]
    ranks = (scores >= own).sum(axis=0)
    return [100 * float(np.mean(ranks <= at)) for at in (1, 5, 10)]


def recalls_of_photos(scores: Matrix, owner: NDArray[np.intp]) -> list[float]:
    """Photo -> text, the rank of the photo's best caption among the others' captions."""
    mine = owner[None, :] == np.arange(len(scores))[:, None]
    best = np.where(mine, scores, -np.inf).max(axis=1, keepdims=True)
    ranks = 1 + ((scores >= best) & ~mine).sum(axis=1)
    return [100 * float(np.mean(ranks <= at)) for at in (1, 5, 10)]


def rank_again(
    model: Model, scores: Matrix, owner: NDArray[np.intp], photos: list[Path], texts: list[str]
) -> None:
    """One row per weight."""
    to_photo = np.zeros(scores.shape, bool)
    to_text = np.zeros(scores.shape, bool)
    np.put_along_axis(to_photo, np.argpartition(-scores, PHOTOS_AGAIN, axis=0)[:PHOTOS_AGAIN], True, axis=0)
    np.put_along_axis(
        to_text, np.argpartition(-scores, CAPTIONS_AGAIN, axis=1)[:, :CAPTIONS_AGAIN], True, axis=1
    )
    odds = np.zeros(scores.shape, np.float32)
    for row, photo in enumerate(photos):
        asked = np.flatnonzero(to_photo[row] | to_text[row])
        for place, match in zip(asked, model.match(photo, [texts[one] for one in asked]), strict=True):
            if match.probability is None:
                raise SystemExit(f"{model.name} has no matching head")
            odds[row, place] = log_odds(match.probability)
    base = scores * math.exp(model.manifest.score.logit_scale or 0.0)
    for weight in WEIGHTS:
        # Those looked at again stand before all others.
        first = [np.where(again, 1e6 + base + weight * odds, base) for again in (to_photo, to_text)]
        print_row(
            f"ranked again, weight {weight:g}", recalls(first[0], owner), recalls_of_photos(first[1], owner)
        )


def log_odds(probability: float) -> float:
    """ln p / (1 - p), for a p away from 0 and 1."""
    inside = min(max(probability, 1e-9), 1 - 1e-9)
    return math.log(inside / (1 - inside))


def print_row(name: str, to_photo: list[float], to_text: list[float]) -> None:
    """One row of the table."""
    columns = [" / ".join(f"{one:.1f}" for one in several) for several in (to_photo, to_text)]
    print(f"| {name} | {' | '.join(columns)} |", flush=True)


if __name__ == "__main__":
    main()
