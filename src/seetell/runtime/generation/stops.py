"""Where an answer ends: texts that end it may begin in one token and end in another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Shown:
    """text: what is certain of an answer. stopped: a text that ends it was met, and ``text`` ends before
    it."""

    text: str
    stopped: bool


def shown(text: str, stop: Sequence[str]) -> Shown:
    """What of an unfinished answer can be shown: not what may turn out to be the beginning of a stop."""
    places = [place for one in stop if (place := text.find(one)) >= 0]
    if places:
        return Shown(text[: min(places)], True)
    held = max((_begun(text, one) for one in stop), default=0)
    return Shown(text[: len(text) - held], False)


def _begun(text: str, stop: str) -> int:
    """How many characters at the end of the text are a beginning of ``stop``."""
    for count in range(min(len(stop) - 1, len(text)), 0, -1):
        if text.endswith(stop[:count]):
            return count
    return 0
