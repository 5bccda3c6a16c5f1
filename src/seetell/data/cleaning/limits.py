"""Where the checks draw their lines."""

from __future__ import annotations

import re
from dataclasses import dataclass

from seetell.core.errors import UsageError

# Bits of 64 in which the perceptual hashes of photos that look the same may differ, unless told otherwise.
NEAR_DISTANCE = 4


@dataclass(frozen=True, slots=True)
class Limits:
    """Thresholds of every check. Raises UsageError for one that cannot be meant.

    min_edge: pixels of the shorter edge. max_aspect: longer edge over shorter. min_contrast: standard
    deviation of the most varied colour channel, of 255. near_distance: bits of 64 in which the perceptual
    hashes of two photos that look the same may differ; None looks for none.

    min_words, max_words: of a caption; a Chinese character or Japanese sign counts as one. languages: those
    wanted; empty takes any, and then only a language that the source claims wrongly is wrong.
    language_confidence: below it a guess about the language says nothing. max_repeats: photos that may share
    a caption. boilerplate: regular expressions, beside the built-in ones.

    min_score: of a caption's agreement with its photo. keep_fraction: of the scored captions of a language,
    the best. keep_silent: keep photos nothing is said about.
    """

    min_edge: int = 32
    max_aspect: float = 5.0
    min_contrast: float = 3.0
    near_distance: int | None = NEAR_DISTANCE
    min_words: int = 2
    max_words: int = 100
    languages: tuple[str, ...] = ()
    language_confidence: float = 0.8
    max_repeats: int = 100
    boilerplate: tuple[str, ...] = ()
    min_score: float | None = None
    keep_fraction: float | None = None
    keep_silent: bool = False

    def __post_init__(self) -> None:
        if self.min_edge < 1 or self.max_aspect < 1 or self.min_contrast < 0:
            raise UsageError("--min-edge and --max-aspect are at least 1, --min-contrast at least 0")
        if self.near_distance is not None and not 0 <= self.near_distance <= 16:
            # Of random photos some pairs differ in 20 bits; beyond 16 everything would look like everything.
            raise UsageError(f"--near-distance is 0 to 16, not {self.near_distance}")
        if not 0 <= self.min_words <= self.max_words:
            raise UsageError(f"--min-words {self.min_words} is above --max-words {self.max_words}")
        if self.max_repeats < 1:
            raise UsageError(f"--max-repeats is at least 1, not {self.max_repeats}")
        if self.min_score is not None and self.keep_fraction is not None:
            raise UsageError("give --min-score or --keep-fraction, not both")
        if self.keep_fraction is not None and not 0 < self.keep_fraction <= 1:
            raise UsageError(f"--keep-fraction lies above 0 and up to 1, not {self.keep_fraction}")
        for pattern in self.boilerplate:
            try:
                re.compile(pattern)
            except re.error as error:
                raise UsageError(f"--boilerplate: {pattern!r} is no regular expression ({error})") from error
