"""Inputs on which exported graphs are compared with torch: several sizes of every role, seeded.

They cover what traced graphs get wrong: a batch of one, an empty cache, one token, padding on either
side, beams that change places, memory of another length than the photo's.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from seetell.bundle.manifest import TensorSpec
from seetell.modeling.export.roles.base import RoleModule
from seetell.modeling.models.assembled import ModelLimits
from seetell.runtime.engine import Arrays

_Sizes = dict[str, int]

# The first case of each role is the one recorded in the bundle, and so the smallest that says something.
_IMAGE: tuple[_Sizes, ...] = ({"B": 1}, {"B": 3})
_TEXT: tuple[_Sizes, ...] = ({"B": 2, "T": 4}, {"B": 1, "T": 3}, {"B": 8, "T": 11}, {"B": 2, "T": 10_000})
_FUSION: tuple[_Sizes, ...] = (
    {"B": 1, "T": 2, "N": 3},
    {"B": 1, "T": 5, "N": 64},
    {"B": 8, "T": 7, "N": 16},
    {"B": 2, "T": 10_000, "N": 5},
)
_MEMORY: tuple[_Sizes, ...] = ({"B": 1, "N": 2}, {"B": 8, "N": 17}, {"B": 1, "N": 64})
_DECODER: tuple[_Sizes, ...] = (
    {"B": 1, "P": 2, "T": 1, "N": 2},
    {"B": 1, "P": 0, "T": 1, "N": 5},
    {"B": 8, "P": 0, "T": 6, "N": 3},
    {"B": 4, "P": 7, "T": 1, "N": 16},
    {"B": 3, "P": 3, "T": 4, "N": 9},
    {"B": 1, "P": 0, "T": 10_000, "N": 1},
)
# Longer texts are compared no further: attention over all of a context of 100,000 would take the memory of
# the largest machines. Tables of positions are shorter.
_LONGEST = 1024
_CASES = {
    "embed_tokens": _TEXT,
    "image_encoder": _IMAGE,
    "text_encoder": _TEXT,
    "fusion_encoder": _FUSION,
    "decoder_memory": _MEMORY,
    "text_decoder": _DECODER,
}


def check_cases(module: RoleModule, limits: ModelLimits) -> list[Arrays]:
    """Cases for one role, the one to record first."""
    cases = []
    for number, wanted in enumerate(_CASES[module.role]):
        sizes = dict(wanted)
        if "T" in sizes:
            sizes["T"] = min(sizes["T"], min(limits.context_length or 1, _LONGEST) - sizes.get("P", 0))
            sizes["P+T"] = sizes.get("P", 0) + sizes["T"]
            sizes["K"] = min(sizes["T"], 2)
        # Photos of several sizes, where the model takes them: wide and high, of 6 patches and of 12.
        rows, columns = ((2, 3), (4, 3))[number % 2]
        sizes["H"], sizes["W"] = rows * module.multiple_of, columns * module.multiple_of
        random = np.random.default_rng(number)
        cases.append(
            {name: _array(name, spec, sizes, limits, random) for name, spec in module.inputs.items()}
        )
    return cases


def _array(
    name: str, spec: TensorSpec, sizes: Mapping[str, int], limits: ModelLimits, random: np.random.Generator
) -> NDArray[np.generic]:
    shape = tuple(sizes[axis] if isinstance(axis, str) else axis for axis in spec.axes)
    if spec.dtype == "bool":
        return _mask(shape, random)
    if name == "beam_idx":
        # With repeats, as beams have: 3 1 3 0 rather than a permutation.
        return random.integers(0, shape[0], shape).astype(np.int64)
    if name == "logit_places":
        return np.sort(random.choice(sizes["T"], shape, replace=False)).astype(np.int64)
    if spec.dtype == "int64":
        return random.integers(0, limits.vocab_size or 1, shape).astype(np.int64)
    if name == "pixel_values":
        return _picture(shape, random)
    return random.standard_normal(shape, np.float32)


def _mask(shape: tuple[int, ...], random: np.random.Generator) -> NDArray[np.bool_]:
    """bool[B, N]: rows padded on the right, on the left, and not at all, in turn. The first is whole."""
    mask = np.ones(shape, np.bool_)
    for row in range(shape[0]):
        cut = int(random.integers(0, shape[1])) if row else 0
        if row % 3 == 1:
            mask[row, shape[1] - cut :] = False
        elif row % 3 == 2:
            mask[row, :cut] = False
    return mask


def _picture(shape: tuple[int, ...], random: np.random.Generator) -> NDArray[np.float32]:
    """Blobs of whole numbers -1..1, which every model's normalised pixels reach: beyond them int8 clips.
    They are recorded as bytes."""
    batch, channels, height, width = shape
    coarse = random.integers(-1, 2, (batch, channels, -(-height // 8), -(-width // 8)))
    blobs = coarse.repeat(8, axis=2).repeat(8, axis=3)[:, :, :height, :width]
    speckle = random.integers(-1, 2, shape)
    picture: NDArray[np.float32] = np.clip(blobs + speckle, -1, 1).astype(np.float32)
    return picture
