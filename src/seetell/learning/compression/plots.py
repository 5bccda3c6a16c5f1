"""Quality against what it costs, as SVG: no script, and colours that follow the page's."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from seetell.core.html_page import escaped

_WIDTH, _HEIGHT = 460, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 18, 14, 44
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


@dataclass(frozen=True, slots=True)
class _Frame:
    """From values to pixels."""

    most_x: float
    least_y: float
    most_y: float

    def x(self, value: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * value / self.most_x

    def y(self, value: float) -> float:
        share = (value - self.least_y) / (self.most_y - self.least_y)
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * share


def scatter(points: Sequence[Point], x_name: str, y_name: str, floor: float | None, *, passed: bool) -> str:
    """Points over what they cost, from nothing on; ``floor`` is the least quality that is allowed.

    A point that is no number is left out.
    """
    shown = [one for one in points if math.isfinite(one.x) and math.isfinite(one.y)]
    levels = [one.y for one in shown]
    levels += [edge for one in shown for edge in (one.low, one.high) if edge is not None]
    if floor is not None and math.isfinite(floor):
        levels.append(floor)
    least_y, most_y = _room(levels or [0.0, 100.0])
    frame = _Frame(max([one.x for one in shown] or [1.0]) * 1.06 or 1.0, least_y, most_y)
    parts = [*_grid(frame), *_floor(frame, floor)]
    way = [one for one in shown if one.kind != "attempt"]
    corners = " ".join(f"{frame.x(one.x):.1f},{frame.y(one.y):.1f}" for one in way)
    parts.append(f'<polyline class="way" points="{corners}"/>')
    for one in shown:
        parts += _dot(frame, one, passed)
    parts += _labels(frame, shown)
    middle_y = (_TOP + _HEIGHT - _BOTTOM) / 2
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" role="img">'
        f"<title>{escaped(y_name)} over {escaped(x_name)}</title>{''.join(parts)}"
        f'<text class="axis" x="{(_LEFT + _WIDTH - _RIGHT) / 2}" y="{_HEIGHT - 6}" text-anchor="middle">'
        f"{escaped(x_name)}</text>"
        f'<text class="axis" x="{-middle_y}" y="12" text-anchor="middle" transform="rotate(-90)">'
        f"{escaped(y_name)}</text></svg>"
    )


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers from ``low`` to ``high``, a step of 1, 2 or 5 times a power of ten apart."""
    if not high > low:
        return [low]
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    step = next(power * factor for factor in (1, 2, 5, 10, 20) if (high - low) / (power * factor) <= most)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def _room(levels: Sequence[float]) -> tuple[float, float]:
    """A span with all levels in it and some air around them; never none."""
    low, high = min(levels), max(levels)
    air = max(0.12 * (high - low), 0.005 * abs(high), 0.05)
    return low - air, high + air


def _grid(frame: _Frame) -> Iterator[str]:
    left, right = frame.x(0), _WIDTH - _RIGHT
    top, bottom = _TOP, _HEIGHT - _BOTTOM
    for value in ticks(frame.least_y, frame.most_y):
        y = frame.y(value)
        yield f'<line class="grid" x1="{left}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}"/>'
        yield f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{_number(value)}</text>'
    for value in ticks(0.0, frame.most_x):
        x = frame.x(value)
        yield f'<line class="grid" x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{bottom}"/>'
        yield f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{_number(value)}</text>'


def _floor(frame: _Frame, floor: float | None) -> Iterator[str]:
    if floor is None or not math.isfinite(floor):
        return
    y = frame.y(floor)
    yield f'<line class="floor" x1="{_LEFT}" y1="{y:.1f}" x2="{_WIDTH - _RIGHT}" y2="{y:.1f}">'
    yield f"<title>allowed: {floor:.2f} or more</title></line>"


def _dot(frame: _Frame, one: Point, passed: bool) -> Iterator[str]:
    x, y = frame.x(one.x), frame.y(one.y)
    if one.low is not None and one.high is not None:
        low, high = frame.y(one.low), frame.y(one.high)
        yield f'<line class="interval" x1="{x:.1f}" y1="{low:.1f}" x2="{x:.1f}" y2="{high:.1f}"/>'
    kind = one.kind if one.kind != "end" else f"end {'good' if passed else 'bad'}"
    yield (
        f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{4 if one.kind == "attempt" else 5}">'
        f"<title>{escaped(one.label)}: {one.y:.2f} at {_number(one.x)}</title></circle>"
    )


def _labels(frame: _Frame, points: Sequence[Point]) -> Iterator[str]:
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
        left = min(max(left, _LEFT), _WIDTH - wide)
        taken.append((left, base - _LINE_PX + 2, left + wide, base + 2))
        yield f'<text class="name" x="{left:.1f}" y="{base:.1f}">{escaped(one.label)}</text>'


_Box = tuple[float, float, float, float]


def _fits(box: _Box, taken: Sequence[_Box]) -> bool:
    left, top, right, bottom = box
    if left < _LEFT or right > _WIDTH or top < 0 or bottom > _HEIGHT - _BOTTOM:
        return False
    return not any(
        left < other[2] and other[0] < right and top < other[3] and other[1] < bottom for other in taken
    )


def _number(value: float) -> str:
    return f"{value:.6g}" if value == 0 or abs(value) >= 0.001 else f"{value:.1e}"
