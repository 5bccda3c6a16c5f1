"""Choosing the next token: the likeliest, or one drawn from a distribution made narrower.

Semantics are those of ``generate`` in transformers 5, in its order: repetition penalty, temperature, top-p,
min-p.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seetell.core.errors import EngineError, UsageError
from seetell.runtime.states import ROLE


@dataclass(frozen=True, slots=True)
class ChatOptions:
    """How an answer is written.

    max_tokens: of the answer at most, the one that ends it counted.
    temperature: 0 takes the likeliest token; over 0 one is drawn, from a flatter distribution the higher it
        is.
    top_p: drawn from the likeliest tokens that together have this probability (Holtzman et al. 2020).
    min_p: drawn from tokens at least this share as likely as the likeliest (Nguyen et al. 2024).
    repetition_penalty: over 1 discourages tokens that stand in the conversation (Keskar et al. 2019).
    seed: what is drawn is the same each time; None draws anew.
    stop: the answer ends before the first of these texts.

    Raises UsageError for values that cannot be meant.
    """

    max_tokens: int = 200
    temperature: float = 0.0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not _is_whole(self.max_tokens) or self.max_tokens < 1:
            raise UsageError(f"max_tokens is a whole number of at least 1, not {self.max_tokens!r}")
        self._check("temperature", 0.0, math.inf, "a number of at least 0")
        self._check("top_p", 0.0, 1.0, "over 0 and at most 1", without_least=True)
        self._check("min_p", 0.0, 1.0, "between 0 and 1")
        self._check("repetition_penalty", 0.0, math.inf, "a number over 0", without_least=True)
        if self.seed is not None and not (_is_whole(self.seed) and self.seed >= 0):
            raise UsageError(f"seed is a whole number of at least 0, not {self.seed!r}")
        texts: tuple[object, ...] = self.stop
        if not all(isinstance(one, str) and one for one in texts):
            raise UsageError(f"stop is texts that are not empty, not {texts!r}")

    def _check(
        self, name: str, least: float, most: float, meant: str, *, without_least: bool = False
    ) -> None:
        value = getattr(self, name)
        fits = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not (fits and least <= value <= most and not (without_least and value == least)):
            raise UsageError(f"{name} is {meant}, not {value!r}")


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


class Sampler:
    """Chooses for one row; what it draws depends on the seed alone, not on the rows beside it."""

    def __init__(self, options: ChatOptions) -> None:
        self._options = options
        self._random = np.random.default_rng(options.seed)

    def choose(self, logits: NDArray[np.float32], seen: NDArray[np.int64]) -> int:
        """The next token. logits: float32[V]; seen: int64[L], what stands there already."""
        options = self._options
        if options.repetition_penalty != 1:
            logits = logits.copy()
            before = logits[seen]
            penalty = np.float32(options.repetition_penalty)
            logits[seen] = np.where(before < 0, before * penalty, before / penalty)
        if options.temperature == 0:
            return int(logits.argmax())
        chances = self._chances(logits)
        places = np.cumsum(chances)
        # Where rounding leaves the sum short of one, the last that has a chance.
        drawn = int(np.searchsorted(places, self._random.random() * places[-1], side="right"))
        return min(drawn, int(np.flatnonzero(chances)[-1]))

    def _chances(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """float64[V], not normalised."""
        scaled = logits.astype(np.float64) / self._options.temperature
        chances: NDArray[np.float64] = np.exp(scaled - scaled.max())
        if self._options.top_p < 1:
            order = np.argsort(-chances, kind="stable")
            before = np.cumsum(chances[order]) - chances[order]
            # The one that crosses the bound is in.
            chances[order[before >= self._options.top_p * chances.sum()]] = 0
        if self._options.min_p > 0:
            chances[chances < self._options.min_p * chances.max()] = 0
        return chances


def log_prob(logits: NDArray[np.float32], token: int) -> float:
    """The model's own log-probability of a token, float32[V]. Raises EngineError where logits are no
    numbers."""
    peak = float(logits.max())
    if not math.isfinite(peak):
        raise EngineError(f"{ROLE} gave values that are not numbers; try precision fp32, or check the bundle")
    total = float(np.exp(logits - np.float32(peak)).sum(dtype=np.float64))
    return float(logits[token]) - peak - math.log(total)
