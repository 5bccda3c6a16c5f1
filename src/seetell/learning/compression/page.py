"""The report as one HTML page: what was lost, what was gained, and every setting that was tried, drawn."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from seetell.core.html_page import escaped, html_page
from seetell.learning.compression.plots import Point, scatter
from seetell.learning.compression.report import rows
from seetell.learning.compression.stages import Name

PAGE_NAME = "report.html"
# What a bundle is called that a stage has made.
_LEFT: dict[Name, str] = {
    "source": "as it was",
    "prune": "pruned",
    "merge": "tokens merged",
    "distil": "taught again",
    "quantize": "int8",
}
# Metrics that are drawn, and that stand as columns beside one another: those that lost most.
_MOST_DRAWN, _MOST_COLUMNS = 5, 6

_STYLE = """
h1 { font-size: 1.6rem; margin-bottom: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; }
.about, .note { opacity: .75; }
.about { margin-top: .2rem; }
.verdict { padding: .6rem 1rem; background: var(--soft); border-left: 5px solid var(--good); }
.verdict.bad { border-left-color: var(--bad); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .25rem .6rem; border-bottom: 1px solid var(--line);
 white-space: nowrap; }
th { font-weight: 600; font-size: 13px; opacity: .75; }
:is(th, td):first-child { text-align: left; padding-left: 0; }
td small { opacity: .7; }
tr.bad td:first-child { color: var(--bad); }
tr.attempt td { opacity: .7; }
.charts { display: flex; flex-wrap: wrap; gap: 1.5rem; }
.charts figure { margin: 0; }
.charts svg { max-width: 100%; height: auto; }
figcaption { font-weight: 600; font-size: 13px; }
svg text { font: 11px system-ui, sans-serif; fill: currentColor; opacity: .75; }
svg text.name { opacity: 1; }
svg .grid { stroke: var(--soft); }
svg .floor { stroke: var(--bad); stroke-dasharray: 5 4; }
svg .interval { stroke: currentColor; opacity: .45; }
svg .way { fill: none; stroke: currentColor; opacity: .3; }
svg circle { fill: var(--accent); }
svg circle.attempt { fill: none; stroke: var(--accent); stroke-width: 1.5; }
svg circle.good { fill: var(--good); }
svg circle.bad { fill: var(--bad); }
"""


def html_report(document: Mapping[str, Any]) -> str:
    """The page of a report, as :func:`report.document` gives it."""
    gate = document["gate"]
    about = f"quality on {gate['dataset']} · {document['machine']}"
    body = [
        f'<p class="about">{escaped(about)}</p>',
        _verdict(document),
        _quality(document["quality"]),
        *_drawn(document),
        _tried(document),
        _before_and_after(document),
        _methods(document["method"]),
    ]
    return html_page(f"{document['model']}, compressed", _STYLE, "\n".join(body))


def _verdict(document: Mapping[str, Any]) -> str:
    gate, worst = document["gate"], document["quality"][0]
    passed = gate["passed"]
    what = "Passed" if passed else "Refused, so no bundle was written"
    fell = (
        f"{worst['metric']} went from {_figure(worst['before'])} to {_figure(worst['after'])}; "
        f"{_figure(worst['allowed'])} points less are allowed"
    )
    unsure = "".join(f"<li>{escaped(line)}</li>" for line in gate["undecided"])
    return (
        f'<p class="verdict{"" if passed else " bad"}"><strong>{what}</strong> (at most '
        f"{escaped(gate['tolerance'])} lost): {escaped(fell)}. {escaped(_sentence(gate['costs_most']))} "
        f"{escaped(_sentence(gate['time']))}</p>{f'<ul>{unsure}</ul>' if unsure else ''}"
    )


def _quality(quality: Sequence[Mapping[str, Any]]) -> str:
    bad = ' class="bad"'
    lines = "".join(
        f"<tr{'' if row['passed'] else bad}><td>{escaped(row['metric'])}</td>"
        f"<td>{_measured(row['before'], row['before_interval'])}</td>"
        f"<td>{_measured(row['after'], row['after_interval'])}</td>"
        f"<td>{_measured(row['drop'], row['drop_interval'])}</td><td>{_figure(row['allowed'])}</td></tr>"
        for row in quality
    )
    return (
        '<h2>Quality</h2><div class="wide"><table><tr><th>metric</th><th>before</th><th>after</th>'
        f"<th>lost</th><th>allowed</th></tr>{lines}</table></div>"
        '<p class="note">Out of 100, with 95% intervals where photos were drawn; those of what was lost are '
        "of the same photos before and after.</p>"
    )


def _drawn(document: Mapping[str, Any]) -> Iterator[str]:
    yield "<h2>Quality against time and size</h2>"
    for row in document["quality"][:_MOST_DRAWN]:
        yield f'<div class="charts">{"".join(_pair(document, row))}</div>'
    left = len(document["quality"]) - _MOST_DRAWN
    more = f"{left} more metrics, which lost less, are not drawn. " if left > 0 else ""
    yield (
        f'<p class="note">{more}The line joins the stages in their order, rings are attempts at int8, '
        "below the dashed line is less than is allowed. Time is of one run of every graph: one photo, one "
        "question of 10 words, one word of a caption.</p>"
    )


def _pair(document: Mapping[str, Any], row: Mapping[str, Any]) -> Iterator[str]:
    floor = None if row["before"] is None else row["before"] - row["allowed"]
    for key, name, scale in (("latency_ms", "time, ms", 1.0), ("size_bytes", "size, MB", 1e-6)):
        points = list(_points(document, row["metric"], key, scale))
        drawing = scatter(points, name, row["metric"], floor, passed=row["passed"])
        yield f"<figure><figcaption>{escaped(row['metric'])}</figcaption>{drawing}</figure>"


def _points(document: Mapping[str, Any], metric: str, key: str, scale: float) -> Iterator[Point]:
    for one in document.get("tried", [])[:-1]:
        y = one["metrics"].get(metric)
        label = _attempt(one)
        yield Point(label, scale * one[key], math.nan if y is None else y, kind="attempt")
    stages = document["stages"]
    for number, stage in enumerate(stages):
        found = stage["quality"].get(metric)
        if found is None or found["value"] is None:
            continue
        low, high = found["interval"] or (None, None)
        is_end = number == len(stages) - 1
        label = _LEFT[stage["stage"]]
        kind: Any = "end" if is_end else "stage"
        yield Point(label, scale * stage[key], found["value"], low, high, kind)


def _tried(document: Mapping[str, Any]) -> str:
    metrics = [row["metric"] for row in document["quality"]][:_MOST_COLUMNS]
    head = "".join(f"<th>{escaped(metric)}</th>" for metric in metrics)
    lines = []
    attempts = document.get("tried", [])
    for stage in document["stages"]:
        if stage["stage"] == "quantize":
            lines += [_row(_attempt(one), "attempt", one["metrics"], one, metrics) for one in attempts[:-1]]
        values = {metric: found["value"] for metric, found in stage["quality"].items()}
        lines.append(_row(_LEFT[stage["stage"]], "", values, stage, metrics))
    return (
        f'<h2>Tried</h2><div class="wide"><table><tr><th></th>{head}<th>size</th><th>time</th>'
        f"<th>peak memory</th></tr>{''.join(lines)}</table></div>"
    )


def _row(
    name: str, kind: str, values: Mapping[str, Any], one: Mapping[str, Any], metrics: Sequence[str]
) -> str:
    cells = "".join(f"<td>{_figure(values.get(metric))}</td>" for metric in metrics)
    mark = f' class="{kind}"' if kind else ""
    return (
        f"<tr{mark}><td>{escaped(name)}</td>{cells}<td>{one['size_bytes'] / 1e6:.2f} MB</td>"
        f"<td>{one['latency_ms']:.2f} ms</td><td>{one['peak_memory_mb']:.0f} MB</td></tr>"
    )


def _attempt(one: Mapping[str, Any]) -> str:
    layers = one["layers"]
    return f"{layers['int8']} layers int8, {layers['weights']} int8 weights, {layers['float']} float"


def _before_and_after(document: Mapping[str, Any]) -> str:
    lines = "".join(
        f"<tr>{''.join(f'<td>{escaped(cell)}</td>' for cell in row)}</tr>"
        for row in rows({**document, "quality": []})
    )
    return (
        '<h2>Before and after</h2><div class="wide"><table><tr><th></th><th>before</th><th>after</th>'
        f"<th></th></tr>{lines}</table></div>"
    )


def _methods(method: Mapping[str, Any]) -> str:
    lines = "".join(
        f"<tr><td>{escaped(name)}</td><td>{escaped(value)}</td></tr>" for name, value in _told(method)
    )
    return f'<h2>How</h2><div class="wide"><table>{lines}</table></div>'


def _told(method: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What was asked for, one line each: of tables within, the plain entries."""
    for name, value in method.items():
        if isinstance(value, Mapping):
            plain = [f"{key} {_plain(one)}" for key, one in value.items() if not isinstance(one, Mapping)]
            yield name, ", ".join(plain)
        else:
            yield name, _plain(value)


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(_plain, value)) or "none"
    if isinstance(value, Mapping):
        return "(" + ", ".join(f"{key} {_plain(one)}" for key, one in value.items()) + ")"
    return "none" if value is None else str(value)


def _measured(value: float | None, interval: Sequence[float] | None) -> str:
    if interval is None:
        return _figure(value)
    return f"{_figure(value)} <small>{interval[0]:.2f} to {interval[1]:.2f}</small>"


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}." if text else ""
