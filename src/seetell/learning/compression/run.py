"""``seetell compress``: a bundle, smaller and faster, that has passed its gate; or an error and nothing."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from seetell.bundle.manifest import MANIFEST_NAME, GateRecord, Manifest
from seetell.bundle.store import Bundle
from seetell.core.errors import GateFailed
from seetell.core.files import atomic_folder, atomic_write_text, storage_error
from seetell.learning.compression.card import card_section, measurements
from seetell.learning.compression.costs import worst_layer
from seetell.learning.compression.footprint import measure_both
from seetell.learning.compression.gate import failure
from seetell.learning.compression.job import Job
from seetell.learning.compression.manifests import write_manifest
from seetell.learning.compression.packing import beside_floats, float_files
from seetell.learning.compression.page import PAGE_NAME, html_report
from seetell.learning.compression.quality import Evaluate, Judge
from seetell.learning.compression.report import REPORT_NAME, Figures, as_json
from seetell.learning.compression.report import document as describe
from seetell.learning.compression.settings import Settings
from seetell.learning.compression.workplace import (
    Workplace,
    check_places,
    check_report,
    held_workplace,
)

CARD_NAME = "README.md"
_CACHE_VARIABLE = "SEETELL_CACHE"
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True, slots=True)
class Result:
    """What was done. document: the report, plain types; what ``compression.json`` holds."""

    manifest: Manifest
    document: dict[str, Any]


def compress(
    bundle: Bundle,
    out: Path,
    settings: Settings,
    *,
    evaluate: Evaluate | None = None,
    dataset: str = "check set",
    facts: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    work: Path | None = None,
    report: Path | None = None,
    say: Callable[[str], None] = lambda message: None,
) -> Result:
    """Write ``bundle`` pruned, with merged tokens, taught again, in int8, or all of it, to ``out``, if it
    passes the gate.

    A run of several stages that is stopped, or refused, leaves them in ``work``; the same call takes up from
    there.

    Args:
        bundle: stays as it is.
        out: must not exist, unless ``overwrite``.
        settings: what to do.
        evaluate: measures a model on the user's data; None for the bundle's own check set.
        dataset: what that data is called in the manifest.
        facts: what tells that data from other data, plain types; without them nothing that was measured by an
            earlier run counts.
        overwrite: replace ``out``.
        work: where stages are kept; None for a folder beside ``out``.
        report: an HTML file to write the report to, and beside it one of the same name that ends in .json,
            whether the gate lets the bundle by or not; ``out`` has both in any case.
        say: told what is going on, one line each.

    Raises:
        UsageError: a bundle that holds int8 graphs already, or that what is asked for does not fit.
        DataError: calibration or evaluation data that cannot be used.
        GateFailed: the quality fell too far; nothing is written.
        StorageError: ``out`` exists or cannot be written, or another process is making it.
        KeyboardInterrupt: a signal has stopped the training.
    """
    # Of `.` and the like the name is not in the path.
    named = out if out.name not in ("", "..") else out.resolve()
    kept_in = work if work is not None else named.parent / f"{named.name}.stages"
    settings.check(bundle)
    check_places(bundle.folder, out, kept_in, overwrite)
    if report is not None:
        check_report(report, out)
    judge = Judge(bundle, evaluate, dataset, settings.tolerance, {} if evaluate is None else facts)
    several = len(settings.stages) > 1
    with held_workplace(kept_in, out, keep=several) as place, _own_cache(), _stopped(place, several, say):
        job = Job(bundle, settings, judge, place, say)
        job.prepare()
        made = job.whole()
        if made is not None:
            _measure_in_turns(job, made)
        beside = float_files(bundle) if settings.keep_floats else []
        figures = Figures(
            job.stages,
            job.rows,
            str(settings.tolerance),
            dataset,
            bundle.manifest.name,
            sum(bundle.path(name).stat().st_size for name in beside),
        )
        document = describe(figures)
        if report is not None:
            atomic_write_text(report, html_report(document))
            atomic_write_text(report.with_suffix(".json"), as_json(document))
        if made is None:
            stays = f"; {kept_in} keeps the stages for another try" if several else ""
            costly = f"{document['gate']['costs_most']}; {document['gate']['time']}"
            raise GateFailed(failure(figures.name, figures.rows, costly) + stays)
        with atomic_folder(out, overwrite=overwrite) as folder:
            return Result(
                _write(folder, bundle, made, figures, document, keep_floats=settings.keep_floats), document
            )


def _write(
    folder: Path,
    source: Bundle,
    made: Bundle,
    figures: Figures,
    document: Mapping[str, Any],
    *,
    keep_floats: bool,
) -> Manifest:
    """Put what was made into ``folder``, and what is known of it."""
    for path in made.folder.iterdir():
        if path.name not in (MANIFEST_NAME, CARD_NAME, REPORT_NAME, PAGE_NAME):
            _link(path, folder / path.name)
    graphs = beside_floats(folder, source, made) if keep_floats else made.manifest.graphs
    worst = figures.rows[0]
    manifest = made.manifest.model_copy(
        update={
            "graphs": graphs,
            "measurements": measurements(figures),
            "gate": GateRecord(
                passed=True,
                tolerance=round(worst.allowed, 6),
                metric=worst.metric,
                drop=round(worst.drop, 6),
                worst_layer=worst_layer(figures.stages),
            ),
        }
    )
    (folder / REPORT_NAME).write_text(as_json(document), encoding="utf-8")
    (folder / PAGE_NAME).write_text(html_report(document), encoding="utf-8")
    card = source.folder / CARD_NAME
    told = card.read_text(encoding="utf-8") if card.exists() else f"# {manifest.name}\n"
    told = told.rstrip("\n") + "\n\n" + card_section(figures)
    (folder / CARD_NAME).write_text(told, encoding="utf-8")
    return write_manifest(folder, manifest)


def _link(source: Path, target: Path) -> None:
    """A second name for a file, which needs no room; a copy where the file system has no such thing."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _measure_in_turns(job: Job, made: Bundle) -> None:
    """Measure time and memory of the source and of what was made side by side, as the figures that count."""
    job.say("measuring time and memory")
    last = job.stages[-1]
    before, after = measure_both((job.source.folder, "fp32"), (made.folder, last.precision))
    job.stages[0] = replace(job.stages[0], footprint=before)
    job.stages[-1] = replace(last, footprint=after)


@contextmanager
def _stopped(place: Workplace, several: bool, say: Callable[[str], None]) -> Iterator[None]:
    """What stops a run is answered: a full disk, whichever file met it, with an error of ours, a signal with
    where to go on from."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise storage_error(error, place.folder) from error
    except (KeyboardInterrupt, SystemExit):
        if several and place.holds_stages:
            say(f"stopped; the same command goes on with what {place.folder} keeps")
        raise


@contextmanager
def _own_cache() -> Iterator[None]:
    """Compiled graphs of what is tried are kept apart and thrown away: nobody will run them again."""
    before = os.environ.get(_CACHE_VARIABLE)
    with tempfile.TemporaryDirectory(prefix="seetell-compress-", ignore_cleanup_errors=True) as cache:
        os.environ[_CACHE_VARIABLE] = cache
        try:
            yield
        finally:
            if before is None:
                os.environ.pop(_CACHE_VARIABLE, None)
            else:
                os.environ[_CACHE_VARIABLE] = before
