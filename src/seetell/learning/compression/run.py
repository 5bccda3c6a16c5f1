"""``seetell compress``: a bundle, smaller and faster, that has passed its gate; or an error and nothing."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seetell.bundle.check import CHECK_NAME, read_check
from seetell.bundle.manifest import MANIFEST_NAME, GateRecord, GraphSpec, Manifest, manifest_json
from seetell.bundle.store import TOKENIZER_NAME, Bundle, file_record, open_bundle
from seetell.core.errors import DataError, ExportError, GateFailed, UsageError
from seetell.core.files import atomic_folder
from seetell.evaluation.bootstrap import Estimate
from seetell.evaluation.runner import Evaluation
from seetell.learning.compression import report
from seetell.learning.compression.calibration import Calibration, find_photos, read_texts, record
from seetell.learning.compression.footprint import measure_both
from seetell.learning.compression.gate import (
    Compared,
    Tolerance,
    agreement,
    compare,
    failure,
    main_metrics,
)
from seetell.learning.compression.graphs import WorkingGraph, read_graph
from seetell.learning.compression.levels import Level
from seetell.learning.compression.nncf_backend import Profile, import_nncf, quantise
from seetell.learning.compression.packing import Packed, pack
from seetell.learning.compression.sensitivity import LayerError, rank_layers
from seetell.learning.compression.smoothing import smooth
from seetell.runtime.engine import Arrays
from seetell.runtime.select import choose_engine
from seetell.tasks.model import Model, load

CARD_NAME = "README.md"
_CACHE_VARIABLE = "SEETELL_CACHE"
# Of the quantised weights so many bytes must stay int8, or compressing has achieved nothing.
_LEAST_SHARE = 0.5
Evaluate = Callable[[Model], Sequence[Evaluation]]


@dataclass(frozen=True, slots=True)
class Settings:
    """What is asked for.

    calibration: a folder of photos, None for int8 weights without int8 arithmetic. calibration_texts: a file,
    one text per line. calibration_count: photos used. profile: see ``nncf_backend``.
    """

    calibration: Path | None = None
    calibration_texts: Path | None = None
    calibration_count: int = 96
    profile: Profile = "portable"
    tolerance: Tolerance = field(default_factory=lambda: Tolerance(1.0, relative=True))


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
    """Write ``bundle`` in int8 to the folder ``out``, if it passes the gate.

    Args:
        bundle: stays as it is.
        out: must not exist, unless ``overwrite``.
        settings: what to do.
        evaluate: measures a model on the user's data; None for the bundle's own check set.
        dataset: what that data is called in the manifest.
        overwrite: replace ``out``.
        say: told what is going on, one line each.

    Raises:
        UsageError: a bundle that holds int8 graphs already, or none of the roles has a layer to quantise.
        DataError: calibration or evaluation data that cannot be used.
        GateFailed: the quality fell too far; nothing is written.
        StorageError: ``out`` exists or cannot be written.
    """
    _check_source(bundle)
    with atomic_folder(out, overwrite=overwrite) as folder, _own_cache():
        run = _Run(bundle, folder, settings, evaluate, dataset, say)
        result = run.whole()
    return result


def _check_source(bundle: Bundle) -> None:
    if bundle.has_int8:
        raise UsageError(
            f"{bundle.manifest.name} in {bundle.folder} is int8 already; compress the bundle it was made from"
        )


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


class _Run:
    """One compression: what is known so far."""

    def __init__(
        self,
        bundle: Bundle,
        folder: Path,
        settings: Settings,
        evaluate: Evaluate | None,
        dataset: str,
        say: Callable[[str], None],
    ) -> None:
        self.bundle, self.folder, self.settings = bundle, folder, settings
        self.evaluate, self.dataset, self.say = evaluate, dataset, say
        self.graphs: dict[str, WorkingGraph] = {}
        self.calibrated: dict[str, Any] = {}
        self.calibration = Calibration()
        self.smoothed = 0
        self.tried: list[dict[str, Any]] = []

    def whole(self) -> Result:
        # What can be found wrong at once comes before what takes long.
        photos, texts = self._calibration_data()
        if photos:
            import_nncf()
        self._read()
        before = self._quality(self.bundle)
        self._calibrate(photos, texts)
        levels = self._first_levels()
        ranking: list[LayerError] = []
        rows, packed = self._try(levels, before)
        if not all(row.passed for row in rows):
            self.say("measuring what each layer costs")
            ranking = rank_layers(self.graphs, self.calibrated, self._samples(), levels)
            rows, packed, levels = self._raise_until_passed(levels, ranking, rows, before)
        return self._finish(rows, packed, levels, ranking)

    # --- steps ------------------------------------------------------------------------------------------

    def _read(self) -> None:
        manifest = self.bundle.manifest
        for role in manifest.graphs:
            self.graphs[role] = read_graph(self.bundle.graph_path(role), role)
        if not any(graph.layers for graph in self.graphs.values()):
            raise UsageError(f"{manifest.name}: none of its graphs has a layer that int8 fits")

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

    def _calibrate(self, photos: Sequence[Path], texts: Sequence[str]) -> None:
        if not photos:
            self.say("no calibration photos: int8 weights, arithmetic in floats")
            return
        self.say(f"running {len(photos)} photos to see what activations look like")
        self.calibration = found = record(self.bundle, photos, texts)
        for one in found.failed:
            self.say(f"left out: {one.error}")
        samples = found.samples
        self.smoothed = smooth(self.graphs, samples)
        for role, graph in self.graphs.items():
            if not any(layer.data is not None for layer in graph.layers):
                continue
            if not samples.get(role):
                self.say(f"{role}: nothing here runs it, so int8 weights only; give --calibration-texts F")
                continue
            self.say(f"{role}: calibrating {len(graph.layers)} layers")
            try:
                self.calibrated[role] = quantise(graph, samples[role], self.settings.profile)
            except (ValueError, RuntimeError, KeyError, IndexError) as error:
                reason = str(error).splitlines()[0][:160] if str(error) else type(error).__name__
                raise ExportError(f"{role}: NNCF cannot calibrate this graph ({reason})") from error

    def _first_levels(self) -> dict[str, Level]:
        """int8 where every graph that computes with a layer was calibrated, else int8 weights, as tables
        have, which nothing computes with."""
        able: set[str] = set()
        unable: set[str] = set()
        for role, graph in self.graphs.items():
            computes = {layer.source for layer in graph.layers if layer.data is not None}
            (able if role in self.calibrated else unable).update(computes)
        return {
            layer.source: "int8" if layer.source in able - unable else "weights"
            for graph in self.graphs.values()
            for layer in graph.layers
        }

    def _try(
        self, levels: Mapping[str, Level], before: Mapping[str, Estimate]
    ) -> tuple[list[Compared], Packed]:
        """Write the bundle at these levels and measure it."""
        packed = self._write(levels)
        rows = compare(before, self._quality(open_bundle(self.folder)), self.settings.tolerance)
        counts = {
            level: sum(one == level for one in levels.values()) for level in ("int8", "weights", "float")
        }
        self.tried.append(
            {
                "layers": counts,
                "weights_bytes": sum(packed.weights_bytes.values()),
                "metrics": {row.metric: round(row.after.value, 4) for row in rows},
                "passed": all(row.passed for row in rows),
            }
        )
        worst = rows[0]
        self.say(
            f"{counts['int8']} layers int8, {counts['weights']} int8 weights, {counts['float']} float: "
            f"{worst.metric} {worst.before.value:.2f} -> {worst.after.value:.2f} "
            f"({worst.allowed:.2f} allowed)"
        )
        return rows, packed

    def _raise_until_passed(
        self,
        start: Mapping[str, Level],
        ranking: Sequence[LayerError],
        rows: list[Compared],
        before: Mapping[str, Estimate],
    ) -> tuple[list[Compared], Packed, dict[str, Level]]:
        """Give the most sensitive layers more precision, more of them each time, until the gate lets it by.

        First float arithmetic on int8 weights, which keeps the size; then float weights.
        """
        order = [one.source for one in ranking]
        order += sorted(set(start) - set(order))
        for levels in raised(start, order):
            if self._int8_share(levels) < _LEAST_SHARE:
                break
            rows, packed = self._try(levels, before)
            if all(row.passed for row in rows):
                return rows, packed, levels
        raise GateFailed(failure(self.bundle.manifest.name, rows, costly(ranking)))

    def _finish(
        self,
        rows: list[Compared],
        packed: Packed,
        levels: Mapping[str, Level],
        ranking: Sequence[LayerError],
    ) -> Result:
        self.say("measuring time and memory")
        before, after = measure_both((self.bundle.folder, "fp32"), (self.folder, "int8"))
        figures = report.Figures(
            rows=rows,
            before=before,
            after=after,
            packed=packed,
            size_before=self.bundle.size_bytes,
            size_after=open_bundle(self.folder).size_bytes,
            levels=levels,
            ranking=ranking,
            tried=self.tried,
            calibration=self.calibration,
            profile=self.settings.profile,
            smoothed=self.smoothed,
            tolerance=str(self.settings.tolerance),
            dataset=self.dataset,
            name=self.bundle.manifest.name,
        )
        document = report.document(figures)
        worst = rows[0]
        manifest = read_back(self.folder).model_copy(
            update={
                "measurements": report.measurements(figures),
                "gate": GateRecord(
                    passed=True,
                    tolerance=round(worst.allowed, 6),
                    metric=worst.metric,
                    drop=round(worst.drop, 6),
                    worst_layer=ranking[0].source if ranking else None,
                ),
            }
        )
        (self.folder / report.REPORT_NAME).write_text(report.as_json(document), encoding="utf-8")
        card = self.folder / CARD_NAME
        told = card.read_text(encoding="utf-8") if card.exists() else f"# {manifest.name}\n"
        card.write_text(told.rstrip("\n") + "\n\n" + report.card_section(figures), encoding="utf-8")
        manifest = _with_files(self.folder, manifest)
        (self.folder / MANIFEST_NAME).write_text(manifest_json(manifest), encoding="utf-8")
        return Result(manifest, document)

    # --- helpers ----------------------------------------------------------------------------------------

    def _write(self, levels: Mapping[str, Level]) -> Packed:
        source = self.bundle
        for path in list(self.folder.iterdir()):
            path.unlink()
        packed = pack(self.folder, self.graphs, self.calibrated, levels)
        for name in (TOKENIZER_NAME, CHECK_NAME, CARD_NAME):
            with suppress(FileNotFoundError):
                shutil.copyfile(source.folder / name, self.folder / name)
        graphs = {
            role: spec.model_copy(
                update={"files": {"int8" if packed.is_int8[role] else "fp32": packed.files[role]}}
            )
            for role, spec in source.manifest.graphs.items()
        }
        manifest = source.manifest.model_copy(update={"graphs": graphs, "gate": None, "measurements": ()})
        manifest = _with_files(self.folder, manifest)
        (self.folder / MANIFEST_NAME).write_text(manifest_json(manifest), encoding="utf-8")
        return packed

    def _quality(self, bundle: Bundle) -> dict[str, Estimate]:
        precision = "int8" if bundle.has_int8 else "fp32"
        if self.evaluate is not None:
            with load(bundle.folder, precision=precision, device="cpu") as model:
                found = self.evaluate(model)
            failed = [one for evaluation in found for one in evaluation.failed]
            if failed:
                raise DataError(
                    f"{len(failed)} inputs of the evaluation failed, so the gate cannot judge; the first: "
                    f"{failed[0].error}"
                )
            return main_metrics(found)
        engine = choose_engine(bundle, precision=precision, device="cpu")
        try:
            found_here = agreement(bundle, engine)
        finally:
            engine.close()
        if not found_here:
            raise UsageError(
                f"{bundle.manifest.name} has no check set; name data for the gate, as in "
                "--captions F --images DIR"
            )
        return found_here

    def _samples(self) -> dict[str, list[Arrays]]:
        """Inputs to judge layers by: what calibration recorded, else the check set's."""
        graphs: Mapping[str, GraphSpec] = self.bundle.manifest.graphs  # type: ignore[assignment]  # roles are words
        recorded = {
            role: [
                {name: value.astype(graphs[role].inputs[name].dtype) for name, value in one.inputs.items()}
            ]
            for role, one in read_check(self.bundle).items()
        }
        return {**recorded, **self.calibration.samples}

    def _int8_share(self, levels: Mapping[str, Level]) -> float:
        """Of all layers' weights, by bytes."""
        sizes = {
            layer.source: graph.constant(layer.weight).size
            for graph in self.graphs.values()
            for layer in graph.layers
        }
        kept = sum(size for source, size in sizes.items() if levels[source] != "float")
        return kept / max(1, sum(sizes.values()))


