"""What is looked for: a text, a photo, both, and what is not wanted, as one vector."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seetell.core.errors import UsageError
from seetell.media.images import Photo
from seetell.tasks.context import unit
from seetell.tasks.model import Model

# How much what is not wanted counts, where what is wanted counts 1: benchmarks/negative_weight.py chose it.
NEGATIVE_WEIGHT = 0.25

# "-people" and -"many people", at the start or after a blank: "x-ray" and "- a dash" are none.
_NEGATIVE = re.compile(r'(?:^|(?<=\s))-(?:"([^"]+)"|([^\s"-]\S*))')


@dataclass(frozen=True, slots=True)
class Query:
    """wanted: the text less what is not wanted, None where only a photo is given."""

    wanted: str | None
    unwanted: tuple[str, ...]
    image: Photo | None


def parse_query(text: str | None, image: Photo | None) -> Query:
    """``"beach -people"`` is what is wanted and what is not.

    Raises UsageError where nothing is wanted, and for several photos.
    """
    if isinstance(image, list | tuple):
        raise UsageError("search by one photo, not a list of them")
    unwanted: tuple[str, ...] = ()
    wanted = text
    if text is not None:
        unwanted = tuple(quoted or word for quoted, word in _NEGATIVE.findall(text))
        if unwanted:
            wanted = " ".join(_NEGATIVE.sub(" ", text).split()) or None
    if wanted is None and image is None:
        if unwanted:
            raise UsageError(f"{text!r} says only what is not wanted; add what is, or a photo")
        raise UsageError("search for a text, a photo, or both")
    return Query(wanted, unwanted, image)


def query_vector(query: Query, model: Model) -> NDArray[np.float32]:
    """float32[S], unit length. Raises what the model raises for the text and the photo."""
    parts = []
    if query.wanted is not None:
        parts.append(model.embed_texts([query.wanted])[0])
    if query.image is not None:
        parts.append(model.embed_images(query.image)[0])
    vector = unit(np.mean(parts, axis=0))
    if query.unwanted:
        away = unit(model.embed_texts(query.unwanted).mean(axis=0))
        vector = unit(vector - NEGATIVE_WEIGHT * away)
    return vector
