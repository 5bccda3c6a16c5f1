"""What was asked of a server: answers, tokens, what was tried again, and what it cost."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, replace
from typing import Any

from seetell.core.errors import UsageError

_A_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Usage:
    """answers: that came. retries: requests that were sent again. prompt_tokens and completion_tokens: as the
    server counted them, for ``answers - uncounted`` answers. cut: answers that ended at their limit. cost: in
    the money of the prices given, None without prices; what is uncounted is not in it."""

    answers: int = 0
    retries: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    uncounted: int = 0
    cut: int = 0
    cost: float | None = None

    @property
    def asked(self) -> bool:
        """Whether there is anything to tell."""
        return self.answers > 0 or self.retries > 0

    def __str__(self) -> str:
        parts = [f"{self.answers:,} answer{'' if self.answers == 1 else 's'}"]
        if self.answers > self.uncounted:
            parts.append(f"{self.prompt_tokens:,} + {self.completion_tokens:,} tokens")
        if self.uncounted:
            parts.append(f"{self.uncounted:,} without a count of tokens")
        if self.retries:
            parts.append(f"{self.retries:,} tried again")
        if self.cut:
            parts.append(f"{self.cut:,} cut at the limit of tokens")
        if self.cost is not None:
            parts.append(f"cost {self.cost:.6f}".rstrip("0").rstrip("."))
        return ", ".join(parts)


def checked_prices(prices: object) -> tuple[float, float] | None:
    """Prices of a million tokens read and of a million written, also as ``"0.15,0.6"``, or None. Raises
    UsageError."""
    if prices is None:
        return None
    parts: Any = prices.split(",") if isinstance(prices, str) else prices
    try:
        read, written = (float(one) for one in parts)
    except (TypeError, ValueError):
        read = written = math.nan
    if not (0 <= read < math.inf and 0 <= written < math.inf):
        raise UsageError(
            f"prices are two numbers, of a million tokens read and of a million written, not {prices!r}"
        )
    return read, written


class Meter:
    """Counts up, from any thread."""

    def __init__(self, prices: tuple[float, float] | None) -> None:
        self._prices = prices
        self._usage = Usage()
        self._lock = threading.Lock()

    @property
    def usage(self) -> Usage:
        """Up to now."""
        if self._prices is None:
            return self._usage
        read, written = self._prices
        usage = self._usage
        cost = (usage.prompt_tokens * read + usage.completion_tokens * written) / _A_MILLION
        return replace(usage, cost=cost)

    def retried(self) -> None:
        """One request was sent again."""
        with self._lock:
            self._usage = replace(self._usage, retries=self._usage.retries + 1)

    def answered(self, tokens: tuple[int, int] | None, *, cut: bool) -> None:
        """One answer came. tokens: read and written, None where the server does not say."""
        read, written = tokens or (0, 0)
        with self._lock:
            self._usage = replace(
                self._usage,
                answers=self._usage.answers + 1,
                prompt_tokens=self._usage.prompt_tokens + read,
                completion_tokens=self._usage.completion_tokens + written,
                uncounted=self._usage.uncounted + (tokens is None),
                cut=self._usage.cut + cut,
            )
