"""``seetell compress``: a bundle, smaller and faster, that has passed its gate; or an error and nothing."""

from __future__ import annotations

import dataclasses
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seetell.bundle.manifest import GateRecord, Manifest
from seetell.bundle.store import Bundle, open_bundle
from seetell.core.errors import GateFailed, UsageError
from seetell.core.files import atomic_folder
from seetell.learning.compression import report
from seetell.learning.compression.calibration import find_photos, read_texts
from seetell.learning.compression.footprint import measure_both
from seetell.learning.compression.gate import Compared, Tolerance, compare, failure
from seetell.learning.compression.manifests import write_manifest
from seetell.learning.compression.merging import check_mergeable, merge_tokens
from seetell.learning.compression.nncf_backend import Profile, import_nncf
from seetell.learning.compression.pruning.prune import Pruning, check_prunable, prune
from seetell.learning.compression.pruning.work import bundle_flops
from seetell.learning.compression.quality import Evaluate, Judge
from seetell.learning.compression.quantising import Quantisation

CARD_NAME = "README.md"
_CACHE_VARIABLE = "SEETELL_CACHE"


@dataclass(frozen=True, slots=True)
class Settings:
    """What is asked for.

    calibration: a folder of photos, None for int8 weights without int8 arithmetic. calibration_texts: a file,
    one text per line. calibration_count: photos used. profile: see ``nncf_backend``. quantize: to int8.
    prune: None for the model as it is. merge_tokens: in every block of the image encoder, 0 for none.
    """

    calibration: Path | None = None
    calibration_texts: Path | None = None
    calibration_count: int = 96
    profile: Profile = "portable"
    tolerance: Tolerance = field(default_factory=lambda: Tolerance(1.0, relative=True))
    quantize: bool = True
    prune: Pruning | None = None
    merge_tokens: int = 0


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
    overwrite: bool = False,
    say: Callable[[str], None] = lambda message: None,
) -> Result:
    """Write ``bundle`` pruned, with merged tokens, in int8, or all of it, to ``out``, if it passes the gate.

    Args:
        bundle: stays as it is.
        out: must not exist, unless ``overwrite``.
        settings: what to do.
        evaluate: measures a model on the user's data; None for the bundle's own check set.
        dataset: what that data is called in the manifest.
        overwrite: replace ``out``.
        say: told what is going on, one line each.

    Raises:
        UsageError: a bundle that holds int8 graphs already, or that what is asked for does not fit.
        DataError: calibration or evaluation data that cannot be used.
        GateFailed: the quality fell too far; nothing is written.
        StorageError: ``out`` exists or cannot be written.
    """
    _check_source(bundle, settings)
    with atomic_folder(out, overwrite=overwrite) as folder, _own_cache():
        job = _Job(bundle, folder, settings, Judge(bundle, evaluate, dataset, settings.tolerance), say)
        result = job.whole()
    return result


def _check_source(bundle: Bundle, settings: Settings) -> None:
    if bundle.has_int8:
        raise UsageError(
            f"{bundle.manifest.name} in {bundle.folder} is int8 already; compress the bundle it was made from"
        )
    if settings.merge_tokens:
        check_mergeable(bundle.manifest, settings.merge_tokens)
    if settings.prune is None:
        return
    check_prunable(bundle, settings.prune)
    if settings.calibration is None:
        raise UsageError("--prune needs --calibration DIR: what matters least is measured on photos")


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


