"""Text to token ids and back, the running half: a ``tokenizer.json`` and the manifest's TextSpec.

Rows are ``[LEAD] words [EOS]``; the caller says which lead, because one text is led by [CLS] for the
text encoder, by [FUSE] for the fusion encoder and by a language's fill token for mask-predict.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tokenizers
from numpy.typing import NDArray

from seetell.core.errors import BundleDamaged, TextError

if TYPE_CHECKING:
    from seetell.bundle.manifest import TextSpec

# One byte of a character, where the file has no token for the character.
_BYTE = re.compile("<0x..>")
# What stands for a character of which not all bytes are there.
_BROKEN = "\ufffd"


class Tokenizer:
    """Encodes and decodes for one bundle. Safe to share between threads: nothing changes after
    construction (padding and truncation are done here, never switched on in the library's object).
    """

    def __init__(self, document: str, spec: TextSpec, where: str = "tokenizer.json") -> None:
        """``document`` is the JSON text of a tokenizer file. Raises BundleDamaged naming ``where``."""
        try:
            backend = tokenizers.Tokenizer.from_str(document)
        except Exception as error:  # the library raises bare Exception
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise BundleDamaged(
                f"{where}: not a tokenizer file ({reason}); copy or convert the model again"
            ) from error
        backend.no_padding()
        backend.no_truncation()
        self._backend = backend
        self.spec = spec
        self.vocab_size: int = backend.get_vocab_size(with_added_tokens=True)
        special = {spec.bos_id, spec.fusion_bos_id, spec.eos_id, spec.pad_id, spec.mask_id}
        special.add(spec.answer_start_id)
        special.update(spec.decoder_start_ids.values(), spec.fill_start_ids.values())
        added = backend.get_added_tokens_decoder()
        special.update(token_id for token_id, token in added.items() if token.special)
        self._special: frozenset[int] = frozenset(one for one in special if one is not None)
        self._kept = self._kept_ids(document)
        largest = max(self._special)
        if largest >= self.vocab_size:
            raise BundleDamaged(f"{where}: special id {largest} lies outside its {self.vocab_size} tokens")
        self._mask = None if spec.mask_id is None else backend.id_to_token(spec.mask_id)
        self._document = document
        self._names = {token.content: token_id for token_id, token in added.items()}
        self._letters: tokenizers.Tokenizer | None = None
        decoder = backend.decoder
        self._appends = decoder is None or _appends(json.loads(decoder.__getstate__()))

    @classmethod
    def from_file(cls, path: Path, spec: TextSpec) -> Tokenizer:
        """Read ``path``. Raises BundleDamaged when it is missing or no tokenizer."""
        try:
            document = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
            raise BundleDamaged(
                f"{path}: the tokenizer cannot be read ({reason}); copy or convert the model again"
            ) from error
        return cls(document, spec, str(path))

    def encode(
        self, texts: Sequence[str], *, lead_id: int | None, max_length: int | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Rows ``[LEAD] words [EOS]`` (no lead when None) and their masks, True on what is not padding.

        Words beyond ``max_length`` (the spec's context length by default, and never more) are cut;
        [EOS] stays. Rows are padded to the longest, or to the context length where the spec says
        ``fixed``. Returns int64[B, T], bool[B, T]. Raises TextError for a text that is no text.
        """
        limit = self._limit(max_length)
        lead = [] if lead_id is None else [lead_id]
        room = limit - len(lead) - 1
        rows = [[*lead, *words[:room], self.spec.eos_id] for words in self._words(texts)]
        return self.pad(rows, length=limit if self.spec.padding == "fixed" else None)

    def pad(
        self, rows: Sequence[Sequence[int]], *, length: int | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Rows of ids as one array, padded on the spec's side to ``length`` or the longest row.

        Returns int64[B, T] and bool[B, T], True on the ids given.
        """
        width = max((len(row) for row in rows), default=0) if length is None else length
        ids = np.full((len(rows), width), self.spec.pad_id, dtype=np.int64)
        mask = np.zeros((len(rows), width), dtype=np.bool_)
        for place, row in enumerate(rows):
            span = slice(0, len(row)) if self.spec.side == "right" else slice(width - len(row), width)
            ids[place, span] = row
            mask[place, span] = True
        return ids, mask

    def encode_words(self, text: str) -> list[int]:
        """The ids of a text alone, with no lead and no [EOS]. The mask's name becomes the mask's id.

        Raises TextError for a text that is no text.
        """
        return self._words([text])[0]

    def special_names(self) -> tuple[str, ...]:
        """How the tokens are spelt that are no words and that a text may name, ``<|im_start|>`` say."""
        return tuple(name for name, token_id in self._names.items() if token_id in self._special)

    def encode_named(self, text: str, marker: str) -> list[int]:
        """The ids of a text in which names of tokens are these tokens, where no ``marker`` stands within the
        name.

        marker: one character, which is left out; in a name it makes of it the letters that it is spelt with.
        """
        text = text.encode("utf-8", "replace").decode("utf-8")
        if marker not in text:
            return list(self._backend.encode(text, add_special_tokens=False).ids)
        longest_first = sorted(self._names, key=len, reverse=True)
        pieces = (
            re.split("(" + "|".join(map(re.escape, longest_first)) + ")", text) if longest_first else [text]
        )
        ids: list[int] = []
        for piece in pieces:
            if piece in self._names:
                ids.append(self._names[piece])
            elif piece:
                plain = self._as_letters().encode(piece.replace(marker, ""), add_special_tokens=False)
                ids += plain.ids
        return ids

    def _as_letters(self) -> tokenizers.Tokenizer:
        """The same vocabulary, where no name of a token is more than the letters it is spelt with."""
        if self._letters is None:
            document = json.loads(self._document)
            self._letters = tokenizers.Tokenizer.from_str(json.dumps({**document, "added_tokens": []}))
        return self._letters

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids, special tokens left out, without surrounding space."""
        words = [token_id for token_id in map(int, ids) if token_id not in self._special]
        return str(self._backend.decode(words, skip_special_tokens=True)).strip()

    def decode_start(self, ids: Iterable[int]) -> str:
        """The beginning of :meth:`decode` that stays as it is, whatever ids follow.

        Left out are a character whose bytes may not all be there yet, and space at the end; everything, where
        the file decodes in a way of which nothing is known.
        """
        if not self._appends:
            return ""
        words = [token_id for token_id in map(int, ids) if token_id not in self._special]
        # A run of bytes is read as a whole: one more that does not fit changes what the others were.
        while words and _BYTE.fullmatch(self.token(words[-1]) or ""):
            words.pop()
        return self.decode(words).rstrip(_BROKEN).rstrip()

    def token(self, token_id: int) -> str | None:
        """The vocabulary's name of an id, None outside it."""
        name = self._backend.id_to_token(token_id)
        return None if name is None else str(name)

    def token_id(self, token: str) -> int | None:
        """The id of a vocabulary entry, None when there is none."""
        found = self._backend.token_to_id(token)
        return None if found is None else int(found)

    def _kept_ids(self, document: str) -> frozenset[int]:
        """The special tokens that stand for words: the mask, and what a word becomes that is not known."""
        model = self._backend.model
        if isinstance(model, tokenizers.models.Unigram):
            unknown = json.loads(document)["model"].get("unk_id")  # the library does not tell it
        else:
            name = model.unk_token
            unknown = None if name is None else self._backend.token_to_id(name)
        roles = {self.spec.bos_id, self.spec.fusion_bos_id, self.spec.eos_id, self.spec.pad_id}
        # CLIP names its end as what is unknown, too. Nothing ever is, over bytes, and an end it must stay.
        kept = {self.spec.mask_id, None if unknown in roles else unknown}
        return frozenset(one for one in kept if one is not None)

    def _limit(self, max_length: int | None) -> int:
        limit = self.spec.context_length if max_length is None else min(max_length, self.spec.context_length)
        if limit < 3:
            raise TextError(f"max_length {limit} leaves no room for a word between its lead and its end")
        return limit

    def _words(self, texts: Sequence[str]) -> list[list[int]]:
        # Surrogates (from undecodable file names or "\ud800" in JSON) cannot cross into the library.
        for text in texts:
            if not isinstance(text, str):
                raise TextError(f"a text is expected, not {type(text).__name__}")
        clean = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
        if self.spec.lower_case:
            clean = [self._lowered(text) for text in clean]
        encoded = self._backend.encode_batch(clean, add_special_tokens=False)
        return [self._without_strays(list(item.ids)) for item in encoded]

    def _lowered(self, text: str) -> str:
        # The mask's name is upper case and must survive.
        if self._mask is None:
            return text.lower()
        return self._mask.join(part.lower() for part in text.split(self._mask))

    def _without_strays(self, words: list[int]) -> list[int]:
        # "[EOS]" typed by a user would otherwise end the text for the model. The mask is meant, and a word
        # that is not known is still a word: models were taught with it in its place.
        return [word for word in words if word not in self._special or word in self._kept]


def _appends(decoder: Mapping[str, Any], *, alone: bool = True) -> bool:
    """Whether a decoder of the library, as JSON, only ever adds to the text when there are more tokens, but
    for bytes that make up one character."""
    kind = decoder["type"]
    if kind == "Sequence":
        return all(_appends(one, alone=False) for one in decoder["decoders"])
    if kind == "Replace":
        # Longer patterns may be completed by what follows.
        return len(decoder["pattern"].get("String", "")) == 1
    if kind == "Strip":
        return bool(decoder["stop"] == 0)
    if kind in ("WordPiece", "BPEDecoder"):
        return alone
    return kind in ("ByteLevel", "ByteFallback", "Fuse", "Metaspace")
