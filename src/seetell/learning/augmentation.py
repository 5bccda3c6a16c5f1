"""Random views of photos for training, in numpy and PIL: crop, flip, light, cut-out.

Two things are kept true: colour names (light changes, hue never does, because captions and answers
name colours) and sides (a photo whose texts say left or right is never mirrored).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Luma of ITU-R BT.601, the grey that saturation fades towards.
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)

# The draw of a view that says whether it is mirrored.
_FLIP = 4

_SIDES = re.compile(
    r"\b(?:left|right)(?:most|wards?|hand|side)?\b|\b(?:counter|anti)?-?clockwise\b|\bmirror(?:ed)?\b|[左右]",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How far training views may stray from the photo.

    scale: smallest and largest share of the photo's area that is cropped.
    aspect: smallest and largest stretch of the crop, relative to squashing the whole photo; sampled
        evenly in its logarithm.
    stretch: smallest and largest factor by which what was cropped is then widened against its height, for
        models that keep a photo's shape: photos that lost theirs are seen in shapes they may have had.
    flip: mirror with probability 1/2 where the texts allow it.
    brightness, contrast, saturation: factors are drawn from [1 - x, 1 + x].
    views: how many views of a photo there are, whose maps of frozen layers are worked out once (see
        frozen_maps.py); 0 for a new view every time.
    erase: probability of covering one rectangle with grey (Zhong et al. 2017, "Random Erasing").
    """

    scale: tuple[float, float] = (0.5, 1.0)
    aspect: tuple[float, float] = (0.8, 1.25)
    flip: bool = True
    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.2
    erase: float = 0.0
    stretch: tuple[float, float] = (1.0, 1.0)
    views: int = 0


# Rendered pictures: colours and places are exact answers there, so the view is nearly the picture.
RENDERED = Augmentation(
    scale=(0.9, 1.0), aspect=(0.95, 1.05), flip=True, brightness=0.0, contrast=0.0, saturation=0.0
)


def names_a_side(texts: Iterable[str]) -> bool:
    """Whether any text depends on left and right, so that its photo must not be mirrored."""
    return any(_SIDES.search(text) for text in texts)


def random_view(
    photo: NDArray[np.uint8],
    size: int,
    rule: Augmentation,
    rng: np.random.Generator,
    *,
    mean: NDArray[np.float32],
    std: NDArray[np.float32],
    may_flip: bool,
) -> NDArray[np.float32]:
    """A random view of ``photo`` uint8[H, W, 3], as float32[size, size, 3] ``(x / 255 - mean) / std``.

    mean, std: float32[3], of values in 0..1. The draws from ``rng`` do not depend on ``may_flip`` or
    the photo's size.
    """
    draws = rng.random(12)
    box = crop_box(photo.shape[0], photo.shape[1], rule, draws[:4])
    image = Image.fromarray(photo).resize((size, size), Image.Resampling.BICUBIC, box=box)
    pixels = np.asarray(image, dtype=np.float32)
    if rule.flip and may_flip and draws[_FLIP] < 0.5:
        pixels = pixels[:, ::-1]
    pixels = jitter_light(pixels, rule, draws[5:8])
    view: NDArray[np.float32] = (pixels - mean * 255.0) / (std * 255.0)
    if draws[8] < rule.erase:
        _erase(view, draws[9:12])
    return np.ascontiguousarray(view)


def random_part(
    photo: NDArray[np.uint8], rule: Augmentation, rng: np.random.Generator, *, may_flip: bool
) -> NDArray[np.uint8]:
    """A random part of ``photo`` uint8[H, W, 3] as a photo of its own, uint8[h, w, 3]: crop, stretch, flip
    and light, for models that prepare photos in a way of their own. Where ``rule`` changes nothing it is the
    photo.
    """
    draws = rng.random(12)
    left, top, right, bottom = (
        round(edge) for edge in crop_box(photo.shape[0], photo.shape[1], rule, draws[:4])
    )
    part = photo[top : max(bottom, top + 1), left : max(right, left + 1)]
    if rule.stretch != (1.0, 1.0):
        part = _stretched(part, rule.stretch, float(rng.random()))
    if rule.flip and may_flip and draws[_FLIP] < 0.5:
        part = part[:, ::-1]
    lit = jitter_light(part.astype(np.float32), rule, draws[5:8])
    seen = lit.round().astype(np.uint8)
    if draws[8] < rule.erase:
        _erase_pixels(seen, draws[9:12])
    return np.ascontiguousarray(seen)


