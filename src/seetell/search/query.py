"""What is looked for: a text, a photo, both, and what is not wanted, as one vector."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seetell.core.errors import UsageError
from seetell.media.images import Photo
from seetell.tasks.api import AnyModel
from seetell.tasks.context import unit

# How much what is not wanted counts, where what is wanted counts 1: benchmarks/negative_weight.py chose it.
NEGATIVE_WEIGHT = 0.25

# What keyboards, phones and word processors make of a minus: hyphens, the minus of mathematics, the en dash
# and the wide ones of East Asia.
_MINUS = frozenset("-\u2010\u2011\u2012\u2013\u2212\ufe63\uff0d")
# Opening quotes, and what closes each.
_QUOTES = {
    '"': '"',
    "\uff02": "\uff02",
    "\u201c": "\u201d\u201c",
    "\u201d": "\u201d",
    "\u201e": "\u201c\u201d",
    "\u00ab": "\u00bb",
    "\u00bb": "\u00ab",
    "\u300c": "\u300d",
    "\u300e": "\u300f",
}
# Within words these are apostrophes; they are quotes only right behind a minus, up to the end of a word.
_SINGLE_QUOTES = {"'": "'", "\u2018": "\u2019", "\u2019": "\u2019"}


@dataclass(frozen=True, slots=True)
class Query:
    """wanted: the text less what is not wanted, None where only a photo is given."""

    wanted: str | None
    unwanted: tuple[str, ...]
    image: Photo | None


def parse_query(text: str | None, image: Photo | None) -> Query:
    """``"beach -people"`` is what is wanted and what is not.

    A minus counts before a word or quotes, at the start or after a blank: ``x-ray``, ``- a dash`` and
    ``-5 degrees`` have none. Within quotes there is none either; a quote that is never closed is a sign like
    others, but behind a minus lasts to the end. Quotes around everything say nothing.

    Raises UsageError where nothing is wanted, and for several photos.
    """
    if isinstance(image, list | tuple):
        raise UsageError("search by one photo, not a list of them")
    unwanted: tuple[str, ...] = ()
    wanted = text
    if text is not None:
        wanted, unwanted = _parts(text)
    if wanted is None and image is None:
        if unwanted:
            raise UsageError(f"{text!r} says only what is not wanted; add what is, or a photo")
        raise UsageError("search for a text, a photo, or both")
    return Query(wanted, unwanted, image)


def query_vector(query: Query, model: AnyModel) -> NDArray[np.float32]:
    """float32[S], unit length. Raises what the model raises for the text and the photo."""
    parts = []
    if query.wanted is not None:
        parts.append(model.embed_texts([query.wanted])[0])
    if query.image is not None:
        parts.append(model.embed_images(query.image)[0])
    vector = unit(np.mean(parts, axis=0))
    if query.unwanted:
        away = unit(model.embed_texts(query.unwanted).mean(axis=0))
        vector = unit(vector - NEGATIVE_WEIGHT * away)
    return vector


def _parts(text: str) -> tuple[str | None, tuple[str, ...]]:
    """(what is wanted, what is not)."""
    wanted, unwanted, place, minus = "", [], 0, False
    while place < len(text):
        starts = place == 0 or text[place - 1].isspace()
        if starts and _is_minus(text, place):
            said, place = _after_minus(text, place + 1)
            minus = True
            if said.strip():
                unwanted.append(said)
            continue
        end = _closed(text, place, _QUOTES) if starts else None
        end = place if end is None else end
        wanted += text[place : end + 1]
        place = end + 1
    if minus:
        wanted = " ".join(wanted.split())
    bare = wanted.strip()
    if bare and _closed(bare, 0, _QUOTES) == len(bare) - 1 and bare[1:-1].strip():
        wanted = bare[1:-1]
    return (wanted if wanted or not unwanted else None), tuple(unwanted)


def _is_minus(text: str, place: int) -> bool:
    following = text[place + 1 : place + 2]
    return (
        text[place] in _MINUS
        and following != ""
        and following not in _MINUS
        and not following.isspace()
        and not following.isdigit()
    )


def _after_minus(text: str, place: int) -> tuple[str, int]:
    """What a minus before ``place`` takes away, and where it ends."""
    quotes = {**_QUOTES, **_SINGLE_QUOTES}
    if text[place] in quotes:
        end = _closed(text, place, quotes)
        if end is not None:
            return text[place + 1 : end], end + 1
        if text[place] in _QUOTES:
            return text[place + 1 :], len(text)
    end = next((at for at in range(place, len(text)) if text[at].isspace()), len(text))
    return text[place:end], end


def _closed(text: str, place: int, quotes: dict[str, str]) -> int | None:
    """Where the quote that opens at ``place`` is closed; None where none opens, or it is left open."""
    closing = quotes.get(text[place])
    if closing is None:
        return None
    for at in range(place + 1, len(text)):
        ends = at + 1 == len(text) or text[at + 1].isspace()
        if text[at] in closing and (ends or text[place] not in _SINGLE_QUOTES):
            return at
    return None
