"""An index of photos: add folders, find by text or by photo. Kept on disk, or in memory."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seetell.core.errors import UsageError
from seetell.core.results import Failure, Hit
from seetell.media.images import Photo
from seetell.search.query import parse_query, query_vector
from seetell.search.rows import MemoryRows, Rows, StoredRows
from seetell.search.updating import Change
from seetell.tasks.context import at_least_one
from seetell.tasks.model import Model

Photos = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]


@dataclass(frozen=True, slots=True)
class Added:
    """What :meth:`PhotoIndex.add` did. failures: the photos that could not be read, and why.

    updated: files that had changed. moved: files recognised under another name. removed: files that are gone.
    unchanged: files that were not even opened, or only touched.
    """

    added: int
    failures: tuple[Failure, ...]
    updated: int = 0
    moved: int = 0
    removed: int = 0
    unchanged: int = 0


class PhotoIndex:
    """Photos and their vectors. Thread-safe.

    Args:
        path: the folder to keep the index in, made when photos are first added; needs the extra ``search``.
            None holds it in memory.
        model: gives the vectors; must be able to ``embed``.

    Raises UsageError for a model that cannot embed or did not make the index, StorageError for a folder that
    is none of ours, and MissingExtra.
    """

    def __init__(self, path: str | os.PathLike[str] | None, model: Model) -> None:
        if "embed" not in model.tasks:
            raise UsageError(f"{model.name} cannot embed photos, so it cannot search them")
        self._model = model
        self._rows: Rows = MemoryRows(model) if path is None else StoredRows(Path(path), model)

    def __len__(self) -> int:
        return self._rows.count()

    def add(self, photos: Photos) -> Added:
        """Bring folders (with all below them) and files up to date; the index need not know them yet.

        On disk, photos that have not changed are not read again, moved ones are recognised, and those gone
        from the folders are taken out. In memory, all are read. Photos that cannot be read are reported.
        """
        failures: list[Failure] = []
        counts = dict.fromkeys(("added", "updated", "moved", "removed", "unchanged"), 0)
        for result in self.changes(photos):
            if isinstance(result, Failure):
                failures.append(result)
            else:
                counts[result.what] += 1
        return Added(failures=tuple(failures), **counts)

    def changes(self, photos: Photos) -> Iterator[Change | Failure]:
        """The same, one photo at a time, for showing progress; each is given once it can be found.

        Raises StorageError where another process is writing the index.
        """
        given = [photos] if isinstance(photos, str | os.PathLike) else photos
        return self._rows.changes(given)

    def remove(self, photos: Photos) -> int:
        """Forget photos and all below folders, whether they are still there or not; how many it knew."""
        given = [photos] if isinstance(photos, str | os.PathLike) else photos
        return self._rows.remove([Path(os.path.abspath(one)) for one in given])

    def search(
        self, text: str | None = None, *, image: Photo | None = None, k: int = 10, where: str | None = None
    ) -> list[Hit]:
        """The ``k`` photos nearest to a text, a photo, or both together (the mean of their vectors).

        Args:
            text: what to look for. A word after a minus, or words in quotes after one, are what is not
                wanted: ``beach -people``.
            image: a photo to find others like.
            k: how many.
            where: only photos for which this SQL condition holds, as in ``taken > '2025-06-01' and camera
                like 'Canon%'``; needs an index on disk.

        Raises UsageError when nothing is looked for, ``k`` is below 1 or the condition is none, and what the
        model raises for the text and the photo.
        """
        k = at_least_one(k, "k")
        vector = query_vector(parse_query(text, image), self._model)
        return self._hits(vector[None], k, where)[0]

    def search_many(self, texts: Sequence[str], *, k: int = 10, where: str | None = None) -> list[list[Hit]]:
        """As :meth:`search`, for many texts at once, which is faster than one by one."""
        k = at_least_one(k, "k")
        if not texts:
            return []
        vectors = np.stack([query_vector(parse_query(text, None), self._model) for text in texts])
        return self._hits(vectors, k, where)

    def _hits(self, vectors: NDArray[np.float32], k: int, where: str | None) -> list[list[Hit]]:
        return [
            [Hit(rank, path, score) for rank, (path, score) in enumerate(found, 1)]
            for found in self._rows.nearest(vectors, k, where)
        ]
