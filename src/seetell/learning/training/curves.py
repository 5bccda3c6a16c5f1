"""A run as one HTML page: what it measured and what it lost, step by step, for any browser, offline."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seetell.core.files import atomic_write_text
from seetell.core.html_page import escaped, html_page
from seetell.evaluation.machine import describe_machine
from seetell.learning.drawing import Frame, drawing, grid, room
from seetell.learning.training.metrics_log import read_metrics

PAGE_NAME = "report.html"
# A page of more charts is not looked at; all figures stand in its table.
_MOST_DRAWN = 12
# More points than that are not told apart at the width of a chart.
_MOST_POINTS = 200
# Of the steps' own log, what is no loss.
_NOT_LOSSES = frozenset(
    {"step", "kind", "lr", "gradient_norm", "photos_per_s", "waiting_share", "padding_share", "mfu"}
    | {"skipped_photos"}
)

_STYLE = """
h1 { font-size: 1.6rem; margin-bottom: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; }
.about, .note { opacity: .75; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .25rem .8rem; border-bottom: 1px solid var(--line); }
:is(th, td):first-child { text-align: left; padding-left: 0; }
.charts { display: flex; flex-wrap: wrap; gap: 1.5rem; margin-top: 1.2rem; }
.charts figure { margin: 0; }
.charts svg { max-width: 100%; height: auto; }
figcaption { font-weight: 600; font-size: 13px; overflow-wrap: anywhere; }
svg text { font: 11px system-ui, sans-serif; fill: currentColor; opacity: .75; }
svg .grid { stroke: var(--soft); }
svg .line { fill: none; stroke: var(--accent); stroke-width: 2; }
svg .faint { fill: none; stroke: var(--accent); opacity: .25; }
svg circle { fill: var(--accent); }
"""


@dataclass(frozen=True, slots=True)
class Curve:
    """A figure over the steps it was taken after: (step, value), in order; each value is a number."""

    name: str
    points: tuple[tuple[int, float], ...]


def write_curves(folder: Path) -> None:
    """Write the page of a run's folder, where it has taken a step or measured. Raises StorageError."""
    rows = read_metrics(folder / "metrics.jsonl")
    if rows:
        atomic_write_text(folder / PAGE_NAME, curves_page(folder.resolve().name, rows))


def curves_page(name: str, rows: Sequence[dict[str, Any]]) -> str:
    """The page of a run called ``name`` with these rows of ``metrics.jsonl``, as text."""
    measured = _curves(rows, ("guard", "validate"))
    losses = _curves(rows, ("train",))
    last = max(int(row["step"]) for row in rows)
    about = f"{last} steps · {describe_machine()}"
    body = [f'<p class="about">{escaped(about)}</p>']
    if measured:
        body += ["<h2>Measured while it trained</h2>", _table(measured), _charts(measured)]
    if losses:
        rates = [curve for curve in _curves(rows, ("train",), losses=False) if curve.name == "lr"]
        body += [
            "<h2>Losses</h2>",
            _charts([*losses, *rates]),
            '<p class="note">Faint: every step. Strong: its average over a tenth of the run. A loss says how '
            "well the photos it learns from are learned, not how good the model is on others.</p>",
        ]
    return html_page(f"{name}, trained", _STYLE, "\n".join(body))


def _curves(rows: Sequence[dict[str, Any]], kinds: Sequence[str], *, losses: bool = True) -> list[Curve]:
    """Every figure of rows of these kinds. losses: without what stands beside the losses of a step."""
    found: dict[str, list[tuple[int, float]]] = {}
    for row in rows:
        if row.get("kind") in kinds:
            for name, value in row.items():
                is_number = isinstance(value, int | float) and math.isfinite(value)
                if is_number and name not in ("step", "kind") and not (losses and name in _NOT_LOSSES):
                    found.setdefault(name, []).append((int(row["step"]), float(value)))
    return [Curve(name, tuple(points)) for name, points in found.items()]


def _table(curves: Sequence[Curve]) -> str:
    lines = "".join(
        f"<tr><td>{escaped(one.name)}</td><td>{one.points[0][1]:.2f}</td><td>{one.points[-1][1]:.2f}</td>"
        f"<td>{max(value for _, value in one.points):.2f}</td>"
        f"<td>{max(one.points, key=lambda point: point[1])[0]}</td></tr>"
        for one in curves
    )
    return (
        "<table><tr><th>metric</th><th>first</th><th>last</th><th>highest</th><th>at step</th></tr>"
        f"{lines}</table>"
    )


def _charts(curves: Sequence[Curve]) -> str:
    figures = "".join(
        f"<figure><figcaption>{escaped(one.name)}</figcaption>{_chart(one)}</figure>"
        for one in curves[:_MOST_DRAWN]
    )
    left = len(curves) - _MOST_DRAWN
    more = f'<p class="note">{left} more are not drawn; metrics.jsonl has them.</p>' if left > 0 else ""
    return f'<div class="charts">{figures}</div>{more}'


def _chart(curve: Curve) -> str:
    frame = Frame(max(curve.points[-1][0], 1), *room([value for _, value in curve.points]))
    parts = list(grid(frame))
    if len(curve.points) > _MOST_POINTS // 4:
        parts += [
            _line(frame, _thinned(curve.points), "faint"),
            _line(frame, _smoothed(curve.points), "line"),
        ]
    else:
        parts.append(_line(frame, curve.points, "line"))
        parts += _dots(frame, curve.points)
    return drawing(parts, "step", curve.name)


def _line(frame: Frame, points: Sequence[tuple[int, float]], kind: str) -> str:
    corners = " ".join(f"{frame.x(step):.1f},{frame.y(value):.1f}" for step, value in points)
    return f'<polyline class="{kind}" points="{corners}"/>'


def _dots(frame: Frame, points: Sequence[tuple[int, float]]) -> Iterator[str]:
    for step, value in points:
        yield (
            f'<circle cx="{frame.x(step):.1f}" cy="{frame.y(value):.1f}" r="3">'
            f"<title>step {step}: {value:.4g}</title></circle>"
        )


def _thinned(points: Sequence[tuple[int, float]]) -> Sequence[tuple[int, float]]:
    return points[:: -(-len(points) // _MOST_POINTS)]


def _smoothed(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """The average of the tenth of the run that ends at each point."""
    width = max(1, len(points) // 10)
    sums = [0.0]
    for _, value in points:
        sums.append(sums[-1] + value)
    found = []
    for place, (step, _) in enumerate(points, 1):
        first = max(0, place - width)
        found.append((step, (sums[place] - sums[first]) / (place - first)))
    return list(_thinned(found))
