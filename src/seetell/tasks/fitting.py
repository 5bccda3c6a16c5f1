"""How probable it is that a text fits a photo: a cosine alone does not say.

What a model gives every photo for a text differs from text to text, so a cosine is seen beside the same
text's cosines with other photos. And it is seen beside other texts' cosines with the same photo: where those
of several things exceed it, the photo shows one of them instead.
"""

from __future__ import annotations

import base64
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from seetell.core.errors import BundleInvalid
from seetell.tasks.context import Context, unit
from seetell.tasks.label_vectors import LabelVectors

if TYPE_CHECKING:
    from seetell.bundle.manifest import FitProbability

EVIDENCE = ("cosine", "contrast", "mean", "spread", "skewness", "best")
"""What is weighed, as FitProbability names it."""

# The contrast texts nearest to a text may say the same, and speak neither for nor against it.
_SAME_TEXTS = 5
# The best fitting contrast texts; their mean is steadier than the best alone.
_BEST_TEXTS = 5
# So many of the background go with photos that are searched: more would drown what these have of their own.
BESIDE = 64


def evidence(
    text: NDArray[np.float32],
    photos: NDArray[np.float32],
    others: NDArray[np.float32],
    contrast: NDArray[np.float32],
) -> NDArray[np.float64]:
    """What speaks for a text: float64[K, 6], for each photo in the order of ``EVIDENCE``.

    Args:
        text: float32[S].
        photos: float32[K, S], K at least 1.
        others: float32[N, S], N at least 1, photos that the text is compared with too.
        contrast: float32[C, S], other texts; more than 5.

    All of unit length.
    """
    cosines = (photos @ text).astype(np.float64)
    around = (others @ text).astype(np.float64)
    mean, spread = around.mean(), max(float(around.std()), 1e-6)
    skewness = float(((around - mean) ** 3).mean()) / spread**3
    different = contrast[np.argsort(-(contrast @ text), kind="stable")[_SAME_TEXTS:]]
    best = np.sort(photos @ different.T, axis=1)[:, -_BEST_TEXTS:].mean(axis=1)
    found = np.empty((len(photos), len(EVIDENCE)))
    found[:, 0] = cosines
    found[:, 1] = best - cosines
    found[:, 2:] = mean, spread, skewness, max(cosines.max(), around.max())
    return found


class Fitting:
    """Judges how probable it is that one text fits photos.

    Args:
        fitted: as the bundle has it.
        text: float32[S], its vector.
        contrast: float32[C, S], vectors of other texts.
        background: float32[B, S], vectors of photos of all kinds.
    """

    def __init__(
        self,
        fitted: FitProbability,
        text: NDArray[np.float32],
        contrast: NDArray[np.float32],
        background: NDArray[np.float32],
    ) -> None:
        self.fitted = fitted
        self._text = text
        self._contrast = contrast
        self._background = background

    def chances(
        self, photos: NDArray[np.float32], among: NDArray[np.float32] | None = None
    ) -> NDArray[np.float64]:
        """The probability that the text fits each of the photos float32[K, S], found among others
        float32[N, S] (a part of them will do): float64[K], 0..1. Some of the bundle's background go with
        these, and outweigh few; without others there is the background alone."""
        if not len(photos):
            return np.zeros(0)
        others = self._background
        if among is not None:
            others = np.concatenate([among, self._background[:BESIDE]])
        seen = evidence(self._text, photos, others, self._contrast)
        weights = np.array([getattr(self.fitted, name) for name in EVIDENCE])
        # Written with tanh, which cannot overflow.
        return np.asarray(0.5 * (1 + np.tanh((self.fitted.bias + seen @ weights) / 2)))


def fitting_of(
    context: Context,
    vectors: LabelVectors,
    fitted: FitProbability | None,
    language: str,
    text: NDArray[np.float32],
    templates: tuple[str, ...] = ("{}",),
) -> Fitting | None:
    """A judge of the text of that vector, float32[S]; None where the bundle lacks what it takes.

    templates: in which the contrast texts stand, as the text did. Raises BundleInvalid for a background that
    is none.
    """
    contrast = context.manifest.prompts.get("contrast", {}).get(language, ())
    background = context.manifest.score.background
    if fitted is None or not background or len(contrast) <= _SAME_TEXTS:
        return None
    try:
        photos = background_vectors(background, len(text))
    except ValueError as error:
        raise BundleInvalid(f"{context.manifest.name}: its background holds no vectors ({error})") from error
    return Fitting(fitted, text, vectors.of(contrast, templates), photos)


def background_text(vectors: NDArray[np.float32]) -> str:
    """Vectors float32[N, S] as a manifest keeps them."""
    longest = np.maximum(np.abs(vectors).max(axis=1, keepdims=True), np.finfo(np.float32).tiny)
    return base64.b64encode(np.rint(127 * vectors / longest).astype(np.int8).tobytes()).decode("ascii")


@lru_cache(maxsize=4)
def background_vectors(text: str, shared_dim: int) -> NDArray[np.float32]:
    """What :func:`background_text` wrote: float32[N, shared_dim], unit length, not to be written to. Raises
    ValueError for a text that is none, or of vectors of another size."""
    codes = np.frombuffer(base64.b64decode(text, validate=True), np.int8)
    vectors = unit(codes.reshape(-1, shared_dim).astype(np.float32))
    vectors.flags.writeable = False
    return vectors
