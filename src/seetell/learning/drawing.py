"""A drawing with axes as SVG: no script, and colours that follow the page's."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from seetell.core.html_page import escaped

WIDTH, HEIGHT = 460, 300
LEFT, RIGHT, TOP, BOTTOM = 52, 18, 14, 44


@dataclass(frozen=True, slots=True)
class Frame:
    """From values to pixels; x begins at nothing."""

    most_x: float
    least_y: float
    most_y: float

    def x(self, value: float) -> float:
        """Pixels from the left."""
        return LEFT + (WIDTH - LEFT - RIGHT) * value / self.most_x

    def y(self, value: float) -> float:
        """Pixels from the top."""
        share = (value - self.least_y) / (self.most_y - self.least_y)
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share


def drawing(parts: Sequence[str], x_name: str, y_name: str) -> str:
    """The parts of a drawing as one, with the names of its axes."""
    middle_y = (TOP + HEIGHT - BOTTOM) / 2
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img">'
        f"<title>{escaped(y_name)} over {escaped(x_name)}</title>{''.join(parts)}"
        f'<text class="axis" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 6}" text-anchor="middle">'
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
    return [place * step for place in range(first, last + 1)]


def room(levels: Sequence[float]) -> tuple[float, float]:
    """A span with all levels in it and some air around them; never none."""
    low, high = min(levels), max(levels)
    air = max(0.12 * (high - low), 0.005 * abs(high), 0.05)
    return low - air, high + air


def grid(frame: Frame) -> Iterator[str]:
    left, right = frame.x(0), WIDTH - RIGHT
    top, bottom = TOP, HEIGHT - BOTTOM
    for value in ticks(frame.least_y, frame.most_y):
        y = frame.y(value)
        yield f'<line class="grid" x1="{left}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}"/>'
        yield f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{number(value)}</text>'
    for value in ticks(0.0, frame.most_x):
        x = frame.x(value)
        yield f'<line class="grid" x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{bottom}"/>'
        yield f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{number(value)}</text>'


def floor_line(frame: Frame, floor: float | None) -> Iterator[str]:
    if floor is None or not math.isfinite(floor):
        return
    y = frame.y(floor)
    yield f'<line class="floor" x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}">'
    yield f"<title>allowed: {floor:.2f} or more</title></line>"


def number(value: float) -> str:
    return f"{value:.6g}" if value == 0 or abs(value) >= 0.001 else f"{value:.1e}"
