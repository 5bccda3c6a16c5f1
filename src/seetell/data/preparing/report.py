"""The report: one HTML file with everything in it, so that a person sees what was left out and why."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from PIL import Image

from seetell.core.errors import ImageError
from seetell.core.html_page import escaped, html_page
from seetell.data.cleaning.limits import Limits
from seetell.data.cleaning.reasons import CAPTION_REASONS, MEANING, PHOTO_REASONS, Reason
from seetell.data.cleaning.texts import count_words
from seetell.data.photo_bytes import read_photo
from seetell.data.preparing.deciding import GENERATED, Text, Verdict
from seetell.data.preparing.histogram import histogram
from seetell.data.preparing.measuring import Looked
from seetell.data.preparing.report_style import STYLE
from seetell.data.sources.detect import Source
from seetell.media.images import decode_image

T = TypeVar("T")

# Pictures for each reason, spread evenly over all there are; of photos that stay as many.
EXAMPLES = 12
_THUMB_PX = 160
# Beyond these a text or a name says no more to somebody who looks a page over.
_MAX_SHOWN = 160


@dataclass(slots=True)
class Counts:
    """How many there were, stayed and went."""

    photos: int = 0
    photos_kept: int = 0
    captions: int = 0
    captions_kept: int = 0
    generated: int = 0
    generated_kept: int = 0
    photo_reasons: Counter[Reason] = field(default_factory=Counter)
    caption_reasons: Counter[Reason] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything a run found out. scorer, captioner: what to call them, None where there was none. val: the
    share that was to be kept apart."""

    source: Source
    looked: tuple[Looked, ...]
    verdicts: tuple[Verdict, ...]
    limits: Limits
    thresholds: dict[str, float]
    scorer: str | None = None
    captioner: str | None = None
    val: float | None = None

    def counts(self) -> Counts:
        """Photos and captions by what became of them. The captions of a photo that went count as read."""
        found = Counts(photos=len(self.verdicts))
        for verdict in self.verdicts:
            stays = verdict.reason is None
            found.photos_kept += stays
            if verdict.reason is not None:
                found.photo_reasons[verdict.reason] += 1
            for text in verdict.texts:
                kept = stays and text.reason is None
                if text.origin == GENERATED:
                    found.generated += 1
                    found.generated_kept += kept
                else:
                    found.captions += 1
                    found.captions_kept += kept
                if text.reason is not None:
                    found.caption_reasons[text.reason] += 1
        return found


def report_page(outcome: Outcome) -> str:
    """The page. Photos are read from the source for their thumbnails."""
    counts = outcome.counts()
    name = outcome.source.path.resolve().name or str(outcome.source.path)
    sections = [
        _split_table(outcome),
        _reason_table("Photos left out", PHOTO_REASONS, counts.photo_reasons, counts.photos),
        _reason_table(
            "Captions left out", CAPTION_REASONS, counts.caption_reasons, counts.captions + counts.generated
        ),
        _histograms(outcome),
        *_galleries(outcome),
        _broken_entries(outcome),
    ]
    body = [
        f'<div class="tiles">\n{_tiles(outcome, counts)}\n</div>',
        f'<ul class="settings">{_settings(outcome)}</ul>',
        *(section for section in sections if section),
    ]
    return html_page(f"{name}, prepared", STYLE, "\n".join(body))


def _shown(text: str) -> str:
    return escaped(text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 1] + "…")


def _tiles(outcome: Outcome, counts: Counts) -> str:
    tiles = [
        (f"{counts.photos_kept:,}", f"of {counts.photos:,} photos stay"),
        (f"{counts.captions_kept:,}", f"of {counts.captions:,} captions stay"),
    ]
    if outcome.captioner is not None:
        tiles.append((f"{counts.generated_kept:,}", f"of {counts.generated:,} written captions stay"))
    if outcome.source.broken:
        tiles.append((f"{len(outcome.source.broken):,}", "entries say nothing usable"))
    return "\n".join(
        f'<div class="tile"><b>{number}</b><span>{escaped(label)}</span></div>' for number, label in tiles
    )


