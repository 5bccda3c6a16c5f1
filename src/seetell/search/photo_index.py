"""An index of photos: add folders, find by text or by photo. Held in memory."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seetell.core.errors import UsageError
from seetell.core.results import Failure, Hit
from seetell.media.images import Photo, list_photos
from seetell.tasks.context import at_least_one
from seetell.tasks.model import Model


@dataclass(frozen=True, slots=True)
class Added:
    """What :meth:`PhotoIndex.add` did. failures: the photos that could not be read, and why."""

    added: int
    failures: tuple[Failure, ...]


class PhotoIndex:
    """Photos and their vectors. Thread-safe.

    Args:
        path: None holds the index in memory, which is all this version does.
        model: gives the vectors; must be able to ``embed``.

    Raises UsageError for a path, or a model that cannot embed.
    """

    def __init__(self, path: str | os.PathLike[str] | None, model: Model) -> None:
        if path is not None:
            raise UsageError(
                f"{os.fspath(path)}: an index is kept in memory only; give None in place of a path"
            )
        if "embed" not in model.tasks:
            raise UsageError(f"{model.name} cannot embed photos, so it cannot search them")
        self._model = model
        self._lock = threading.Lock()
        self._rows: dict[str, int] = {}
        self._vectors: NDArray[np.float32] = np.zeros((0, 0), np.float32)

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, photos: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> Added:
        """Add folders (with all below them) and files. A photo known already is read again.

        Photos that cannot be read are skipped and reported.
        """
        failures: list[Failure] = []
        added = 0
        for result in self.adding(photos):
            if isinstance(result, Failure):
                failures.append(result)
            else:
                added += 1
        return Added(added, tuple(failures))

    def adding(
        self, photos: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]
    ) -> Iterator[str | Failure]:
        """The same, one photo at a time: the path added or the failure, for showing progress. What was
        read counts once this is exhausted."""
        given = [photos] if isinstance(photos, str | os.PathLike) else photos
        names: list[str] = []
        done = 0

        def paths() -> Iterator[Path]:
            for path in list_photos(Path(one) for one in given):
                names.append(str(path))
                yield path

        found: dict[str, NDArray[np.float32]] = {}
        for result in self._model.stream("embed_images", paths()):
            name = names[done]
            done += 1
            if isinstance(result, Failure):
                yield result
                continue
            found[name] = result
            yield name
        self._keep(found)

    def search(self, text: str | None = None, *, image: Photo | None = None, k: int = 10) -> list[Hit]:
        """The ``k`` photos nearest to a text, a photo, or both together (the mean of their vectors).

        Raises UsageError when neither is given or ``k`` is below 1, and what the model raises for them.
        """
        if text is None and image is None:
            raise UsageError("search for a text, a photo, or both")
        k = at_least_one(k, "k")
        if isinstance(image, list | tuple):
            raise UsageError("search by one photo, not a list of them")
        parts = []
        if text is not None:
            parts.append(self._model.embed_texts([text])[0])
        if image is not None:
            parts.append(self._model.embed_images(image)[0])
        query = np.mean(parts, axis=0)
        query /= max(float(np.linalg.norm(query)), np.finfo(np.float32).tiny)
        with self._lock:
            names, vectors = list(self._rows), self._vectors
        if not names:
            return []
        scores = vectors @ query
        order = np.argsort(-scores, kind="stable")[:k]
        return [Hit(rank, names[row], float(scores[row])) for rank, row in enumerate(order, 1)]

    def _keep(self, found: dict[str, NDArray[np.float32]]) -> None:
        if not found:
            return
        with self._lock:
            new = [name for name in found if name not in self._rows]
            # A copy, so that a search going on beside this keeps a consistent view.
            parts = [self._vectors.copy()] if len(self._rows) else []
            vectors = np.concatenate([*parts, *(found[name][None] for name in new)])
            for name in found.keys() - set(new):
                vectors[self._rows[name]] = found[name]
            for name in new:
                self._rows[name] = len(self._rows)
            self._vectors = vectors
