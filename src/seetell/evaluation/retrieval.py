"""Image-text retrieval: recall at 1, 5 and 10 and the median rank, in both directions.

The protocol of Hodosh, Young and Hockenmaier (2013) and Karpathy and Fei-Fei (2015): a caption seeks its
photo among all photos; a photo seeks its captions among all captions, and its rank is that of its best one.
A tie ranks pessimistically: whatever scores the same stands before the right one, so that a model that maps
everything to one point finds nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from seetell.core.errors import UsageError
from seetell.evaluation.bootstrap import Bootstrap, Estimate, Weights, estimates, weighted_mean

RECALL_AT = (1, 5, 10)

_IMAGE_BLOCK = 256
_TEXT_BLOCK = 2048


@dataclass(frozen=True, slots=True)
class Ranks:
    """Where the right answer stands, from 1; infinite for an input that could not be embedded.

    image_to_text: float64[N], the rank of each photo's best caption among all captions.
    text_to_image: float64[T], the rank of each caption's photo among all photos.
    photo_of_text: int64[T].
    """

    image_to_text: NDArray[np.float64]
    text_to_image: NDArray[np.float64]
    photo_of_text: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class RetrievalScores:
    """``r1 r5 r10`` in 0..100 and ``median_rank`` from 1, per direction."""

    image_to_text: dict[str, Estimate]
    text_to_image: dict[str, Estimate]


def score_retrieval(
    image_embeds: ArrayLike,
    text_embeds: ArrayLike,
    photo_of_text: ArrayLike,
    *,
    image_failed: ArrayLike | None = None,
    text_failed: ArrayLike | None = None,
    bootstrap: Bootstrap | None = None,
) -> RetrievalScores:
    """Both directions with intervals. Arguments as for :func:`retrieval_ranks`."""
    ranks = retrieval_ranks(
        image_embeds, text_embeds, photo_of_text, image_failed=image_failed, text_failed=text_failed
    )
    return score_ranks(ranks, bootstrap)


def score_ranks(ranks: Ranks, bootstrap: Bootstrap | None = None) -> RetrievalScores:
    """Recall and median rank in both directions.

    The intervals resample photos and keep each one's rank in the full gallery: they say how the figure would
    vary over other photos of this kind in a gallery of this size.
    """
    n_photos, n_texts = len(ranks.image_to_text), len(ranks.text_to_image)
    chosen = Bootstrap() if bootstrap is None else bootstrap
    return RetrievalScores(
        image_to_text=_summary(ranks.image_to_text, np.arange(n_photos), n_photos, n_texts, chosen),
        text_to_image=_summary(ranks.text_to_image, ranks.photo_of_text, n_photos, n_photos, chosen),
    )


def retrieval_ranks(
    image_embeds: ArrayLike,
    text_embeds: ArrayLike,
    photo_of_text: ArrayLike,
    *,
    image_failed: ArrayLike | None = None,
    text_failed: ArrayLike | None = None,
) -> Ranks:
    """Ranks by cosine, in blocks: memory does not grow with N x T.

    A failed input finds nothing and is found by nothing: its rank is infinite, as is that of a caption whose
    photo failed and of a photo whose captions all failed. It stands in nobody's way. A row that is not
    finite, on the other hand, is the model's own doing: it ranks last and stands before all others.

    Args:
        image_embeds: float[N, S], unit length.
        text_embeds: float[T, S], unit length.
        photo_of_text: int[T], each text's photo. Every photo needs at least one text.
        image_failed: bool[N], photos that could not be embedded; their rows are not looked at.
        text_failed: bool[T], likewise.

    Raises UsageError for shapes that do not fit.
    """
    images, texts, owner = _checked(image_embeds, text_embeds, photo_of_text)
    image_there = _present(image_failed, len(images))
    text_there = _present(text_failed, len(texts))
    images = np.where(image_there[:, None], images, 0)
    texts = np.where(text_there[:, None], texts, 0)
    with np.errstate(invalid="ignore", over="ignore"):
        own = _own_scores(images, texts, owner)
        best = np.full(len(images), -np.inf, dtype=np.float32)
        np.maximum.at(best, owner[text_there], own[text_there])
        image_ahead = np.zeros(len(images), dtype=np.int64)
        text_ahead = np.zeros(len(texts), dtype=np.int64)
        for rows, columns, scores in _blocks(images, texts):
            rival = owner[columns][None, :] != np.arange(rows.start, rows.stop)[:, None]
            rival &= image_there[rows][:, None] & text_there[columns][None, :]
            # "not less" and not ">=": a score that is not a number must count against the model.
            text_ahead[columns] += (~(scores < own[columns][None, :]) & rival).sum(axis=0)
            image_ahead[rows] += (~(scores < best[rows][:, None]) & rival).sum(axis=1)
    findable = image_there[owner] & text_there  # [T]
    seeking = np.zeros(len(images), dtype=bool)
    seeking[owner[findable]] = True
    return Ranks(
        np.where(seeking, 1.0 + image_ahead, np.inf), np.where(findable, 1.0 + text_ahead, np.inf), owner
    )


def _checked(
    image_embeds: ArrayLike, text_embeds: ArrayLike, photo_of_text: ArrayLike
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    images = np.asarray(image_embeds, dtype=np.float32)
    texts = np.asarray(text_embeds, dtype=np.float32)
    owner = np.asarray(photo_of_text, dtype=np.int64)
    if images.ndim != 2 or texts.ndim != 2 or images.shape[1] != texts.shape[1] or not images.size:
        raise UsageError(
            f"photos {list(images.shape)} and texts {list(texts.shape)} are not vectors of one space: "
            "give [N, S] and [T, S], at least one photo"
        )
    if owner.shape != (len(texts),):
        raise UsageError(
            f"photo_of_text has shape {list(owner.shape)}; give one photo for each of {len(texts)}"
        )
    if not np.array_equal(np.unique(owner), np.arange(len(images))):
        raise UsageError(
            f"photo_of_text must name every photo 0..{len(images) - 1} at least once, and no other"
        )
    return images, texts, owner


def _present(failed: ArrayLike | None, count: int) -> NDArray[np.bool_]:
    if failed is None:
        return np.ones(count, dtype=bool)
    mask = np.asarray(failed, dtype=bool)
    if mask.shape != (count,):
        raise UsageError(f"a mask of failed inputs has shape {list(mask.shape)}; it needs [{count}]")
    return ~mask


# Dot products are summed in float64 and rounded to float32 before they are compared. Equal vectors then get
# equal scores wherever they stand in a block; summed in float32, the order of the sum, which depends on the
# place, would break ties at random.


def _own_scores(
    images: NDArray[np.float32], texts: NDArray[np.float32], owner: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Each text with its own photo: float32[T]."""
    found = np.empty(len(texts), dtype=np.float32)
    for first in range(0, len(texts), _TEXT_BLOCK):
        part = slice(first, first + _TEXT_BLOCK)
        found[part] = np.einsum(
            "ts,ts->t", images[owner[part]].astype(np.float64), texts[part].astype(np.float64)
        )
    return found


