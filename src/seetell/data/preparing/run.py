"""``prepare``: read, measure, decide, score, decide again, write, report.

Every step's result is a function of the source and the options, and the slow ones are kept in pieces with the
digest of what they were made from. So a run that was stopped anywhere goes on by being run again, and one
with another threshold decodes nothing twice.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from seetell.core.errors import DataError, StorageError, UsageError
from seetell.core.files import atomic_write_bytes, atomic_write_text
from seetell.core.processors import usable_processors
from seetell.core.tracking import Track, untracked
from seetell.data.cleaning.languages import LanguageGuesser
from seetell.data.cleaning.limits import Limits
from seetell.data.cleaning.reasons import Reason
from seetell.data.parquet import parquet_bytes, require_parquet
from seetell.data.preparing import folder
from seetell.data.preparing.deciding import apply_scores, drop_silent, judge
from seetell.data.preparing.dividing import check_dividable, divided
from seetell.data.preparing.measuring import Looked, measure
from seetell.data.preparing.report import Outcome, report_page
from seetell.data.preparing.scoring import Captioner, Scorer, add_captions, add_scores
from seetell.data.preparing.writing import (
    Plan,
    fitting_index,
    plan_shards,
    source_state,
    storable,
    write_shards,
)
from seetell.data.sources.detect import Source, SourceOptions, read_source

DROPPED = (
    ("what", "string"),
    ("key", "string"),
    ("split", "string"),
    ("reason", "string"),
    ("detail", "string"),
    ("text", "string"),
    ("language", "string"),
    ("origin", "string"),
    ("score", "float64"),
)


@dataclass(frozen=True, slots=True)
class PrepareOptions:
    """How to prepare. workers: processes, None for one per core. val: the share of the photos, in 0..1, that
    is kept apart as the split ``val``; None leaves the source's splits. overwrite: replace data that was
    prepared to its end with other options, or from a source that has changed since."""

    source: SourceOptions = field(default_factory=SourceOptions)
    limits: Limits = field(default_factory=Limits)
    workers: int | None = None
    shard_samples: int = 1000
    shard_bytes: int = 256 * 1000 * 1000
    overwrite: bool = False
    val: float | None = None

    def __post_init__(self) -> None:
        if (self.workers is not None and self.workers < 1) or self.shard_samples < 1 or self.shard_bytes < 1:
            raise UsageError("--workers, --shard-samples and --shard-mb are at least 1")
        if self.val is not None and not 0 < self.val < 1:
            raise UsageError(f"--val: a share of the photos between 0 and 1, as in 0.1, not {self.val:g}")


def prepare(
    path: Path,
    out: Path,
    options: PrepareOptions | None = None,
    *,
    scorer: Scorer | None = None,
    captioner: Captioner | None = None,
    track: Track = untracked,
) -> dict[str, Any]:
    """Check, clean and shard what is in ``path``; nothing there is changed. Returns the summary, which also
    stands in ``out``, with ``skipped``, ``notes`` and ``unchanged`` beside it.

    scorer: scores captions; its scores are kept, and used where the limits say so. captioner: adds a caption
    to every photo (CapFilt).

    Raises:
        DataError: the source cannot be read, or nothing of it is left (the report says why).
        StorageError: ``out`` holds something else, is in use, or cannot be written.
        UsageError: options that contradict one another.
        MissingExtra: pyarrow or py3langid is not installed.
    """
    options = PrepareOptions() if options is None else options
    _check_options(options.limits, scorer, captioner)
    require_parquet()
    LanguageGuesser()
    started = time.monotonic()
    folder.check_places(path, out)
    source = read_source(path, options.source, track)
    if options.val is not None:
        check_dividable(source.samples)
    identity = folder.digest_of(
        [
            folder.FORMAT_VERSION,
            source_state(source.samples),
            asdict(options.limits),
            *(options.shard_samples, options.shard_bytes),
            None if scorer is None else [scorer.identity, scorer.measure],
            None if captioner is None else captioner.identity,
            # Only where it is asked for: what was prepared before there was such a thing stays as it is.
            *(() if options.val is None else (options.val,)),
        ]
    )
    with folder.held_folder(out):
        done = folder.read_summary(out)
        if done is not None and done.get("identity") == identity and _whole(out, done):
            return {**done, "skipped": source.skipped, "notes": source.notes, "unchanged": True}
        if done is not None and not options.overwrite:
            raise StorageError(
                f"{out} was prepared with other options or by an older seetell, or its source or files have "
                "changed since; --overwrite replaces it"
            )
        folder.remove_summary(out)
        outcome = _decide(source, out, options, scorer, captioner, track)
        plans = _write(out, options, outcome, track)
        atomic_write_text(out / folder.REPORT_NAME, report_page(outcome))
        if not plans:
            raise DataError(
                f"{path}: nothing is left of it{_why(outcome)}; more in {out / folder.REPORT_NAME}"
            )
        summary = _summary(outcome, plans, out, identity, time.monotonic() - started)
        folder.write_json(out / folder.SUMMARY_NAME, summary)
        return {**summary, "skipped": source.skipped, "notes": source.notes, "unchanged": False}


def _why(outcome: Outcome) -> str:
    """The counts by reason, an example of the most frequent one, and what is known besides."""
    counts = outcome.counts()
    reasons = counts.photo_reasons.most_common()
    said = ", ".join(
        f"{reason.value} {number:,}" for reason, number in reasons + counts.caption_reasons.most_common()
    )
    example = next((one.detail for one in outcome.verdicts if one.reason is reasons[0][0]), "")
    parts = [said, *([f"as in {example!r}"] if example else []), *outcome.source.notes]
    return f": {'; '.join(parts)}"


def _check_options(limits: Limits, scorer: Scorer | None, captioner: Captioner | None) -> None:
    threshold = limits.min_score is not None or limits.keep_fraction is not None
    if threshold and scorer is None:
        raise UsageError("--min-score and --keep-fraction need a model that scores; give --score-model")
    if captioner is not None and not (threshold and scorer is not None):
        raise UsageError(
            "CapFilt drops what matches badly; give --min-score X or --keep-fraction F with --capfilt"
        )


def _whole(out: Path, summary: dict[str, Any]) -> bool:
    """Whether every shard of a summary is there in its size, with its sidecar."""
    try:
        return all(
            (out / one["name"]).stat().st_size == one["size_bytes"]
            and fitting_index(out / one["name"], one["samples"], one["digest"]) is not None
            for part in summary["splits"].values()
            for one in part["shards"]
        )
    except (OSError, KeyError, TypeError, AttributeError):
        return False


def _decide(
    source: Source,
    out: Path,
    options: PrepareOptions,
    scorer: Scorer | None,
    captioner: Captioner | None,
    track: Track,
) -> Outcome:
    samples, limits = source.samples, options.limits
    workers = options.workers or usable_processors()
    looked: list[Looked | None] = [None] * len(samples)

    def looking() -> Iterator[None]:
        for first, chunk in measure(samples, out, limits.languages, workers):
            looked[first : first + len(chunk)] = chunk
            yield from [None] * len(chunk)

    for _ in track(looking(), "photos checked", len(samples)):
        pass
    seen = [one for one in looked if one is not None]
    verdicts = judge(samples, seen, limits)
    if captioner is not None:
        staying = sum(verdict.reason is None for verdict in verdicts)
        steps = add_captions(captioner, samples, seen, verdicts, limits, out)
        for _ in track(_each(steps), "captions written", staying):
            pass
    thresholds: dict[str, float] = {}
    if scorer is not None:
        staying = sum(verdict.reason is None and bool(verdict.kept_texts) for verdict in verdicts)
        for _ in track(_each(add_scores(scorer, samples, seen, verdicts, out)), "photos scored", staying):
            pass
        thresholds = apply_scores(verdicts, limits)
    drop_silent(samples, verdicts, limits)
    if options.val is not None:
        source = replace(source, samples=divided(samples, seen, verdicts, limits, options.val))
    return Outcome(
        source,
        tuple(seen),
        tuple(verdicts),
        limits,
        thresholds,
        scorer=None if scorer is None else f"{scorer.name}, {scorer.measure}",
        captioner=None if captioner is None else captioner.name,
        val=options.val,
    )


def _each(counts: Iterable[int]) -> Iterator[None]:
    for count in counts:
        yield from [None] * count


def _write(out: Path, options: PrepareOptions, outcome: Outcome, track: Track) -> list[Plan]:
    plans = plan_shards(
        out,
        outcome.source.samples,
        outcome.looked,
        outcome.verdicts,
        options.shard_samples,
        options.shard_bytes,
    )

    def writing() -> Iterator[None]:
        for plan in write_shards(plans, options.workers or usable_processors()):
            yield from [None] * len(plan.entries)

    for _ in track(writing(), "photos written", sum(len(plan.entries) for plan in plans)):
        pass
    folder.remove_shards(out, {path.name for plan in plans for path in (plan.tar, plan.sidecar)})
    rows = list(_dropped_rows(outcome))
    atomic_write_bytes(out / folder.DROPPED_NAME, parquet_bytes(rows, DROPPED, ""))
    return plans


def _dropped_rows(outcome: Outcome) -> Iterator[dict[str, Any]]:
    """Everything that was left out, one row each."""
    for broken in outcome.source.broken:
        yield {
            "what": "entry",
            "key": storable(broken.where),
            "reason": Reason.BROKEN_ENTRY.value,
            "detail": storable(broken.message),
        }
    for sample, verdict in zip(outcome.source.samples, outcome.verdicts, strict=True):
        where = {"key": storable(sample.key), "split": storable(sample.split)}
        if verdict.reason is not None:
            detail = storable(verdict.detail)
            yield {"what": "photo", **where, "reason": verdict.reason.value, "detail": detail}
        for text in verdict.texts:
            if text.reason is not None:
                yield {
                    "what": "caption",
                    **where,
                    "reason": text.reason.value,
                    "text": text.text,
                    "language": text.language,
                    "origin": text.origin,
                    "score": text.score,
                }


def _summary(outcome: Outcome, plans: list[Plan], out: Path, identity: str, seconds: float) -> dict[str, Any]:
    splits: dict[str, dict[str, Any]] = {}
    for plan in plans:
        part = splits.setdefault(plan.split, {"samples": 0, "shards": []})
        part["samples"] += len(plan.entries)
        part["shards"].append(
            {
                "name": plan.tar.name,
                "samples": len(plan.entries),
                "size_bytes": plan.tar.stat().st_size,
                "digest": plan.digest,
            }
        )
    counts = outcome.counts()
    return {
        "format": folder.FORMAT,
        "version": folder.FORMAT_VERSION,
        "source": str(outcome.source.path),
        "source_format": outcome.source.format,
        "photos": {"read": counts.photos, "kept": counts.photos_kept},
        "captions": {"read": counts.captions, "kept": counts.captions_kept},
        "generated": {"written": counts.generated, "kept": counts.generated_kept},
        "dropped_entries": len(outcome.source.broken),
        "dropped_photos": _words(counts.photo_reasons),
        "dropped_captions": _words(counts.caption_reasons),
        "score_thresholds": outcome.thresholds,
        "splits": splits,
        "report": str(out / folder.REPORT_NAME),
        "seconds": round(seconds, 2),
        "identity": identity,
    }


def _words(counts: Counter[Reason]) -> dict[str, int]:
    return {reason.value: number for reason, number in counts.most_common()}
