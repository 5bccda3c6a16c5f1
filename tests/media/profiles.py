"""Colour profiles (ICC.1:2022), made by hand: matrices of given primaries, a curve of greys, inks."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np

# The white that profiles count from, and how a white is turned into it (Bradford; ICC.1:2022, annex E).
_D50 = np.array([0.9642, 1.0, 0.8249])
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
D50_WHITE, D65_WHITE = (0.3457, 0.3585), (0.3127, 0.3290)

# Chromaticities of red, green and blue: IEC 61966-2-1, SMPTE EG 432-1, ISO 22028-2.
SRGB = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
DISPLAY_P3 = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
PROPHOTO = ((0.734699, 0.265301), (0.159597, 0.840403), (0.036598, 0.000105))


def matrix_profile(
    primaries: Sequence[tuple[float, float]],
    white: tuple[float, float] = D65_WHITE,
    gamma: float | None = None,
) -> bytes:
    """Of red, green and blue. gamma: None for sRGB's curve, which Display P3 has too."""
    columns = np.array([_xyz(one) for one in primaries]).T
    columns = columns * np.linalg.solve(columns, _xyz(white))
    own, wanted = _BRADFORD @ _xyz(white), _BRADFORD @ _D50
    columns = np.linalg.inv(_BRADFORD) @ np.diag(wanted / own) @ _BRADFORD @ columns
    curve = _srgb_curve() if gamma is None else _curve(gamma)
    tags = {b"wtpt": _xyz_tag(_D50)}
    for letter, column in zip((b"r", b"g", b"b"), columns.T, strict=True):
        tags[letter + b"XYZ"], tags[letter + b"TRC"] = _xyz_tag(column), curve
    return _profile(b"mntr", b"RGB ", b"XYZ ", tags)


def grey_profile(gamma: float) -> bytes:
    return _profile(b"mntr", b"GRAY", b"XYZ ", {b"wtpt": _xyz_tag(_D50), b"kTRC": _curve(gamma)})


def ink_profile(paper: tuple[int, int, int], cyan: tuple[int, int, int]) -> bytes:
    """Of four inks, of which cyan gives the paper another colour, black makes it black, the others darker.

    paper, cyan: L*a*b* as ICC's lut8Type has it, L* over 255 and a*, b* with 128 for none.
    """
    table = bytearray()
    for place in range(16):  # cyan, magenta, yellow and black, the last one fastest
        light, *tint = cyan if place >> 3 else paper
        others = place >> 2 & 1 | place >> 1 & 1
        table += bytes([0, 128, 128] if place & 1 else [light >> others, *tint])
    straight = bytes(range(256))
    matrix = struct.pack(">9i", *(65536 * (one % 4 == 0) for one in range(9)))
    lut = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + matrix + straight * 4 + bytes(table) + straight * 3
    return _profile(b"prtr", b"CMYK", b"Lab ", {b"wtpt": _xyz_tag(_D50), b"A2B0": lut})


def _xyz(chromaticity: tuple[float, float]) -> np.ndarray:
    x, y = chromaticity
    return np.array([x / y, 1.0, (1 - x - y) / y])


def _xyz_tag(values: np.ndarray) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(float(one) * 65536) for one in values))


def _curve(gamma: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256))


def _srgb_curve() -> bytes:
    steps = np.arange(1024) / 1023
    values = np.where(steps <= 0.04045, steps / 12.92, ((steps + 0.055) / 1.055) ** 2.4)
    return b"curv" + bytes(4) + struct.pack(">I1024H", 1024, *(round(float(one) * 65535) for one in values))


def _profile(kind: bytes, colours: bytes, between: bytes, tags: dict[bytes, bytes]) -> bytes:
    place, table, body = 132 + 12 * len(tags), b"", b""
    for name, content in tags.items():
        padded = content.ljust(-(-len(content) // 4) * 4, b"\0")
        table += name + struct.pack(">II", place + len(body), len(content))
        body += padded
    date = struct.pack(">6H", 2024, 1, 1, 0, 0, 0)
    header = (
        bytes(4) + b"none" + bytes([2, 0x40, 0, 0]) + kind + colours + between + date + b"acsp" + bytes(28)
    )
    header += struct.pack(">3i", *(round(float(one) * 65536) for one in _D50))
    content = header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body
    return struct.pack(">I", len(content)) + content[4:]
