"""From decoded photos to ``pixel_values``: the frozen preprocessing spec of a bundle and its numpy code.

A wrong mean or resize rule is the classic silent fault of this field, so the spec travels in the bundle
and this is the only code that reads it. Resizing goes through Pillow with the rounding of the PIL image
processors of transformers (``get_resize_output_image_size`` and the processors of CLIP, SigLIP, BLIP, ViT,
ViLT, ConvNeXT/ResNet, Chinese-CLIP and SAM): parity tests hold the results equal to 1e-6.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field, model_validator

from seetell.core.errors import UsageError
from seetell.core.strict import Strict
from seetell.media.decoded import DecodedPhoto

ResizeRule = Literal["squash", "shortest_edge", "longest_edge", "shortest_edge_bounded"]
Interpolation = Literal["bicubic", "bilinear", "lanczos"]

_RESAMPLING = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "lanczos": Image.Resampling.LANCZOS,
}

_MAX_ASPECT = 64


class ImageSpec(Strict):
    """How a decoded photo becomes one row of ``pixel_values``. All sizes are in pixels.

    ``resize`` is one of

    * ``squash``: to ``height`` x ``width`` whatever the aspect ratio (SigLIP, BLIP, ViT, Chinese-CLIP); with
      ``size`` given, to ``size`` x ``size`` and then cropped.
    * ``shortest_edge``: the shorter edge to ``size``, then a centre crop of ``height`` x ``width`` (CLIP;
      ResNet and ConvNeXT, whose ``crop_pct`` is ``size = int(height / crop_pct)``).
    * ``longest_edge``: the longer edge to ``size``, placed top left in ``height`` x ``width``; the rest is 0
      and masked out (SAM).
    * ``shortest_edge_bounded``: the shorter edge to ``size``, the longer at most ``bound``, both rounded down
      to a multiple of ``multiple_of``; the batch is padded with 0 to its largest and masked (ViLT).
      ``height`` and ``width`` are then the largest a photo can become and equal ``bound``.

    ``size`` defaults to what ``height`` and ``width`` imply. Values are
    ``(pixel / divisor - mean) / std`` per channel, RGB.
    """

    height: int = Field(gt=0)
    width: int = Field(gt=0)
    resize: ResizeRule = "squash"
    size: int | None = Field(default=None, gt=0)
    bound: int | None = Field(default=None, gt=0)
    multiple_of: int = Field(default=1, gt=0)
    interpolation: Interpolation = "bicubic"
    crop: Literal["center", "none"] = "none"
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    divisor: float = Field(default=255.0, gt=0)

    @model_validator(mode="after")
    def _consistent(self) -> ImageSpec:
        if not all(value > 0 for value in self.std):
            raise ValueError("std must be positive")
        bounded = self.resize == "shortest_edge_bounded"
        if bounded and (self.bound is None or self.size is None):
            raise ValueError("shortest_edge_bounded needs size and bound")
        if bounded and not (self.height == self.width == self.bound):
            raise ValueError("with shortest_edge_bounded, height and width equal bound")
        if bounded and (self.bound or 0) < self.multiple_of:
            raise ValueError("bound must be at least multiple_of")
        if not bounded and (self.bound is not None or self.multiple_of != 1):
            raise ValueError("bound and multiple_of belong to shortest_edge_bounded")
        if self.resize == "longest_edge" and self.edge > min(self.height, self.width):
            raise ValueError("with longest_edge, size must fit into height and width")
        cropped = self.resize == "shortest_edge" or (self.resize == "squash" and self.size is not None)
        if cropped != (self.crop == "center"):
            raise ValueError("crop is 'center' with shortest_edge, or squash with a size, and else 'none'")
        # The reference processors fill the missing border with black, which no model was taught on.
        if cropped and self.edge < max(self.height, self.width):
            raise ValueError("size must be at least height and width, or the crop has nothing to take")
        return self

    @property
    def edge(self) -> int:
        """The edge length resizing aims at: ``size``, or what ``height`` and ``width`` imply."""
        if self.size is not None:
            return self.size
        return min(self.height, self.width) if self.resize == "longest_edge" else max(self.height, self.width)

    @property
    def has_mask(self) -> bool:
        """Whether photos can be smaller than their row, so that ``preprocess`` returns a mask."""
        return self.resize in ("longest_edge", "shortest_edge_bounded")

    @property
    def min_source_size(self) -> tuple[int, int]:
        """(height, width) the photo is shrunk to before cropping: ``decode_image``'s ``min_size``."""
        if self.resize == "squash" and self.size is None:
            return self.height, self.width
        return self.edge, self.edge