def _blocks(
    images: NDArray[np.float32], texts: NDArray[np.float32]
) -> Iterator[tuple[slice, slice, NDArray[np.float32]]]:
    """(rows, columns, scores) that tile the whole N x T."""
    for left in range(0, len(texts), _TEXT_BLOCK):
        columns = slice(left, min(left + _TEXT_BLOCK, len(texts)))
        transposed = texts[columns].astype(np.float64).T
        for top in range(0, len(images), _IMAGE_BLOCK):
            rows = slice(top, min(top + _IMAGE_BLOCK, len(images)))
            yield rows, columns, (images[rows].astype(np.float64) @ transposed).astype(np.float32)


def _summary(
    ranks: NDArray[np.float64],
    owner: NDArray[np.int64],
    n_photos: int,
    gallery: int,
    bootstrap: Bootstrap,
) -> dict[str, Estimate]:
    counts = np.bincount(owner, minlength=n_photos).astype(np.float64)
    hits = {k: np.bincount(owner[ranks <= k], minlength=n_photos).astype(np.float64) for k in RECALL_AT}
    order = np.argsort(ranks)
    # What was found nowhere has, for the median, the place after the last.
    in_order = np.minimum(ranks[order], gallery + 1)

    def statistic(weights: Weights) -> dict[str, NDArray[np.float64]]:
        found = {f"r{k}": 100 * weighted_mean(weights, hits[k], counts) for k in RECALL_AT}
        found["median_rank"] = _weighted_median(in_order, weights[:, owner[order]])
        return found

    return estimates(n_photos, statistic, bootstrap, row_elements=len(ranks))


def _weighted_median(values: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """The median of ``values`` [T], ascending, each occurring ``weights`` [R, T] times: float64[R]."""
    reached = np.cumsum(weights, axis=1)
    total = reached[:, -1]
    # Of an even number of values the median lies midway between the two in the middle.
    lower = (reached <= np.floor((total - 1) / 2)[:, None]).sum(axis=1)
    upper = (reached <= np.floor(total / 2)[:, None]).sum(axis=1)
    return np.asarray((values[lower] + values[upper]) / 2, dtype=np.float64)
