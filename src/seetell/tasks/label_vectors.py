"""Vectors of lists of labels: worked out once for a stream that asks for the same ones again."""

from __future__ import annotations

import threading
from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

from seetell.tasks import embed
from seetell.tasks.context import Context, unit

_REMEMBERED = 8


class LabelVectors:
    """Vectors of label lists, the last few kept: classifying a stream asks for the same ones again."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, ...], NDArray[np.float32]] = OrderedDict()

    def of(self, labels: tuple[str, ...], templates: tuple[str, ...]) -> NDArray[np.float32]:
        """float32[len(labels), S], unit length: per label the mean of its prompts' unit vectors, made unit
        length again (prompt ensembling: Radford et al. 2021, section 3.1.4)."""
        key = (*labels, "\0", *templates)
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key]
        prompts = [template.replace("{}", label) for label in labels for template in templates]
        embeds = embed.text_embeds(self._context, prompts).reshape(len(labels), len(templates), -1)
        vectors = unit(embeds.mean(axis=1))
        with self._lock:
            self._known[key] = vectors
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return vectors
