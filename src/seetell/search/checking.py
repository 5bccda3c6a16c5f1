"""How much of what an exact search finds the index finds, on the photos it holds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# What people look for in their photos; used where photos have no captions to look for them by.
WORDS = (
    "a dog", "a cat", "a bird", "a horse", "a child playing", "a baby", "a man", "a woman smiling",
    "two people", "a group of people", "a wedding", "a birthday cake", "food on a plate",
    "a cup of coffee", "a beach", "the sea", "a lake", "mountains", "snow", "a forest", "flowers",
    "a garden", "grass", "a sunset", "the night sky", "rain", "a city street", "a house", "a church",
    "a bridge", "a car", "a bicycle", "a train", "a boat", "an aeroplane", "a document",
    "a screenshot", "a drawing", "a football match", "someone jumping",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Check:
    """Recall: the share of the exact ``k`` best that the index found, mean over the queries. By photo:
    queries are photos of the index. By text: captions of its photos, else everyday words. p50_ms: median time
    of one query, its vector given."""

    k: int
    photos: int
    queries: int
    recall_by_photo: float
    recall_by_text: float
    p50_ms: float


def recall(
    find: Callable[[NDArray[np.float32]], list[str]],
    queries: NDArray[np.float32],
    batches: Iterable[tuple[list[str], NDArray[np.float32]]],
    k: int,
) -> tuple[list[float], list[float]]:
    """(recall, milliseconds) of each of the queries float32[Q, S]. batches: every path with its vector.

    A photo that scores as high as the exact search's last is right, too: of equal ones any may be found.
    """
    best = np.full((len(queries), k), -np.inf, np.float32)
    scores: list[dict[str, float]] = [{} for _ in queries]
    found, spent = [], []
    for query in queries:
        started = time.perf_counter()
        found.append(find(query))
        spent.append(1000 * (time.perf_counter() - started))
    for paths, vectors in batches:
        exact = queries @ vectors.T
        both = np.concatenate([best, exact], axis=1)
        best = -np.partition(-both, k - 1, axis=1)[:, :k]
        place = {path: number for number, path in enumerate(paths)}
        for row, photos in enumerate(found):
            scores[row].update((one, float(exact[row, place[one]])) for one in photos if one in place)
    recalled = []
    for row, photos in enumerate(found):
        there = int(np.isfinite(best[row]).sum())
        last = float(best[row][np.isfinite(best[row])].min()) if there else 0.0
        right = sum(scores[row].get(one, -np.inf) >= last - 1e-6 for one in photos)
        recalled.append(right / there if there else 1.0)
    return recalled, spent
