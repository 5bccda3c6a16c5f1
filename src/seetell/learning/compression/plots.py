"""Quality against what it costs, as SVG: no script, and colours that follow the page's."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from seetell.core.html_page import escaped
from seetell.learning.drawing import (
    BOTTOM,
    HEIGHT,
    LEFT,
    WIDTH,
    Frame,
    drawing,
    floor_line,
    grid,
    number,
    room,
)

_LETTER_PX, _LINE_PX, _GAP_PX = 6.3, 12.0, 8.0


@dataclass(frozen=True, slots=True)
class Point:
    """What was tried. x: what it costs, zero at least. y: quality; low, high: its interval, None without
    photos. kind: a ``stage`` on the way, which a line joins in order, the ``end`` of it, or an ``attempt``
    beside it."""

    label: str
    x: float
    y: float
    low: float | None = None
    high: float | None = None
    kind: Literal["stage", "end", "attempt"] = "stage"


def scatter(points: Sequence[Point], x_name: str, y_name: str, floor: float | None, *, passed: bool) -> str:
    """Points over what they cost, from nothing on; ``floor`` is the least quality that is allowed.

    A point that is no number is left out.
    """
    shown = [one for one in points if math.isfinite(one.x) and math.isfinite(one.y)]
    levels = [one.y for one in shown]
    levels += [edge for one in shown for edge in (one.low, one.high) if edge is not None]
    if floor is not None and math.isfinite(floor):
        levels.append(floor)
    least_y, most_y = room(levels or [0.0, 100.0])
    frame = Frame(max([one.x for one in shown] or [1.0]) * 1.06 or 1.0, least_y, most_y)
    parts = [*grid(frame), *floor_line(frame, floor)]
    way = [one for one in shown if one.kind != "attempt"]
    corners = " ".join(f"{frame.x(one.x):.1f},{frame.y(one.y):.1f}" for one in way)
    parts.append(f'<polyline class="way" points="{corners}"/>')
    for one in shown:
        parts += _dot(frame, one, passed)
    parts += _labels(frame, shown)
    return drawing(parts, x_name, y_name)


def _dot(frame: Frame, one: Point, passed: bool) -> Iterator[str]:
    x, y = frame.x(one.x), frame.y(one.y)
    if one.low is not None and one.high is not None:
        low, high = frame.y(one.low), frame.y(one.high)
        yield f'<line class="interval" x1="{x:.1f}" y1="{low:.1f}" x2="{x:.1f}" y2="{high:.1f}"/>'
    kind = one.kind if one.kind != "end" else f"end {'good' if passed else 'bad'}"
    yield (
        f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{4 if one.kind == "attempt" else 5}">'
        f"<title>{escaped(one.label)}: {one.y:.2f} at {number(one.x)}</title></circle>"
    )


def _labels(frame: Frame, points: Sequence[Point]) -> Iterator[str]:
    """The name of each stage beside its point, where no other name or point is in the way."""
    taken = [
        (frame.x(one.x) - 5, frame.y(one.y) - 5, frame.x(one.x) + 5, frame.y(one.y) + 5) for one in points
    ]
    for one in points:
        if one.kind == "attempt":
            continue
        x, y, wide = frame.x(one.x), frame.y(one.y), _LETTER_PX * len(one.label)
        places = [
            (x + _GAP_PX, y + 4),
            (x - _GAP_PX - wide, y + 4),
            (x - wide / 2, y - _GAP_PX),
            (x - wide / 2, y + _GAP_PX + _LINE_PX - 2),
            (x + _GAP_PX, y - _LINE_PX),
            (x + _GAP_PX, y + _LINE_PX + 6),
            (x - _GAP_PX - wide, y - _LINE_PX),
            (x - _GAP_PX - wide, y + _LINE_PX + 6),
        ]
        boxes = [(left, base - _LINE_PX + 2, left + wide, base + 2) for left, base in places]
        free = [place for place, box in zip(places, boxes, strict=True) if _fits(box, taken)]
        left, base = free[0] if free else places[0]
        left = min(max(left, LEFT), WIDTH - wide)
        taken.append((left, base - _LINE_PX + 2, left + wide, base + 2))
        yield f'<text class="name" x="{left:.1f}" y="{base:.1f}">{escaped(one.label)}</text>'


_Box = tuple[float, float, float, float]


def _fits(box: _Box, taken: Sequence[_Box]) -> bool:
    left, top, right, bottom = box
    if left < LEFT or right > WIDTH or top < 0 or bottom > HEIGHT - BOTTOM:
        return False
    return not any(
        left < other[2] and other[0] < right and top < other[3] and other[1] < bottom for other in taken
    )
