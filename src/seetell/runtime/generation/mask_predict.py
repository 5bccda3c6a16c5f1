"""Writing all words at once: mask-predict, and filling the masks of a given text.

Mask-predict (Ghazvininejad et al. 2019, "Mask-Predict: Parallel Decoding of Conditional Masked Language
Models", section 3): start from nothing but masks, predict all of them, mask the least certain again,
and predict those given the rest; the number masked again falls linearly to 0. Several lengths are tried
side by side and the one with the best mean log-probability wins (section 3.3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seetell.core.errors import UsageError
from seetell.runtime.engine import Engine
from seetell.runtime.generation.probabilities import Generated, best, log_softmax
from seetell.runtime.generation.said import NoRepeat

# Ghazvininejad et al. find most of the gain within 4 passes.
ITERATIONS = 4
_ROLE = "fusion_encoder"
_ROWS_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Refined:
    """A text whose masks were filled. ids: the whole row as given, masks replaced; words: what went into
    them, in order; score: mean log-probability of the words."""

    ids: tuple[int, ...]
    words: tuple[int, ...]
    score: float


class MaskedLanguage:
    """The ``token_logits`` of the fusion encoder, over the photos of one batch.

    Args:
        engine: runs ``fusion_encoder``.
        image_tokens: float32[B, N, D].
        image_mask: bool[B, N].
        mask_id, pad_id, eos_id: from the manifest's text spec.
        never: ids that are no words and must not be written.
        context_length: most tokens of a row.
    """

    def __init__(
        self,
        engine: Engine,
        image_tokens: NDArray[np.float32],
        image_mask: NDArray[np.bool_],
        *,
        mask_id: int,
        pad_id: int,
        eos_id: int,
        never: Sequence[int],
        context_length: int,
    ) -> None:
        self._engine = engine
        self._image_tokens = image_tokens
        self._image_mask = image_mask
        self._mask_id = mask_id
        self._pad_id = pad_id
        self._eos_id = eos_id
        self._never = np.array(sorted({*never, mask_id, pad_id, eos_id}), np.int64)
        self._context_length = context_length

    @property
    def photos(self) -> int:
        return int(self._image_tokens.shape[0])

    def write(
        self,
        lead: Sequence[int],
        lengths: Sequence[int],
        *,
        iterations: int = ITERATIONS,
        count: int = 1,
        rule: NoRepeat | None = None,
    ) -> list[list[Generated]]:
        """Write a text for every photo, trying every length; the ``count`` best, best first.

        lead: tokens each text starts with (fill token, then a prompt), never rewritten.
        lengths: numbers of words to try, distinct; with a rule, a text becomes shorter where no word is left
            that says nothing again.
        """
        longest = max(lengths)
        if len(lead) + longest + 1 > self._context_length:
            raise UsageError(
                f"{longest} words after {len(lead)} tokens exceed this model's {self._context_length}"
            )
        rows = [[*lead, *[self._mask_id] * length, self._eos_id] for length in lengths]
        photo = np.repeat(np.arange(self.photos), len(lengths))
        ids, attention = self._pad(rows * self.photos)
        ids, log_probs, open_places = self._refine(ids, attention, photo, iterations, rule)
        if rule is not None:
            open_places &= ids != self._mask_id
            for row, written in enumerate(open_places):
                written[written] = rule.kept(lead, ids[row, written].tolist())
        found: list[list[Generated]] = []
        for one in range(self.photos):
            texts = [
                Generated(
                    tuple(int(token) for token in ids[row, open_places[row]]),
                    float(log_probs[row, open_places[row]].sum()),
                    int(open_places[row].sum()),
                )
                for row in np.flatnonzero(photo == one)
            ]
            # A text without a word has no score that says anything.
            found.append(sorted(texts, key=lambda text: (not text.ids, -text.score))[:count])
        return found

    def fill(self, row: Sequence[int], *, top: int) -> list[list[Refined]]:
        """Fill the masks of one text, for every photo: the ``top`` best ways, best first.

        row: ``[lead] words [EOS]`` with at least one mask. The most certain mask is given its ``top``
        likeliest words; each of those texts is then completed, the most certain mask first.
        """
        if self._mask_id not in row:
            raise UsageError("the text has no mask to fill")
        ids, attention = self._pad([row] * self.photos)
        photo = np.arange(self.photos)
        is_mask = ids == self._mask_id
        # Every row is the same text, so row r has its masks in the same places.
        masks = int(is_mask[0].sum()) if self.photos else 0
        if not masks:
            return []
        log_probs = self._log_probs(ids, attention, photo, is_mask).reshape(self.photos, masks, -1)
        certain = log_probs.max(axis=-1).argmax(axis=1)
        place = np.flatnonzero(is_mask[0])[certain]
        at_place = log_probs[photo, certain]  # [B, V]
        top = min(top, at_place.shape[1] - len(self._never))
        words = best(at_place, top)  # [B, top]
        photo = np.repeat(photo, top)
        ids, attention = np.repeat(ids, top, axis=0), np.repeat(attention, top, axis=0)
        rows = np.arange(len(photo))
        place = np.repeat(place, top)
        scores = np.zeros(ids.shape)
        scores[rows, place] = np.take_along_axis(at_place, words, axis=1).ravel()
        ids[rows, place] = words.ravel()
        while (ids == self._mask_id).any():
            words_now, likeliest = self._predict(ids, attention, photo, ids == self._mask_id)
            place = likeliest.argmax(axis=1)
            ids[rows, place] = words_now[rows, place]
            scores[rows, place] = likeliest[rows, place]
        places = np.flatnonzero(is_mask[0])
        found = [
            Refined(
                tuple(int(token) for token in ids[one]),
                tuple(int(token) for token in ids[one, places]),
                float(scores[one, places].mean()),
            )
            for one in rows
        ]
        return [
            sorted(found[first : first + top], key=lambda text: -text.score)
            for first in range(0, len(found), top)
        ]

    def _refine(
        self,
        ids: NDArray[np.int64],
        attention: NDArray[np.bool_],
        photo: NDArray[np.intp],
        iterations: int,
        rule: NoRepeat | None,
    ) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.bool_]]:
        """Mask-predict over rows of any lengths.

        Returns the ids int64[R, T], the log-probability each word had when it was last predicted
        float64[R, T], and where words were written bool[R, T].
        """
        open_places = ids == self._mask_id
        masked = open_places
        lengths = open_places.sum(axis=1)
        scores = np.zeros(ids.shape)
        for iteration in range(iterations):
            if iteration:
                again = (lengths * (iterations - iteration)) // iterations
                if not again.any():
                    break
                masked = _lowest(np.where(open_places, scores, np.inf), again)
                ids = np.where(masked, self._mask_id, ids)
            words, likeliest = self._predict(ids, attention, photo, masked, rule)
            ids = np.where(masked, words, ids)
            scores = np.where(masked, likeliest, scores)
        return ids, scores, open_places

    def _predict(
        self,
        ids: NDArray[np.int64],
        attention: NDArray[np.bool_],
        photo: NDArray[np.intp],
        places: NDArray[np.bool_],
        rule: NoRepeat | None = None,
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The likeliest word at each of ``places`` bool[R, T] and its log-probability, -inf elsewhere.

        With a rule, the most certain word is put in first, and each of the others where it says nothing again
        beside those that are there; where none can be, the mask stays.

        Returns int64[R, T] and float64[R, T].
        """
        words = np.zeros(ids.shape, np.int64)
        likeliest = np.full(ids.shape, -np.inf)
        # In chunks, because log-probabilities over a vocabulary are by far the largest array here.
        for first in range(0, len(ids), _ROWS_AT_ONCE):
            part = slice(first, first + _ROWS_AT_ONCE)
            log_probs = self._log_probs(ids[part], attention[part], photo[part], places[part])
            chosen = log_probs.argmax(axis=-1)
            if rule is not None:
                chosen = self._filled(ids[part], places[part], log_probs, rule)
            words[part][places[part]] = chosen
            likeliest[part][places[part]] = log_probs[np.arange(len(chosen)), chosen]
        return words, likeliest

    def _filled(
        self,
        ids: NDArray[np.int64],
        places: NDArray[np.bool_],
        log_probs: NDArray[np.float64],
        rule: NoRepeat,
    ) -> NDArray[np.int64]:
        """Words int64[M] for the M ``places`` bool[R, T] of texts int64[R, T], by log_probs float64[M, V]."""
        chosen, first = [], 0
        for row, open_places in zip(ids, places, strict=True):
            where = np.flatnonzero(open_places)
            own = log_probs[first : first + len(where)]
            first += len(where)
            chosen += rule.filled(row, where, own, self._mask_id)
        return np.array(chosen, np.int64)

    def _log_probs(
        self,
        ids: NDArray[np.int64],
        attention: NDArray[np.bool_],
        photo: NDArray[np.intp],
        places: NDArray[np.bool_],
    ) -> NDArray[np.float64]:
        """float64[M, V] at the M places marked, row by row; what is no word has -inf."""
        wanted = self._engine.inputs(_ROLE)
        feeds = {
            "input_ids": ids,
            "attention_mask": attention,
            "image_tokens": self._image_tokens[photo],
            "image_mask": self._image_mask[photo],
        }
        logits = self._engine.run(
            _ROLE, {name: value for name, value in feeds.items() if name in wanted}, ["token_logits"]
        )["token_logits"]
        log_probs = log_softmax(logits[places], _ROLE)
        log_probs[:, self._never] = -np.inf
        return log_probs

    def _pad(self, rows: Sequence[Sequence[int]]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        width = max((len(row) for row in rows), default=0)
        ids = np.full((len(rows), width), self._pad_id, np.int64)
        mask = np.zeros((len(rows), width), np.bool_)
        for place, row in enumerate(rows):
            ids[place, : len(row)] = row
            mask[place, : len(row)] = True
        return ids, mask


def _lowest(values: NDArray[np.float64], counts: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Marks the ``counts[r]`` lowest of each row, ties to the earlier place. bool[R, T]."""
    order = np.argsort(values, axis=1, kind="stable")
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.broadcast_to(np.arange(values.shape[1]), values.shape), axis=1)
    return np.asarray(rank < counts[:, None])
