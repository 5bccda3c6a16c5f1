"""Texts that say nothing again, by construction: beams and greedy texts beside what they say.

Every beginning of a text is held to the rule as if the text ended there, so that it may end anywhere, and
ending is never refused. The price is a word that begins with another one ("an ancient" after "an"), where
that one would be refused: 11 of the 35,000 English captions of Flickr8k have such a word, in the tokens of
the built-in model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from seetell.runtime.generation.probabilities import best
from seetell.runtime.generation.repeats import is_word, repeats, words_of

_PAIRS_KEPT = 1 << 16
_FEW = 16


class Spelling:
    """What words tokens spell.

    decode: from tokens to text, special ones left out.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode
        # Decoding is most of the work, and the same few tokens follow each other again and again.
        self.adds = lru_cache(_PAIRS_KEPT)(self._adds)

    def words(self, ids: Sequence[int]) -> tuple[str, ...]:
        return words_of(self._decode(ids))

    def _adds(self, before: int, token: int) -> tuple[str, ...] | None:
        """The words that a token adds to any text that ends with ``before``; None where that depends on what
        stands there, as it does for the rest of a word and for signs."""
        first, both = self.words([before]), self.words([before, token])
        added = both[len(first) :]
        if not (first and added and both[: len(first)] == first):
            return None
        return added if all(map(is_word, (first[-1], *added))) else None


@dataclass(frozen=True, slots=True)
class Said:
    """A text that is being written, and repeats no more than its prompt did.

    run: how many words may not stand there twice. ids: its tokens, prompt included. words: what they spell.
    again: how often it says the same again.
    """

    run: int
    spelling: Spelling
    ids: tuple[int, ...]
    words: tuple[str, ...]
    again: int

    @classmethod
    def prompt(cls, run: int, spelling: Spelling, ids: Sequence[int]) -> Said:
        """What each text begins with."""
        words = spelling.words(ids)
        return cls(run, spelling, tuple(ids), words, repeats(words, run))

    def then(self, token: int) -> Said | None:
        """The text with one more token; None where that says something again."""
        ids = (*self.ids, token)
        added = self.spelling.adds(self.ids[-1], token)
        if added is not None and len(added) == 1:
            words = self.words + added
        else:
            words, added = self.spelling.words(ids), None
        # Nothing is said again by a word that is said for the first time.
        is_new = added is not None and added[0] not in self.words
        again = self.again if is_new else repeats(words, self.run)
        return Said(self.run, self.spelling, ids, words, again) if again <= self.again else None

    def best(self, scores: NDArray[np.float64], eos_id: int) -> tuple[int, Said]:
        """The token of the highest of ``scores`` float64[V] that may follow, and the text with it.

        That is [EOS], which may follow always, where no other has a chance.
        """
        for token in _descending(scores):
            if token == eos_id or scores[token] == -np.inf:
                break
            if (longer := self.then(token)) is not None:
                return token, longer
        return eos_id, self


def _descending(scores: NDArray[np.float64]) -> Iterator[int]:
    """Places of ``scores`` by what stands there, highest first, ties to the lower place."""
    # Nearly always the first will do, else one of the next, and sorting a vocabulary costs more than a small
    # decoder's step.
    yield int(scores.argmax())
    few = min(_FEW, len(scores))
    yield from map(int, best(scores, few)[1:])
    yield from map(int, np.argsort(-scores, kind="stable")[few:])


