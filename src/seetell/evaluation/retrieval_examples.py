"""Searches worth looking at: what was found for a photo or a text, where the right one should have been."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seetell.evaluation.examples import SHOWN, Example, Examples, best_and_worst
from seetell.evaluation.retrieval import Ranks

# So many candidates of each kind are looked up; of a photo's several captions one is shown.
_CANDIDATES = 4 * SHOWN


def retrieval_examples(
    ranks: Ranks,
    images: NDArray[np.float32],
    texts: NDArray[np.float32],
    photos: Sequence[Path],
    captions: Sequence[str],
) -> tuple[Examples, Examples]:
    """From photo to text and from text to photo.

    Args:
        ranks: of everything.
        images: float32[N, S]. texts: float32[T, S], as they were ranked.
        photos: N. captions: T.
    """
    # Of what failed nothing is found, so there is nothing to look at.
    image_there = np.array([bool(np.any(one)) for one in images])
    text_there = np.array([bool(np.any(one)) for one in texts])
    own: list[list[str]] = [[] for _ in photos]
    for text, photo in zip(captions, ranks.photo_of_text, strict=True):
        own[photo].append(text)
    with np.errstate(invalid="ignore", over="ignore"):
        to_text = []
        for row in _candidates(ranks.image_to_text):
            best = _best(texts @ images[row], text_there)
            to_text.append(
                Example(
                    photos[row],
                    -float(ranks.image_to_text[row]),
                    captions[best],
                    tuple(own[row]),
                    _place(ranks.image_to_text[row], len(captions)),
                )
            )
        to_photo = []
        for row in _candidates(ranks.text_to_image):
            best = _best(images @ texts[row], image_there)
            to_photo.append(
                Example(
                    photos[ranks.photo_of_text[row]],
                    -float(ranks.text_to_image[row]),
                    "",
                    (),
                    _place(ranks.text_to_image[row], len(photos)),
                    question=captions[row],
                    found=photos[best],
                )
            )
    return best_and_worst("image_to_text", to_text), best_and_worst("text_to_image", to_photo)


def _candidates(ranks: NDArray[np.float64]) -> list[int]:
    """Rows of the best ranks and the worst, without those that have none."""
    order = [int(row) for row in np.argsort(ranks, kind="stable") if np.isfinite(ranks[row])]
    # Ties, of which the best ranks are many, come from all over the set.
    if len(order) <= 2 * _CANDIDATES:
        return order
    first = [row for row in order if ranks[row] == ranks[order[0]]]
    spread = first[:: max(1, len(first) // _CANDIDATES)][:_CANDIDATES]
    best = spread if len(spread) == _CANDIDATES else order[:_CANDIDATES]
    return [*best, *order[-_CANDIDATES:]]


def _best(scores: NDArray[np.float32], there: NDArray[np.bool_]) -> int:
    # What is no number ranks first, as it does in the figures.
    return int(np.argmax(np.where(there, np.nan_to_num(scores, nan=np.inf), -np.inf)))


def _place(rank: float, of: int) -> str:
    return "found first" if rank == 1 else f"at place {rank:.0f} of {of}"
