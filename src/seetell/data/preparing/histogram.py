"""Histograms as SVG, for a page without scripts."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

import numpy as np

_WIDTH, _HEIGHT = 360, 150
_LEFT, _RIGHT, _TOP, _BOTTOM = 8, 8, 18, 20
_BINS = 36


def histogram(title: str, values: Sequence[float], marks: Sequence[tuple[str, float]] = ()) -> str:
    """A figure of how often which values occur, with thresholds as dashed lines; "" without values.

    The last hundredth of a long tail is gathered in the last bar, whose label then says "and more".
    """
    numbers = np.asarray([value for value in values if math.isfinite(value)], dtype=np.float64)
    if not len(numbers):
        return ""
    low, high = float(numbers.min()), float(numbers.max())
    cut = float(np.quantile(numbers, 0.99))
    tail = high > low + 3 * max(cut - low, 1e-9) and cut > low
    # A threshold that left something out is shown, however far out it lies.
    reached = max((value for _, value in marks if low <= value <= high), default=low)
    top = max(cut * 1.1, reached * 1.1) if tail and cut > 0 else high
    if top <= low:
        # One value alone still has a bar with some room beside it.
        low, top = low - 0.5, low + 0.5
    whole = bool((numbers == np.round(numbers)).all())
    if whole and top - low < _BINS:
        edges = np.arange(math.floor(low), math.ceil(top) + 2) - 0.5
    else:
        edges = np.linspace(low, top, _BINS + 1)
    counts, _ = np.histogram(np.minimum(numbers, edges[-1]), bins=edges)
    # A bar of one whole number is named by it, a bar of a range by where it begins and ends.
    inset = 0.5 if whole and len(edges) <= _BINS + 1 and edges[1] - edges[0] == 1 else 0.0
    return _figure(title, counts.tolist(), edges.tolist(), marks, tail, inset)


def _figure(
    title: str,
    counts: list[int],
    edges: list[float],
    marks: Sequence[tuple[str, float]],
    tail: bool,
    inset: float,
) -> str:
    inner = _WIDTH - _LEFT - _RIGHT
    floor = _HEIGHT - _BOTTOM
    tallest = max(counts)

    def x(value: float) -> float:
        return _LEFT + inner * (value - edges[0]) / (edges[-1] - edges[0])

    parts = []
    for count, left, right in zip(counts, edges[:-1], edges[1:], strict=True):
        if count:
            height = max(1.0, (floor - _TOP) * count / tallest)
            where = _number(left + inset) if inset else f"{_number(left)} to {_number(right)}"
            span = f"{where}: {count:,}"
            parts.append(
                f'<rect x="{x(left):.1f}" y="{floor - height:.1f}" '
                f'width="{max(1.0, x(right) - x(left) - 1):.1f}" height="{height:.1f}">'
                f"<title>{span}</title></rect>"
            )
    parts.append(f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{floor}" y2="{floor}"/>')
    first, last = edges[0] + inset, edges[-1] - inset
    middle = (first + last) / 2 if not inset else round((first + last) / 2)
    ends = [(first, "start"), (last, "end")] if middle in (first, last) else []
    for value, anchor in ends or [(first, "start"), (middle, "middle"), (last, "end")]:
        text = _number(value) + (" and more" if tail and value == last else "")
        parts.append(f'<text x="{x(value):.1f}" y="{_HEIGHT - 5}" text-anchor="{anchor}">{text}</text>')
    for name, value in marks:
        if edges[0] <= value <= edges[-1]:
            anchor = "start" if value < (edges[0] + edges[-1]) / 2 else "end"
            shift = 4 if anchor == "start" else -4
            label = f"{html.escape(name)} {_number(value)}"
            parts.append(
                f'<line class="mark" x1="{x(value):.1f}" x2="{x(value):.1f}" y1="4" y2="{floor}"/>'
                f'<text class="mark" x="{x(value) + shift:.1f}" y="12" text-anchor="{anchor}">{label}</text>'
            )
    return (
        f"<figure><figcaption>{html.escape(title)}</figcaption>"
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{html.escape(title)}, {sum(counts):,} values">'
        f"{''.join(parts)}</svg></figure>"
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
