"""An Evaluation as one HTML page with everything in it, for any browser, offline.

Figures with their intervals, how far confidence can be believed, the labels it knows and confuses, and photos
of what the model did best and worst. No script and nothing fetched; whatever comes from files and models is
escaped where it is put in.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image

from seetell.core.errors import ImageError
from seetell.core.files import atomic_write_text
from seetell.core.html_page import escaped, html_page
from seetell.evaluation import charts
from seetell.evaluation.bootstrap import Estimate
from seetell.evaluation.calibration import Calibration
from seetell.evaluation.examples import Example, Examples
from seetell.evaluation.machine import describe_machine
from seetell.evaluation.report import figures, heading, remarks
from seetell.evaluation.runner import Evaluation
from seetell.evaluation.zero_shot import ZeroShotScores
from seetell.media.images import decode_image

_THUMBNAIL_PX = 320
_FEW_LABELS = 20
_MOST_FAILURES = 100
_WANTED = 3
# What people's side of an example is called, where it is more than the right answer.
_WANTED_NAME = {"image_to_text": "people", "captions": "people", "vqa": "people", "chair": "there"}

_STYLE = """
h1 { font-size: 1.6rem; margin-bottom: 0; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; }
h3 { font-size: 1rem; margin: 1.2rem 0 .5rem; }
.about, .note, figcaption .wanted, .verdict { opacity: .75; }
.about { margin-top: .2rem; }
ul.remarks { padding: .6rem 1rem .6rem 2rem; background: var(--soft); border-radius: 6px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .25rem .6rem .25rem 0; border-bottom: 1px solid var(--soft); }
th { font-weight: 600; opacity: .75; }
td.number, th.number { text-align: right; white-space: nowrap; }
td.wide { width: 40%; }
@media (max-width: 40rem) { :is(td, th).wide { display: none; } }
.bar { display: block; position: relative; height: .8rem; background: var(--soft); border-radius: 2px; }
.bar i { position: absolute; inset: 0 auto 0 0; background: var(--accent); border-radius: 2px; }
.bar b { position: absolute; top: .3rem; height: .2rem; background: currentColor; opacity: .75; }
.charts { display: flex; flex-wrap: wrap; gap: 2rem; }
.charts figure { margin: 0; max-width: 330px; }
svg text { font-size: 11px; fill: currentColor; opacity: .7; }
svg .grid { stroke: var(--soft); }
svg .fill { fill: var(--accent); }
svg .ideal { stroke: currentColor; stroke-dasharray: 4 4; opacity: .6; }
svg .line { fill: none; stroke: var(--accent); stroke-width: 2; }
svg .band { fill: var(--accent); opacity: .2; }
svg .dot { fill: currentColor; }
svg .ring { fill: none; stroke: var(--bad); stroke-width: 2; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(210px, 1fr)); gap: 1rem; }
.cards > figure { margin: 0; border: 1px solid var(--soft); border-top: 4px solid var(--good);
 border-radius: 6px; overflow: hidden; display: flex; flex-direction: column; }