def _settings(outcome: Outcome) -> str:
    limits = outcome.limits
    near = "off" if limits.near_distance is None else f"{limits.near_distance} of 64 bits"
    parts = [
        f"source {outcome.source.path} ({outcome.source.format})",
        f"--min-edge {limits.min_edge}",
        f"--max-aspect {limits.max_aspect:g}",
        f"--min-contrast {limits.min_contrast:g}",
        f"--near-distance {near}",
        f"--min-words {limits.min_words}",
        f"--max-words {limits.max_words}",
        f"--max-repeats {limits.max_repeats}",
    ]
    if limits.languages:
        parts.append(f"--languages {','.join(limits.languages)}")
    if outcome.val is not None:
        parts.append(f"--val {outcome.val:g}")
    if outcome.captioner is not None:
        parts.append(f"captions written by {outcome.captioner}")
    if outcome.scorer is not None:
        parts.append(f"scored by {outcome.scorer}")
    for language, threshold in sorted(outcome.thresholds.items()):
        parts.append(f"lowest score kept ({language}) {threshold:.4g}")
    return "".join(f"<li>{escaped(part)}</li>" for part in parts)


def _split_table(outcome: Outcome) -> str:
    read: Counter[str] = Counter()
    kept: Counter[str] = Counter()
    for sample, verdict in zip(outcome.source.samples, outcome.verdicts, strict=True):
        split = sample.split or ""
        read[split] += 1
        kept[split] += verdict.reason is None
    if set(read) <= {""}:
        return ""
    rows = "".join(
        f"<tr><td>{escaped(split) or '<i>none</i>'}</td><td>{read[split]:,}</td>"
        f"<td>{kept[split]:,}</td><td>{read[split] - kept[split]:,}</td></tr>"
        for split in sorted(read)
    )
    return (
        "<h2>Splits</h2><table class='numbers'><thead><tr><th>split</th><th>photos read</th><th>stay</th>"
        f"<th>left out</th></tr></thead><tbody>{rows}</tbody></table>"
    )


def _reason_table(title: str, reasons: Sequence[Reason], counts: Counter[Reason], total: int) -> str:
    rows = []
    largest = max((counts[reason] for reason in reasons), default=0)
    for reason in reasons:
        number = counts[reason]
        if not number:
            continue
        meaning, option = MEANING[reason]
        share = 100 * number / max(1, total)
        rounded = f"{share:.1f}" if share < 10 else f"{share:.0f}"
        rows.append(
            f'<tr><td><a href="#{reason.value}">{reason.value}</a></td><td>{number:,}</td>'
            f'<td>{rounded}%</td><td class="bar"><i style="width:{100 * number / largest:.1f}%"></i></td>'
            f"<td>{escaped(meaning)}</td><td>{f'<code>{option}</code>' if option else ''}</td></tr>"
        )
    if not rows:
        return f"<h2>{title}</h2><p>None.</p>"
    return (
        f"<h2>{title}</h2><table><thead><tr><th>reason</th><th>number</th><th>share</th><th></th>"
        f"<th>meaning</th><th>changed with</th></tr></thead><tbody>{''.join(rows)}</tbody></table>"
    )


def _histograms(outcome: Outcome) -> str:
    limits = outcome.limits
    photos = [seen.photo for seen in outcome.looked if seen.photo.fault is None]
    given = [text for verdict in outcome.verdicts for text in verdict.texts if text.text]
    edges = [min(photo.width, photo.height) for photo in photos]
    drawn = [
        histogram("Shorter edge, pixels", edges, marks=[("--min-edge", limits.min_edge)]),
        histogram(
            "Longer edge over shorter",
            [max(p.width, p.height) / max(1, min(p.width, p.height)) for p in photos],
            marks=[("--max-aspect", limits.max_aspect)],
        ),
        histogram(
            "Contrast, of 255", [p.contrast for p in photos], marks=[("--min-contrast", limits.min_contrast)]
        ),
        histogram("Size of a photo, kB", [p.size_bytes / 1000 for p in photos]),
        histogram(
            "Words of a caption",
            [count_words(text.text) for text in given],
            marks=[("--min-words", limits.min_words), ("--max-words", limits.max_words)],
        ),
        histogram(
            "Captions that stay, for each photo",
            [len(v.kept_texts) for v in outcome.verdicts if v.reason is None],
        ),
    ]
    scored: dict[tuple[str, str], list[float]] = {}
    for text in given:
        if text.score is not None:
            scored.setdefault((text.language, text.origin), []).append(text.score)
    for (language, origin), scores in sorted(scored.items()):
        threshold = outcome.thresholds.get(language)
        marks = [] if threshold is None else [("lowest kept", threshold)]
        drawn.append(histogram(f"Score of {origin} captions ({language})", scores, marks=marks))
    figures = "\n".join(one for one in drawn if one)
    return f'<h2>Distributions</h2><div class="charts">{figures}</div>' if figures else ""