def resized_size(height: int, width: int, spec: ImageSpec) -> tuple[int, int]:
    """(height, width) of a photo after resizing and before cropping or padding."""
    edge = spec.edge
    if spec.resize == "squash":
        return (spec.height, spec.width) if spec.size is None else (edge, edge)
    if spec.resize == "shortest_edge":
        # int(), not round(): torchvision's and transformers' rule.
        if width <= height:
            return int(edge * height / width), edge
        return edge, int(edge * width / height)
    if spec.resize == "longest_edge":
        scale = edge / max(height, width)
        return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))
    return _bounded_size(height, width, spec)


def _bounded_size(height: int, width: int, spec: ImageSpec) -> tuple[int, int]:
    """ViLT's rule, in its order of operations. A panorama so thin that the rule gives 0, where the
    reference fails, gets one multiple."""
    edge, bound = spec.edge, spec.bound or spec.height
    scale = edge / min(height, width)
    new_height, new_width = (float(edge), scale * width) if height < width else (scale * height, float(edge))
    if max(new_height, new_width) > bound:
        scale = bound / max(new_height, new_width)
        new_height, new_width = scale * new_height, scale * new_width
    step = spec.multiple_of
    return (
        max(step, int(new_height + 0.5) // step * step),
        max(step, int(new_width + 0.5) // step * step),
    )


def _without_far_ends(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The middle of a strip, so that one of 1 x 10,000,000 pixels is not enlarged to 224 x 2,240,000,000
    only to be cropped. No photo is this thin, and the crop would drop what is dropped here."""
    height, width = image.shape[:2]
    longest = min(height, width) * _MAX_ASPECT
    top, left = max(0, (height - longest) // 2), max(0, (width - longest) // 2)
    return image[top : top + longest, left : left + longest]


def _resize(photo: NDArray[np.uint8] | DecodedPhoto, spec: ImageSpec) -> NDArray[np.uint8]:
    """Resized and cropped, uint8[h, w, 3]. Sizes follow from the whole photo, at whatever scale it comes."""
    decoded = photo if isinstance(photo, DecodedPhoto) else DecodedPhoto(photo, photo.shape[:2])
    image, (height, width), box = decoded.pixels, decoded.size, decoded.box
    if spec.resize == "shortest_edge" and max(height, width) > _MAX_ASPECT * min(height, width):
        image = _without_far_ends(image)
        (height, width), box = image.shape[:2], None
    height, width = resized_size(height, width, spec)
    if (height, width) != image.shape[:2] or box is not None:
        picture = Image.fromarray(np.ascontiguousarray(image))
        image = np.asarray(picture.resize((width, height), _RESAMPLING[spec.interpolation], box=box))
    if spec.crop == "center":
        top, left = (height - spec.height) // 2, (width - spec.width) // 2
        image = image[top : top + spec.height, left : left + spec.width]
    return image


def _value_table(spec: ImageSpec) -> NDArray[np.float32]:
    """float32[3, 256]: what each of the 256 pixel values becomes, per channel.

    A table is exact and touches every pixel once; the float64 product rounded to float32 first is what
    the reference processors compute.
    """
    scaled = (np.arange(256, dtype=np.float64) * (1 / spec.divisor)).astype(np.float32)
    mean, std = np.array(spec.mean, np.float32), np.array(spec.std, np.float32)
    table: NDArray[np.float32] = (scaled[None, :] - mean[:, None]) / std[:, None]
    return table


def preprocess(
    images: Sequence[NDArray[np.uint8] | DecodedPhoto], spec: ImageSpec
) -> tuple[NDArray[np.float32], NDArray[np.bool_] | None]:
    """Turn decoded photos into a batch.

    Args:
        images: uint8[H, W, 3] each, of any sizes; or as ``decode_photo`` gives them, which says exactly what
            part of the photo was decoded at reduced scale.
        spec: the bundle's preprocessing.

    Returns:
        pixel_values float32[B, 3, H, W], and pixel_mask bool[B, H, W] (True = photo, False = padding)
        where ``spec.has_mask``, else None.

    Raises:
        UsageError: an array that is not uint8[H, W, 3].
    """
    for index, given in enumerate(images):
        image = given.pixels if isinstance(given, DecodedPhoto) else given
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
            raise UsageError(
                f"image {index} is {image.dtype}{list(image.shape)}; preprocess takes uint8[H, W, 3]"
            )
    resized = [_resize(image, spec) for image in images]
    height, width = spec.height, spec.width
    if spec.resize == "shortest_edge_bounded" and resized:
        height = max(image.shape[0] for image in resized)
        width = max(image.shape[1] for image in resized)
    make = np.zeros if spec.has_mask else np.empty
    pixel_values = make((len(resized), 3, height, width), np.float32)
    mask = np.zeros((len(resized), height, width), np.bool_) if spec.has_mask else None
    table = _value_table(spec)
    for row, image in enumerate(resized):
        rows, columns = image.shape[:2]
        for channel in range(3):
            pixel_values[row, channel, :rows, :columns] = table[channel][image[:, :, channel]]
        if mask is not None:
            mask[row, :rows, :columns] = True
    return pixel_values, mask