@dataclass(frozen=True, slots=True)
class _Job:
    """One compression."""

    bundle: Bundle
    folder: Path
    settings: Settings
    judge: Judge
    say: Callable[[str], None]

    def whole(self) -> Result:
        # What can be found wrong at once comes before what takes long.
        photos, texts = self._calibration_data()
        if photos and self.settings.quantize:
            import_nncf()
        # What is made on the way lies apart: what lies in the folder at the end is what is shipped.
        with tempfile.TemporaryDirectory(prefix="seetell-smaller-", ignore_cleanup_errors=True) as scratch:
            quantisation = self._quantisation(self.bundle) if self.settings.quantize else None
            before = self.judge.quality(self.bundle)
            done, floats = self._smaller(Path(scratch), photos, texts)
            rows: list[Compared] = []
            if floats is not self.bundle:
                after = self.judge.quality(floats)
                # Of the check set: not what a smaller model no longer has in the shape recorded.
                before = {metric: one for metric, one in before.items() if metric in after}
                rows = compare(before, after, self.settings.tolerance)
                self._told(rows)
                if not all(row.passed for row in rows):
                    raise GateFailed(failure(self.bundle.manifest.name, rows, _costly(done)))
                done = dataclasses.replace(done, flops=(bundle_flops(self.bundle), bundle_flops(floats)))
            if quantisation is None:
                for path in floats.folder.iterdir():
                    shutil.copyfile(path, self.folder / path.name)
            else:
                if floats is not self.bundle:
                    quantisation = self._quantisation(floats)
                rows, quantised = quantisation.whole(photos, texts, before)
                done = dataclasses.replace(done, quantised=quantised)
        return self._finish(rows, done)

    def _smaller(self, scratch: Path, photos: list[Path], texts: list[str]) -> tuple[report.Done, Bundle]:
        """The bundle in floats, smaller if that was asked for, and what was done to it."""
        done, bundle = report.Done(), self.bundle
        if self.settings.prune is not None:
            pruned = prune(bundle, scratch / "pruned", self.settings.prune, photos, texts, self.say)
            done, bundle = dataclasses.replace(done, pruned=pruned), pruned.bundle
        if self.settings.merge_tokens:
            merged = merge_tokens(bundle, scratch / "merged", self.settings.merge_tokens, self.say)
            done, bundle = dataclasses.replace(done, merged=merged), merged.bundle
        return done, bundle

    def _calibration_data(self) -> tuple[list[Path], list[str]]:
        folder, texts, count = (
            self.settings.calibration,
            self.settings.calibration_texts,
            self.settings.calibration_count,
        )
        if folder is None:
            if texts is not None:
                raise UsageError("--calibration-texts goes with --calibration DIR, which names the photos")
            return [], []
        return find_photos(folder, count), [] if texts is None else read_texts(texts, count)

    def _quantisation(self, bundle: Bundle) -> Quantisation:
        return Quantisation(bundle, self.folder, self.judge, self.settings.profile, self.say)

    def _told(self, rows: list[Compared]) -> None:
        worst = rows[0]
        self.say(
            f"smaller: {worst.metric} {worst.before.value:.2f} -> {worst.after.value:.2f} "
            f"({worst.allowed:.2f} allowed)"
        )

    def _finish(self, rows: list[Compared], done: report.Done) -> Result:
        self.say("measuring time and memory")
        made = open_bundle(self.folder)
        before, after = measure_both((self.bundle.folder, "fp32"), (self.folder, done.runs_in))
        figures = report.Figures(
            rows=rows,
            before=before,
            after=after,
            size_before=self.bundle.size_bytes,
            size_after=made.size_bytes,
            tolerance=str(self.settings.tolerance),
            dataset=self.judge.dataset,
            name=self.bundle.manifest.name,
            done=done,
        )
        document = report.document(figures)
        worst = rows[0]
        manifest = made.manifest.model_copy(
            update={
                "measurements": report.measurements(figures),
                "gate": GateRecord(
                    passed=True,
                    tolerance=round(worst.allowed, 6),
                    metric=worst.metric,
                    drop=round(worst.drop, 6),
                    worst_layer=report.worst_layer(figures),
                ),
            }
        )
        (self.folder / report.REPORT_NAME).write_text(report.as_json(document), encoding="utf-8")
        card = self.bundle.folder / CARD_NAME
        told = card.read_text(encoding="utf-8") if card.exists() else f"# {manifest.name}\n"
        told = told.rstrip("\n") + "\n\n" + report.card_section(figures)
        (self.folder / CARD_NAME).write_text(told, encoding="utf-8")
        return Result(write_manifest(self.folder, manifest), document)


def _costly(done: report.Done) -> str:
    """Which part costs most, in words."""
    if done.pruned is None:
        return "merging fewer tokens costs less"
    first = next(iter(done.pruned.costly))
    return (
        f"by estimate {first} costs most ({done.pruned.costly[first]:.0%} of what was left out); let it by "
        "and teach it again (seetell train, init: OUT)"
    )