def _galleries(outcome: Outcome) -> Iterator[str]:
    for reason in PHOTO_REASONS:
        places = [n for n, verdict in enumerate(outcome.verdicts) if verdict.reason is reason]
        if places:
            cards = (_photo_card(outcome, place) for place in _spread(places))
            yield _gallery(reason, len(places), cards)
    for reason in CAPTION_REASONS:
        found = [
            (place, text)
            for place, verdict in enumerate(outcome.verdicts)
            for text in verdict.texts
            if text.reason is reason
        ]
        if reason is Reason.LOW_SCORE:
            # Those that only just went are what a person must see to move the threshold.
            found.sort(key=lambda pair: -(pair[1].score or 0.0))
        if found:
            yield _gallery(
                reason, len(found), (_text_card(outcome, place, text) for place, text in _spread(found))
            )
    kept = [place for place, verdict in enumerate(outcome.verdicts) if verdict.reason is None]
    if kept:
        shown = "\n".join(_photo_card(outcome, place) for place in _spread(kept))
        yield f'<h2 id="kept">Some that stay</h2><div class="gallery">{shown}</div>'


def _gallery(reason: Reason, number: int, cards: Iterable[str]) -> str:
    meaning, option = MEANING[reason]
    change = f" Changed with <code>{option}</code>." if option else ""
    some = f", {EXAMPLES} of {number:,}" if number > EXAMPLES else f", {number:,}"
    return (
        f'<h2 id="{reason.value}">{reason.value}<small>{some}</small></h2>'
        f"<p>{escaped(meaning[0].upper() + meaning[1:])}.{change}</p>"
        f'<div class="gallery">{"".join(cards)}</div>'
    )


def _spread(items: Sequence[T]) -> list[T]:
    count = min(EXAMPLES, len(items))
    return [items[place * len(items) // count] for place in range(count)]


def _photo_card(outcome: Outcome, place: int) -> str:
    verdict, sample = outcome.verdicts[place], outcome.source.samples[place]
    pictures = _picture(outcome, place)
    if verdict.twin is not None:
        pictures += _picture(outcome, verdict.twin)
    said = [one.text for one in verdict.kept_texts] + [one.question for one in verdict.questions]
    lines = [f"<b>{_shown(sample.key)}</b>"]
    if verdict.detail:
        lines.append(f"<em>{_shown(verdict.detail)}</em>")
    if verdict.reason is None or verdict.twin is not None:
        lines.extend(_shown(text) for text in said[:2])
    if sample.label is not None:
        lines.append(f"label: {_shown(sample.label)}")
    return f'<figure><div class="pair">{pictures}</div><figcaption>{"<br>".join(lines)}</figcaption></figure>'


def _text_card(outcome: Outcome, place: int, text: Text) -> str:
    notes = [text.language] if text.text and text.language else []
    if text.origin == GENERATED:
        notes.append("written by the model")
    if text.score is not None:
        notes.append(f"score {text.score:.3f}")
    key = outcome.source.samples[place].key
    return (
        f'<figure><div class="pair">{_picture(outcome, place)}</div><figcaption>'
        f"{_shown(text.text) or '<i>empty</i>'}<br><em>{escaped(', '.join(notes))}</em>"
        f"<br><b>{_shown(key)}</b></figcaption></figure>"
    )


def _picture(outcome: Outcome, place: int) -> str:
    """A thumbnail, or a mark that there is none to see."""
    sample = outcome.source.samples[place]
    if outcome.looked[place].photo.fault is not None:
        return '<div class="none">cannot be shown</div>'
    try:
        data = _thumbnail(lambda: read_photo(sample.photo))
    except ImageError:
        return '<div class="none">has changed since</div>'
    return f'<img loading="lazy" alt="{_shown(sample.key)}" src="data:image/jpeg;base64,{data}">'


def _thumbnail(read: Callable[[], bytes]) -> str:
    image = Image.fromarray(decode_image(read(), min_size=(_THUMB_PX, _THUMB_PX)))
    image.thumbnail((_THUMB_PX, _THUMB_PX))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=75)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def _broken_entries(outcome: Outcome) -> str:
    broken = outcome.source.broken
    if not broken:
        return ""
    lines = "".join(f"<li>{_shown(one.message)}</li>" for one in broken[:50])
    more = f"<p>and {len(broken) - 50:,} more, in dropped.parquet</p>" if len(broken) > 50 else ""
    return f'<h2 id="{Reason.BROKEN_ENTRY.value}">Broken entries</h2><ul>{lines}</ul>{more}'
