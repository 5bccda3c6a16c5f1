"""Small charts as SVG, for the HTML report: no script, and colours that follow the page's."""

from __future__ import annotations

from collections.abc import Sequence

from seetell.evaluation.bootstrap import Estimate
from seetell.evaluation.calibration import Bin, Point

_SIDE, _LEFT, _BOTTOM, _TOP, _RIGHT = 260, 40, 40, 10, 14


def interval_bar(one: Estimate) -> str:
    """A value in 0..100 as a bar, and its interval as a line over its end. HTML, as wide as there is room."""
    low, high, value = (_within(each) for each in (one.low, one.high, one.value))
    return (
        f'<span class="bar"><i style="width:{value:.2f}%"></i>'
        f'<b style="left:{low:.2f}%;width:{high - low:.2f}%"></b></span>'
    )


def reliability(bins: Sequence[Bin]) -> str:
    """Accuracy over confidence: on the dashed line confidence can be believed, below it it boasts."""
    most = max((one.n for one in bins), default=0) or 1
    bars = []
    for one in bins:
        if not one.n:
            continue
        left, right = _x(100 * one.low), _x(100 * one.high)
        top = _y(one.accuracy)
        # A bin of a few predictions says little and is drawn faintly.
        opacity = 0.25 + 0.75 * (one.n / most) ** 0.5
        bars.append(
            f'<rect class="fill" x="{left + 1:.1f}" y="{top:.1f}" width="{right - left - 2:.1f}" '
            f'height="{_y(0) - top:.1f}" opacity="{opacity:.2f}"><title>{one.n} predictions: confidence '
            f"{one.confidence:.1f}%, right {one.accuracy:.1f}%</title></rect>"
            f'<circle class="dot" cx="{_x(one.confidence):.1f}" cy="{top:.1f}" r="2.5"/>'
        )
    line = f'<line class="ideal" x1="{_x(0)}" y1="{_y(0)}" x2="{_x(100)}" y2="{_y(100)}"/>'
    return _frame("confidence %", "right %", "".join(bars) + line)


def coverage_curve(points: Sequence[Point], chosen: Point | None = None) -> str:
    """Accuracy over the share that is answered, with its interval; ``chosen`` is ringed."""
    ordered = sorted(points, key=lambda one: one.coverage)
    upper = " ".join(f"{_x(one.coverage):.1f},{_y(one.accuracy.high):.1f}" for one in ordered)
    lower = " ".join(f"{_x(one.coverage):.1f},{_y(one.accuracy.low):.1f}" for one in reversed(ordered))
    middle = " ".join(f"{_x(one.coverage):.1f},{_y(one.accuracy.value):.1f}" for one in ordered)
    dots = "".join(
        f'<circle class="dot" cx="{_x(one.coverage):.1f}" cy="{_y(one.accuracy.value):.1f}" r="3">'
        f"<title>from confidence {one.threshold:.3f}: {one.coverage:.1f}% answered, "
        f"{one.accuracy.value:.1f}% right</title></circle>"
        for one in ordered
    )
    ring = ""
    if chosen is not None:
        ring = (
            f'<circle class="ring" cx="{_x(chosen.coverage):.1f}" cy="{_y(chosen.accuracy.value):.1f}" r="7">'
            f"<title>from confidence {chosen.threshold:.4f}</title></circle>"
        )
    band = f'<polygon class="band" points="{upper} {lower}"/>'
    return _frame("answered %", "right %", f'{band}<polyline class="line" points="{middle}"/>{dots}{ring}')


def _frame(x_name: str, y_name: str, inside: str) -> str:
    ticks = "".join(
        f'<line class="grid" x1="{_x(0)}" y1="{_y(at)}" x2="{_x(100)}" y2="{_y(at)}"/>'
        f'<text x="{_x(0) - 6}" y="{_y(at) + 4}" text-anchor="end">{at}</text>'
        f'<text x="{_x(at)}" y="{_y(0) + 16}" text-anchor="middle">{at}</text>'
        for at in (0, 25, 50, 75, 100)
    )
    width, height = _LEFT + _SIDE + _RIGHT, _TOP + _SIDE + _BOTTOM
    middle = 'y="11" text-anchor="middle" transform="rotate(-90)"'
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">{ticks}{inside}'
        f'<text class="axis" x="{_x(50)}" y="{height - 4}" text-anchor="middle">{x_name}</text>'
        f'<text class="axis" x="{-_y(50)}" {middle}>{y_name}</text>'
        "</svg>"
    )


def _within(value: float) -> float:
    return min(100.0, max(0.0, value))


def _x(percent: float) -> float:
    return _LEFT + _SIDE * _within(percent) / 100


def _y(percent: float) -> float:
    return _TOP + _SIDE * (1 - _within(percent) / 100)
