"""SentencePiece's unigram models (Kudo 2018; ``spiece.model``) as a tokenizer of the tokenizers library.

The file is a protocol buffer (sentencepiece_model.proto). The few fields that matter are read here by their
numbers, so that converting needs neither sentencepiece nor protobuf.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from seetell.core.errors import CheckpointError

SPACE = "▁"
# Kinds of pieces; a control sign (3) is a piece like others here, see ``tokenizer``.
_NORMAL, _UNKNOWN, _WHOLE, _BYTE = 1, 2, 4, 6
_UNIGRAM = 1
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True, slots=True)
class UnigramModel:
    """pieces: (text, log probability), by id. unknown_id: of what no piece spells. whole: pieces that are
    never cut up. spells_bytes: what no piece spells is spelt byte by byte. rules: how characters are made
    alike before, in the library's compiled form; empty for not at all."""

    pieces: tuple[tuple[str, float], ...]
    unknown_id: int
    whole: tuple[str, ...]
    spells_bytes: bool
    rules: bytes

    def tokenizer(self, before: normalizers.Normalizer) -> Tokenizer:
        """The tokenizer. ``before`` comes first; it starts a text with "▁" and leaves nothing in it that is
        spelt like a control sign ("</s>"), which would become one."""
        tokenizer = Tokenizer(models.Unigram(list(self.pieces), self.unknown_id, self.spells_bytes))
        tokenizer.add_tokens([AddedToken(one, normalized=False, special=False) for one in self.whole])
        steps = [before]
        if self.rules:
            steps.append(normalizers.Precompiled(self.rules))
        # The rules may leave spaces where there were other characters.
        steps += [
            normalizers.Replace(Regex(" {2,}"), " "),
            normalizers.Strip(left=False, right=True),
            normalizers.Replace(" ", SPACE),
        ]
        tokenizer.normalizer = normalizers.Sequence(steps)
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(SPACE, prepend_scheme="never")
        tokenizer.decoder = decoders.Metaspace(SPACE, prepend_scheme="never")
        return tokenizer


def read_unigram(data: bytes, where: str) -> UnigramModel:
    """Read the content of a ``spiece.model``. Raises CheckpointError naming ``where``."""
    try:
        return _model(data)
    except (ValueError, IndexError, struct.error) as error:
        raise CheckpointError(
            f"{where}: cut off or no SentencePiece unigram model ({error}); fetch it again"
        ) from error


def _model(data: bytes) -> UnigramModel:
    pieces: list[tuple[str, float]] = []
    kinds: list[int] = []
    rules, model_type = b"", _UNIGRAM
    for number, value in _fields(data):
        if number == 1:
            text, score, kind = _piece(_as_bytes(value))
            pieces.append((text, score))
            kinds.append(kind)
        elif number == 2:
            trainer = dict(_fields(_as_bytes(value)))
            model_type = _as_int(trainer.get(3, _UNIGRAM))
        elif number == 3:
            rules = next((_as_bytes(one) for name, one in _fields(_as_bytes(value)) if name == 2), b"")
    if model_type != _UNIGRAM:
        raise ValueError(f"its model_type is {model_type}, and {_UNIGRAM} is meant")
    if kinds.count(_UNKNOWN) != 1:
        raise ValueError(f"{len(pieces)} pieces, {kinds.count(_UNKNOWN)} of them for what is unknown")
    whole = tuple(text for (text, _), kind in zip(pieces, kinds, strict=True) if kind == _WHOLE)
    return UnigramModel(tuple(pieces), kinds.index(_UNKNOWN), whole, _BYTE in kinds, rules)


def _piece(data: bytes) -> tuple[str, float, int]:
    text, score, kind = "", 0.0, _NORMAL
    for number, value in _fields(data):
        if number == 1:
            text = _as_bytes(value).decode("utf-8")
        elif number == 2:
            (score,) = struct.unpack("<f", _as_bytes(value))
        elif number == 3:
            kind = _as_int(value)
    return text, score, kind


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(field number, value) in order: a whole number, or bytes for whatever has a length.

    Source: the protocol buffers encoding guide, "message structure".
    """
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, place = _varint(data, place)
            yield number, value
            continue
        if wire == _BYTES:
            length, place = _varint(data, place)
        elif wire in (_FIXED32, _FIXED64):
            length = 4 if wire == _FIXED32 else 8
        else:
            raise ValueError(f"wire type {wire} at byte {place}")
        if place + length > len(data):
            raise ValueError(f"{len(data)} bytes, where {place + length} are told")
        yield number, data[place : place + length]
        place += length


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7
        if shift > 63:
            raise ValueError(f"a number without end at byte {place}")


def _as_bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number where text is meant")
    return value


def _as_int(value: int | bytes) -> int:
    if isinstance(value, bytes):
        raise ValueError("text where a number is meant")
    return value
