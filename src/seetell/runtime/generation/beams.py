"""The beams of several photos side by side, and what is certain about a text while they still differ."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seetell.runtime.generation.options import GenerationOptions

# What transformers adds to a score to rule it out; finite, so that nothing becomes NaN.
RULED_OUT = -1.0e9


@dataclass(slots=True)
class Beams:
    """Beams of the photos still open. K beams, L tokens at most.

    tokens: int64[B, K, L]; scores: float64[B, K], penalties included; log_prob: float64[B, K], the
    model's own; length: int64[B, K]; ended: bool[B, K], whether the beam is a finished text.
    """

    tokens: NDArray[np.int64]
    scores: NDArray[np.float64]
    log_prob: NDArray[np.float64]
    length: NDArray[np.int64]
    ended: NDArray[np.bool_]

    @classmethod
    def empty(cls, photos: int, beams: int, tokens: int) -> Beams:
        shape = (photos, beams)
        return cls(
            np.zeros((*shape, tokens), np.int64),
            np.full(shape, RULED_OUT),
            np.zeros(shape),
            np.zeros(shape, np.int64),
            np.zeros(shape, np.bool_),
        )

    def take(self, which: NDArray[np.intp]) -> Beams:
        """Beams ``which`` intp[B, K'] of each photo."""
        return Beams(
            np.take_along_axis(self.tokens, which[:, :, None], axis=1),
            np.take_along_axis(self.scores, which, axis=1),
            np.take_along_axis(self.log_prob, which, axis=1),
            np.take_along_axis(self.length, which, axis=1),
            np.take_along_axis(self.ended, which, axis=1),
        )

    def photos(self, keep: NDArray[np.bool_]) -> Beams:
        return Beams(
            self.tokens[keep], self.scores[keep], self.log_prob[keep], self.length[keep], self.ended[keep]
        )

    def beside(self, other: Beams) -> Beams:
        """Both sets for each photo, these first."""
        return Beams(
            np.concatenate([self.tokens, other.tokens], axis=1),
            np.concatenate([self.scores, other.scores], axis=1),
            np.concatenate([self.log_prob, other.log_prob], axis=1),
            np.concatenate([self.length, other.length], axis=1),
            np.concatenate([self.ended, other.ended], axis=1),
        )


def certain_starts(
    running: Beams, finished: Beams, step: int, options: GenerationOptions, choices: int = 1
) -> list[NDArray[np.int64]]:
    """The tokens that each photo's text will begin with, whatever is written after ``step``.

    These are the ones that all texts have in common which can still be among the ``choices`` best: of the
    finished ones the first so many, and the running beams that could overtake the last of these. A beam's
    score only ever falls, so the most it can come to is its present score over the most favourable length;
    where that is no more than that finished text has, ties going to what finished earlier, it cannot.

    Args:
        running: scores are sums, all step + 1 tokens long. finished: scores are by length, best first.
        step: the last one written, from 0.
        options: of the search.
        choices: of how many best texts any may be taken.

    Returns:
        int64[L] for each photo, L from 0 to step + 1; an [EOS] that ends the text may be among them.
    """
    length = options.max_tokens if options.length_penalty > 0 else step + 2
    most = running.scores / length**options.length_penalty
    last = slice(choices - 1, choices)
    can_win = (most > finished.scores[:, last]) | ~finished.ended[:, last]
    starts = []
    for photo in range(len(can_win)):
        texts = running.tokens[photo, can_win[photo], : step + 1]
        shortest = step + 1
        if finished.ended[photo, 0]:
            done = finished.ended[photo, :choices]
            # Shorter texts are filled up with zeros, which count no further than the text itself.
            texts = np.concatenate([finished.tokens[photo, :choices][done, : step + 1], texts])
            shortest = finished.length[photo, :choices][done].min()
        differs = (texts[:, :shortest] != texts[:1, :shortest]).any(axis=0)
        agreed = int(differs.argmax()) if differs.any() else int(shortest)
        starts.append(texts[0, :agreed])
    return starts
