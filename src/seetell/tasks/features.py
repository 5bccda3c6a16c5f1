"""``features``: what the image encoder sees, for building on top of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from seetell.core.errors import UsageError
from seetell.core.results import Features
from seetell.tasks.context import Context, Seen

_STAGE = "stage_features."


def available(context: Context) -> bool:
    """Whether the model gives image tokens."""
    return context.has("image_encoder", "image_tokens")


class FeatureReader:
    """Features of one photo each (B = 1)."""

    def __init__(self, context: Context) -> None:
        outputs = context.engine.outputs("image_encoder")
        self._stages = sorted(
            (name for name in outputs if name.startswith(_STAGE)), key=lambda name: int(name[len(_STAGE) :])
        )
        self._has_embeds = "image_embeds" in outputs

    @property
    def image_outputs(self) -> tuple[str, ...]:
        return ("image_tokens", *(["image_embeds"] if self._has_embeds else []), *self._stages)

    def answer(self, seen: Seen, questions: Sequence[str]) -> list[Features]:
        rows = [slice(photo, photo + 1) for photo in range(len(seen))]
        return [
            Features(
                tokens=seen.tokens[row],
                pooled=seen.embeds[row] if self._has_embeds else None,
                stages=tuple(seen.outputs[name][row] for name in self._stages),
            )
            for row in rows
        ]


def stacked(parts: Sequence[Features]) -> Features:
    """Features of B photos as one. Raises UsageError when the photos gave different shapes."""
    if not parts:
        raise UsageError("give at least one photo")
    pooled = [part.pooled for part in parts if part.pooled is not None]
    return Features(
        tokens=_joined([part.tokens for part in parts]),
        pooled=_joined(pooled) if pooled else None,
        stages=tuple(_joined(list(maps)) for maps in zip(*(part.stages for part in parts), strict=True)),
    )


def _joined(arrays: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    if len({array.shape[1:] for array in arrays}) > 1:
        raise UsageError("these photos give features of different shapes; ask for one photo at a time")
    return np.concatenate(arrays)