def raised(start: Mapping[str, Level], order: Sequence[str]) -> Iterable[dict[str, Level]]:
    """Levels to try after ``start``: ever more of the layers of ``order`` with float arithmetic, then, on
    top of that, ever more with float weights."""
    levels = dict(start)
    for wished, settled in (("weights", ("weights", "float")), ("float", ("float",))):
        waiting = [source for source in order if levels[source] not in settled]
        count = max(1, len(waiting) // 16)
        while waiting:
            for source in waiting[:count]:
                levels[source] = wished  # type: ignore[assignment]  # one of the two words above
            waiting = waiting[count:]
            count *= 2
            yield dict(levels)


def costly(ranking: Sequence[LayerError]) -> str:
    """Which layer costs most, in words."""
    if not ranking:
        return "no layer could be measured alone (there are neither photos nor a check set)"
    first = ranking[0]
    by_role: dict[str, float] = {}
    for one in ranking:
        by_role[one.role] = by_role.get(one.role, 0.0) + one.error
    stage = max(by_role, key=lambda role: by_role[role])
    return f"{first.source} costs most ({first.error:.1%} of {first.role}'s outputs), of the stages {stage}"


def read_back(folder: Path) -> Manifest:
    """The manifest written last."""
    return open_bundle(folder).manifest


def _with_files(folder: Path, manifest: Manifest) -> Manifest:
    names = sorted(path.name for path in folder.iterdir() if path.name != MANIFEST_NAME)
    return manifest.model_copy(update={"files": {name: file_record(folder / name) for name in names}})