.cards > figure.worst { border-top-color: var(--bad); }
.photos { display: flex; gap: 2px; background: var(--soft); }
.photos span { flex: 1 1 0; min-width: 0; position: relative; }
.photos img, .photos .gone { display: block; width: 100%; aspect-ratio: 4 / 3; object-fit: contain; }
.photos .gone { display: grid; place-items: center; opacity: .6; }
.photos.pair img, .photos.pair .gone { aspect-ratio: 1; }
.photos em { position: absolute; left: 0; bottom: 0; font: 11px system-ui; padding: 1px 6px; color: #fff;
 background: #000a; }
figcaption { font-size: 13px; padding: .5rem .7rem .6rem; overflow-wrap: anywhere; }
figcaption p { margin: 0 0 .25rem; }
figcaption .said { font-weight: 600; }
.verdict { font-size: 12px; }
.failed { font-size: 13px; overflow-wrap: anywhere; }
"""


def write_html_report(path: Path, evaluation: Evaluation) -> None:
    """Write the page. A photo that has gone since is shown as missing. Raises StorageError."""
    atomic_write_text(path, html_report(evaluation))


def html_report(evaluation: Evaluation) -> str:
    """The page as text."""
    texts = f"{evaluation.n_texts} texts"
    language = "" if evaluation.language is None else f" in {evaluation.language}"
    about = f"{evaluation.precision} · {evaluation.n_images} photos, {texts}{language} · {describe_machine()}"
    body = [
        _remarks(evaluation),
        _figures(evaluation),
        *_confidence(evaluation.calibration),
        *_labels(evaluation),
        *(_examples(one) for one in evaluation.examples if one.best or one.worst),
        _failures(evaluation),
    ]
    about_line = f'<p class="about">{escaped(about)}</p>'
    return html_page(evaluation.model, _STYLE, "\n".join([about_line, *(part for part in body if part)]))


def _remarks(evaluation: Evaluation) -> str:
    lines = "".join(f"<li>{escaped(line)}</li>" for line in remarks(evaluation))
    return f'<ul class="remarks">{lines}</ul>' if lines else ""


def _figures(evaluation: Evaluation) -> str:
    lines = []
    above = ""
    for one in figures(evaluation):
        shown, above = "" if one.heading == above else one.heading, one.heading
        bar = charts.interval_bar(one.estimate) if one.is_percent else ""
        lines.append(
            f"<tr><td>{_heading(shown)}</td><td>{escaped(one.name)}</td>"
            f'<td class="number"><strong>{one.value}</strong></td><td class="number">{one.interval}</td>'
            f'<td class="wide">{bar}</td></tr>'
        )
    return (
        '<h2>Figures</h2><table><tr><th></th><th>metric</th><th class="number">value</th>'
        f'<th class="number">95% interval</th><th class="wide"></th></tr>{"".join(lines)}</table>'
    )


def _confidence(found: Calibration | None) -> Iterator[str]:
    if found is None:
        return
    yield (
        '<h2>Confidence</h2><div class="charts">'
        f"<figure>{charts.reliability(found.bins)}<figcaption>How often it is right, by its confidence. On "
        "the dashed line confidence is true, below it it boasts. Faint bars hold few predictions."
        f"</figcaption></figure><figure>{charts.coverage_curve(found.curve, found.chosen)}"
        "<figcaption>How often it is right when it answers only what it is surest of."
        f"{' Ringed: the accuracy that was wished for.' if found.chosen else ''}</figcaption></figure></div>"
    )


def _labels(evaluation: Evaluation) -> Iterator[str]:
    found = evaluation.zero_shot or evaluation.own_labels
    if found is None:
        return
    yield "<h2>Labels</h2>"
    lines = "".join(
        f'<tr><td>{escaped(one.label)}</td><td class="number">{one.n_images}</td>'
        f'<td class="number">{one.top_1:.1f}</td><td class="wide">'
        f"{charts.interval_bar(Estimate(one.top_1, *one.interval))}</td>"
        f'<td class="number">{one.top_5:.1f}</td></tr>'
        for one in sorted(found.per_class, key=lambda one: (-one.top_1, one.label))
    )
    yield (
        f"<details{' open' if len(found.per_class) <= _FEW_LABELS else ''}>"
        f"<summary>{len(found.per_class)} labels</summary>"
        '<table><tr><th>label</th><th class="number">photos</th><th class="number">top-1</th>'
        '<th class="wide"></th>'
        f'<th class="number">top-5</th></tr>{lines}</table></details>'
    )
    yield from _confused(found)


def _confused(found: ZeroShotScores) -> Iterator[str]:
    if found.confused:
        lines = "".join(
            f"<tr><td>{escaped(one.label)}</td><td>{escaped(one.said)}</td>"
            f'<td class="number">{one.n_images}</td></tr>'
            for one in found.confused
        )
        yield (
            "<h3>Most often taken for another</h3><table><tr><th>label</th><th>taken for</th>"
            f'<th class="number">photos</th></tr>{lines}</table>'
        )


def _examples(examples: Examples) -> str:
    parts = [f"<h2>Examples: {_heading(heading(examples.part))}</h2>"]
    for kind, chosen in (("worst", examples.worst), ("best", examples.best)):
        if chosen:
            wanted = _WANTED_NAME.get(examples.part, "right")
            cards = "\n".join(_card(example, kind, wanted) for example in chosen)
            parts.append(f'<h3>{kind.capitalize()}</h3><div class="cards">{cards}</div>')
    return "\n".join(parts)


def _card(example: Example, kind: str, wanted: str) -> str:
    photos = [("", example.photo)]
    if example.found is not None and example.found != example.photo:
        photos = [("found", example.found), ("the right one", example.photo)]
    pair = " pair" if len(photos) > 1 else ""
    pictures = "".join(_picture(photo, label) for label, photo in photos)
    confidence = "" if example.confidence is None else f", confidence {100 * example.confidence:.0f}%"
    lines = [
        f"<p>{escaped(example.question)}</p>" if example.question else "",
        f'<p class="said">{escaped(example.said) or "(nothing)"}</p>' if example.wanted else "",
        f'<p class="wanted">{wanted}: {_wanted(example.wanted)}</p>' if example.wanted else "",
        f'<p class="verdict">{escaped(example.verdict)}{confidence}</p>',
    ]
    return (
        f'<figure class="{kind}" title="{escaped(str(example.photo))}">'
        f'<div class="photos{pair}">{pictures}</div>'
        f"<figcaption>{''.join(lines)}</figcaption></figure>"
    )


def _wanted(wanted: Sequence[str]) -> str:
    shown = " · ".join(escaped(text) for text in wanted[:_WANTED])
    return shown + (f" (+{len(wanted) - _WANTED})" if len(wanted) > _WANTED else "")


def _picture(photo: Path, label: str) -> str:
    name = f"<em>{label}</em>" if label else ""
    try:
        data = _thumbnail(photo)
    except ImageError:
        return f'<span><span class="gone">not there</span>{name}</span>'
    return f'<span><img src="data:image/jpeg;base64,{data}" alt="{escaped(photo.name)}">{name}</span>'


def _thumbnail(photo: Path) -> str:
    image = Image.fromarray(decode_image(photo, min_size=(_THUMBNAIL_PX, _THUMBNAIL_PX)))
    image.thumbnail((_THUMBNAIL_PX, _THUMBNAIL_PX))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def _failures(evaluation: Evaluation) -> str:
    if not evaluation.failed:
        return ""
    lines = "".join(f"<li>{escaped(str(one.error))}</li>" for one in evaluation.failed[:_MOST_FAILURES])
    more = len(evaluation.failed) - _MOST_FAILURES
    rest = f"<li>and {more} more</li>" if more > 0 else ""
    return f'<h2>Inputs that failed</h2><ul class="failed">{lines}{rest}</ul>'


def _heading(text: str) -> str:
    return escaped(text.replace("->", "→"))
