"""A question as its wording has it: the sort of answer it takes, and what it offers and takes for given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["yes_no", "choice", "count", "colour", "doing", "where", "animal", "other"]
Language = Literal["en", "zh"]


@dataclass(frozen=True, slots=True)
class Question:
    """What rules read out of a question.

    kind: the sort of answer it takes; ``other`` where no rule knows it. language: it is asked in. options:
    the answers a ``choice`` offers, in its order; for ``yes_no`` yes and no in its words. thing: what it
    takes for given that there is ("what colour is the car?"), where that is more than a word for anything.
    several: whether it speaks of more than one such thing.
    """

    kind: Kind
    language: Language
    options: tuple[str, ...] = ()
    thing: str | None = None
    several: bool = False
