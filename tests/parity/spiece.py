"""Small SentencePiece files, written field by field."""

from __future__ import annotations

import struct
from collections.abc import Sequence

NORMAL, UNKNOWN, CONTROL, WHOLE, BYTE = 1, 2, 3, 4, 6
Piece = tuple[str, float, int]

WORDS = ["a", "the", "photo", "this", "is", "of", "cat", "dog", "boat", "car", "in", "on", "grass", "red"]
# In the order of SigLIP's vocabulary: padding, the end of text (which SigLIP pads with), what is unknown.
PIECES: list[Piece] = [
    ("<pad>", 0.0, CONTROL),
    ("</s>", 0.0, CONTROL),
    ("<unk>", 0.0, UNKNOWN),
    ("▁", -2.5, NORMAL),
    *((f"▁{word}", -3.0 - number / 8, NORMAL) for number, word in enumerate(WORDS)),
    *((letter, -6.0 - number / 16, NORMAL) for number, letter in enumerate("abcdefghijklmnopqrstuvwxyz")),
    *((digit, -8.0, NORMAL) for digit in "0123456789"),
    ("ing", -4.0, NORMAL),
]


def _varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def _field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def model_file(pieces: Sequence[Piece] = PIECES, *, model_type: int = 1) -> bytes:
    """The content of a ``spiece.model`` without rules for characters."""
    out = b""
    for text, score, kind in pieces:
        body = _field(1, text.encode()) + _varint(2 << 3 | 5) + struct.pack("<f", score)
        # Writers leave out what is the default.
        out += _field(1, body + (b"" if kind == NORMAL else _number(3, kind)))
    unknown = next((number for number, piece in enumerate(pieces) if piece[2] == UNKNOWN), 0)
    # vocab_size, character_coverage (a float), model_type, unk_id: as in real files, not only what is read.
    trainer = _number(4, len(pieces)) + _varint(10 << 3 | 5) + struct.pack("<f", 0.9995)
    trainer += _number(3, model_type) + _number(40, unknown)
    return out + _field(2, trainer) + _field(3, _field(1, b"identity"))