class SaidBeams:
    """What the beams of each photo say: K texts, None in place of one that nothing can follow."""

    def __init__(self, rows: list[list[Said | None]]) -> None:
        self._rows = rows

    @classmethod
    def prompts(cls, prompt: Said, photos: int, beams: int) -> SaidBeams:
        """What beams start from: one, as all would write the same."""
        return cls([[prompt, *[None] * (beams - 1)] for _ in range(photos)])

    def take(self, which: NDArray[np.intp]) -> SaidBeams:
        """Beams ``which`` intp[B, K'] of each photo."""
        return SaidBeams(
            [[row[one] for one in places] for row, places in zip(self._rows, which, strict=True)]
        )

    def photos(self, keep: NDArray[np.bool_]) -> SaidBeams:
        return SaidBeams([row for row, kept in zip(self._rows, keep, strict=True) if kept])

    @property
    def over(self) -> NDArray[np.bool_]:
        """The beams that nothing can follow, bool[B, K]."""
        return np.array([[text is None for text in row] for row in self._rows], np.bool_)

    def best(
        self, total: NDArray[np.float64], ended: NDArray[np.float64], eos_id: int
    ) -> tuple[NDArray[np.intp], SaidBeams]:
        """The 2K best ways to go on that say nothing again, and the texts with them.

        What says something again is ruled out in ``total`` by -inf. Only so many ways are looked at as may be
        needed: once K can go on, what is less likely never will. Of those the text is None, as of those that
        end.

        Args:
            total: float64[B, K, V], scores with each token added; changed in place.
            ended: float64[B, K], scores with [EOS] added, whatever the options say about it: what is left
                where nothing else may follow any beam.
            eos_id: of [EOS].

        Returns intp[B, 2K], places in rows of K * V.
        """
        photos, beams, vocabulary = total.shape
        total[self.over] = -np.inf
        flat = total.reshape(photos, -1)
        top = best(flat, 2 * beams)
        found = []
        for photo, texts in enumerate(self._rows):
            longer: dict[int, Said | None] = {}
            while not self._settled(texts, flat[photo], top[photo], longer, eos_id):
                if not np.isfinite(flat[photo]).any():
                    one = int(np.where([text is None for text in texts], -np.inf, ended[photo]).argmax())
                    flat[photo, one * vocabulary + eos_id] = ended[photo, one]
                top[photo] = best(flat[photo], 2 * beams)
            found.append([longer.get(int(place)) for place in top[photo]])
        return top, SaidBeams(found)

    @staticmethod
    def _settled(
        texts: list[Said | None],
        scores: NDArray[np.float64],
        top: NDArray[np.intp],
        longer: dict[int, Said | None],
        eos_id: int,
    ) -> bool:
        """Whether ``top`` intp[2K] of one photo can stay.

        Writes the texts that they make into ``longer``, and -inf into ``scores`` float64[K * V] for what says
        something again.
        """
        vocabulary = len(scores) // len(texts)
        room, refused = len(texts), False
        for place in map(int, top):
            if not room or scores[place] == -np.inf:
                break
            source, token = divmod(place, vocabulary)
            if token == eos_id:
                continue
            text = texts[source]
            if text is not None and place not in longer:
                longer[place] = text.then(token)
            if longer[place] is None:
                scores[place], refused = -np.inf, True
            else:
                room -= 1
        return not refused and bool(np.isfinite(scores[top[0]]))


class NoRepeat:
    """The rule for texts whose words are not written from left to right.

    run: how many words may not stand there twice.
    """

    def __init__(self, run: int, spelling: Spelling) -> None:
        self._run = run
        self._spelling = spelling

    def filled(
        self,
        row: NDArray[np.int64],
        places: NDArray[np.intp],
        log_probs: NDArray[np.float64],
        mask_id: int,
    ) -> list[int]:
        """Tokens for the ``places`` intp[M] of a text int64[T], by log_probs float64[M, V].

        Everywhere the likeliest, where that says nothing again; else the most certain first, and each the
        likeliest that says nothing again beside what is there by then. Where none may stand, the mask does.
        """
        ids = row.copy()
        ids[places] = mask_id
        known: dict[tuple[int, ...], tuple[str, ...]] = {}
        again = repeats(self._words(ids, mask_id, known), self._run)
        likeliest = log_probs.argmax(axis=1)
        order = np.argsort(-log_probs[np.arange(len(places)), likeliest], kind="stable")
        # Nearly always all of a half can stand, and asking that of the half at once is asking once.
        waiting = [order]
        while waiting:
            some = waiting.pop()
            ids[places[some]] = likeliest[some]
            count = repeats(self._words(ids, mask_id, known), self._run)
            if count <= again:
                again = count
                continue
            ids[places[some]] = mask_id
            if len(some) > 1:
                middle = len(some) // 2
                waiting += [some[middle:], some[:middle]]
                continue
            (one,) = some
            for token in _descending(log_probs[one]):
                if log_probs[one, token] == -np.inf:
                    break
                ids[places[one]] = token
                count = repeats(self._words(ids, mask_id, known), self._run)
                if count <= again:
                    again = count
                    break
                ids[places[one]] = mask_id
        return [int(token) for token in ids[places]]

    def kept(self, lead: Sequence[int], ids: Sequence[int]) -> list[bool]:
        """Which tokens of a text stay: all, or where it says something again nevertheless those that do not.

        Words may come together where a mask is left out, and be others without a piece that is masked again.
        """
        said = Said.prompt(self._run, self._spelling, lead)
        if repeats(self._spelling.words([*lead, *ids]), self._run) <= said.again:
            return [True] * len(ids)
        stay = []
        for token in ids:
            longer = said.then(token)
            stay.append(longer is not None)
            said = longer or said
        return stay

    def _words(
        self, ids: NDArray[np.int64], mask_id: int, known: dict[tuple[int, ...], tuple[str, ...]]
    ) -> tuple[str, ...]:
        """The words of a text, and for each mask one that is no word and stands there once."""
        words: list[str] = []
        stretch: list[int] = []
        for place, token in enumerate([*ids.tolist(), mask_id]):
            if token != mask_id:
                stretch.append(token)
                continue
            key = tuple(stretch)
            if key not in known:
                known[key] = self._spelling.words(key)
            words += [*known[key], f"{place} "]
            stretch = []
        return tuple(words)