def mirrors(rule: Augmentation, rng: np.random.Generator) -> bool:
    """Whether a view drawn from ``rng`` is mirrored where it may be."""
    return rule.flip and bool(rng.random(12)[_FLIP] < 0.5)


def _stretched(part: NDArray[np.uint8], stretch: tuple[float, float], draw: float) -> NDArray[np.uint8]:
    """Wider or higher by a factor even in its logarithm; the side that grows relatively does not shrink."""
    low, high = np.log(stretch[0]), np.log(stretch[1])
    factor = float(np.exp(low + (high - low) * draw))
    height, width = part.shape[:2]
    size = (round(width * max(factor, 1.0)), round(height * max(1.0 / factor, 1.0)))
    return np.asarray(Image.fromarray(np.ascontiguousarray(part)).resize(size, Image.Resampling.BICUBIC))


def crop_box(
    height: int, width: int, rule: Augmentation, draws: NDArray[np.float64]
) -> tuple[float, float, float, float]:
    """A crop (left, top, right, bottom) in pixels, from four draws in 0..1.

    The stretch is relative to the photo's own shape, so that a landscape photo squashed to a square,
    as preprocessing does, stays the centre of what the model sees.
    """
    area = rule.scale[0] + (rule.scale[1] - rule.scale[0]) * draws[0]
    low, high = np.log(rule.aspect[0]), np.log(rule.aspect[1])
    aspect = np.exp(low + (high - low) * draws[1])
    wide = min(1.0, float(np.sqrt(area * aspect))) * width
    tall = min(1.0, float(np.sqrt(area / aspect))) * height
    # At least a pixel: a one-pixel photo has nothing smaller to crop.
    wide, tall = min(max(wide, 1.0), width), min(max(tall, 1.0), height)
    left, top = float(draws[2]) * (width - wide), float(draws[3]) * (height - tall)
    return left, top, min(left + wide, width), min(top + tall, height)


def jitter_light(
    pixels: NDArray[np.float32], rule: Augmentation, draws: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Brightness, contrast and saturation of float32[H, W, 3] in 0..255, from three draws in 0..1.

    All three are linear in the pixel, so they run as one 3x3 matrix and an offset. Grey stays grey,
    and the order of a pixel's channels stays what it was: the hue does not move.
    """
    if rule.brightness == rule.contrast == rule.saturation == 0.0:
        return pixels
    bright = 1.0 + rule.brightness * (2.0 * float(draws[0]) - 1.0)
    contrast = 1.0 + rule.contrast * (2.0 * float(draws[1]) - 1.0)
    colour = max(0.0, 1.0 + rule.saturation * (2.0 * float(draws[2]) - 1.0))
    flat = pixels.reshape(-1, 3)
    # A mean over the long axis as a matrix product: numpy's own is slow for rows of three.
    grey = np.float32((np.full(len(flat), 1.0 / len(flat), dtype=np.float32) @ flat) @ _LUMA)
    matrix = colour * np.eye(3, dtype=np.float32) + (1.0 - colour) * np.outer(_LUMA, np.ones(3, np.float32))
    matrix = (bright * contrast * matrix).astype(np.float32)
    offset = np.float32(bright * (1.0 - contrast)) * grey
    lit: NDArray[np.float32] = np.clip(pixels @ matrix + offset, 0.0, 255.0)
    return lit


def _erase(view: NDArray[np.float32], draws: NDArray[np.float64]) -> None:
    """Cover a rectangle of 2 to 20 percent of ``view`` with zeros, which is the mean colour. In place."""
    top, left, tall, wide = _covered(view.shape[0], view.shape[1], draws)
    view[top : top + tall, left : left + wide] = 0.0


def _erase_pixels(photo: NDArray[np.uint8], draws: NDArray[np.float64]) -> None:
    """The same of uint8[H, W, 3], with its own mean colour. In place."""
    top, left, tall, wide = _covered(photo.shape[0], photo.shape[1], draws)
    photo[top : top + tall, left : left + wide] = photo.mean(axis=(0, 1)).round()


def _covered(height: int, width: int, draws: NDArray[np.float64]) -> tuple[int, int, int, int]:
    """Top, left, height and width of the rectangle that three draws in 0..1 choose."""
    share = float(np.sqrt(0.02 + 0.18 * draws[0]))
    tall, wide = max(1, round(height * share)), max(1, round(width * share))
    return round(float(draws[1]) * (height - tall)), round(float(draws[2]) * (width - wide)), tall, wide
