"""How a JPEG is put together: its segments and scans, by their markers (ITU-T T.81, annex B)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

END_OF_IMAGE = b"\xff\xd9"
_END, _START_OF_SCAN = 0xD9, 0xDA
# Markers without a segment: of restarts, one for arithmetic coding, and the start of the image.
_BARE = frozenset({0x01, 0xD8, *range(0xD0, 0xD8)})
# Frames by table B.1: those whose scans hold whole values, and those whose scans refine them.
_SEQUENTIAL, _PROGRESSIVE = frozenset({0xC0, 0xC1, 0xC9}), frozenset({0xC2, 0xCA})
_MARKER = re.compile(rb"\xff+[^\x00\xff]", re.DOTALL)
# Within a scan 0xFF also stands before the numbers of restarts.
_AFTER_SCAN = re.compile(rb"\xff+[^\x00\xd0-\xd7\xff]", re.DOTALL)
_VALUES = range(64)


@dataclass(frozen=True, slots=True)
class _Segment:
    """marker: its number. start, end: in the file, the marker included; of a scan, without its data."""

    marker: int
    start: int
    end: int


def has_many_scans(data: bytes) -> bool:
    """Whether the image comes in several scans, so that a decoder has to keep all of it until the last; also
    where the header cannot be followed."""
    header = _header(data)
    frame = next((one for one in header if one.marker in _SEQUENTIAL), None)
    if frame is None or header[-1].marker != _START_OF_SCAN:
        return True
    return len(_scan_components(data, header[-1])) < len(_frame_components(data, frame))


def has_all_scans(data: bytes) -> bool:
    """Whether the scans bring every value of every component down to its last bit. An image that was cut
    between two scans is blurred or without colours, and libjpeg takes no notice."""
    missing: set[tuple[int, int]] = set()
    sequential = False
    for one in _segments(data):
        if one.marker in _SEQUENTIAL or one.marker in _PROGRESSIVE:
            sequential = one.marker in _SEQUENTIAL
            missing = {(component, value) for component in _frame_components(data, one) for value in _VALUES}
        elif one.marker == _START_OF_SCAN:
            # The last three bytes: the first and last value of the scan, and which bits of them.
            first, last, bits = data[one.end - 3 : one.end]
            values = _VALUES if sequential else range(first, last + 1)
            if sequential or bits & 15 == 0:
                missing -= {(part, value) for part in _scan_components(data, one) for value in values}
    return not missing


def mended(data: bytes) -> bytes:
    """Without stray bytes between the segments before the first scan, and with an end marker where the file
    ends without one; zeros, which copying programs fill up with, are no end."""
    header = _header(data)
    if not header or header[-1].marker != _START_OF_SCAN:
        return data
    parts = [data[:2], *(data[one.start : one.end] for one in header), data[header[-1].end :].rstrip(b"\0")]
    return b"".join(parts if ends(data) else [*parts, END_OF_IMAGE])


def ends(data: bytes) -> bool:
    """Whether the file ends with an end marker, zeros behind it not counted."""
    return data.rstrip(b"\0").endswith(END_OF_IMAGE)


def _header(data: bytes) -> list[_Segment]:
    """The segments up to that of the first scan."""
    found = []
    for one in _segments(data):
        found.append(one)
        if one.marker == _START_OF_SCAN:
            break
    return found


def _segments(data: bytes) -> Iterator[_Segment]:
    position, pattern = 2, _MARKER
    while found := pattern.search(data, position):
        marker, position = data[found.end() - 1], found.end()
        if marker == _END:
            return
        if marker in _BARE:
            continue
        start, end = position - 2, position + int.from_bytes(data[position : position + 2], "big")
        if end < position + 2 or end > len(data):
            return
        yield _Segment(marker, start, end)
        position, pattern = end, _AFTER_SCAN if marker == _START_OF_SCAN else _MARKER


def _frame_components(data: bytes, frame: _Segment) -> list[int]:
    # Marker, length, precision, height and width, then their number: 10 bytes. Of each its name and two more.
    return list(data[frame.start + 10 : frame.end : 3])


def _scan_components(data: bytes, scan: _Segment) -> list[int]:
    # Marker and length, then their number: 5 bytes. Of each its name and its tables.
    return list(data[scan.start + 5 : scan.end - 3 : 2])
