"""A bundle's graphs to int8: calibrated, tried, and the most sensitive layers raised until the gate opens."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seetell.bundle.check import CHECK_NAME, read_check
from seetell.bundle.manifest import GraphSpec
from seetell.bundle.store import TOKENIZER_NAME, Bundle, open_bundle
from seetell.core.errors import ExportError, UsageError
from seetell.evaluation.bootstrap import Estimate
from seetell.learning.compression.calibration import Calibration, record
from seetell.learning.compression.footprint import Footprint, measure_one
from seetell.learning.compression.gate import Compared, Verdict, compare
from seetell.learning.compression.graphs import WorkingGraph, read_graph
from seetell.learning.compression.levels import Level
from seetell.learning.compression.manifests import write_manifest
from seetell.learning.compression.nncf_backend import Profile, quantise
from seetell.learning.compression.packing import Packed, pack
from seetell.learning.compression.quality import Judge
from seetell.learning.compression.sensitivity import LayerError, rank_layers
from seetell.learning.compression.smoothing import smooth
from seetell.runtime.engine import Arrays

# Of the quantised weights so many bytes must stay int8, or compressing has achieved nothing.
_LEAST_SHARE = 0.5
# What an attempt is said to be beside what its worst metric lost.
_WORDS: dict[Verdict, str] = {"within": "", "undecided": ", too few photos to tell", "worse": ": refused"}


@dataclass(frozen=True, slots=True)
class Attempt:
    """One choice of levels, written and measured. rows: beside the source, the worst first."""

    levels: Mapping[str, Level]
    packed: Packed
    rows: Sequence[Compared]
    quality: Mapping[str, Estimate]
    size_bytes: int
    footprint: Footprint

    @property
    def passed(self) -> bool:
        return all(row.passed for row in self.rows)


@dataclass(frozen=True, slots=True)
class Quantised:
    """What was done. tried: in order; the last lies in the folder, and is the one that passed if any did.
    ranking: the most sensitive layer first, empty where none had to be raised. smoothed: groups of weights
    whose channels were smoothed."""

    tried: Sequence[Attempt]
    ranking: Sequence[LayerError]
    calibration: Calibration
    profile: Profile
    smoothed: int

    @property
    def last(self) -> Attempt:
        return self.tried[-1]


class Quantisation:
    """One bundle on its way to int8: what is known so far.

    Args:
        bundle: in floats; stays as it is.
        folder: where the result is written, over what lies there.
        judge: measures what is tried.
        say: told what is going on, one line each.

    Raises UsageError for a bundle none of whose roles has a layer to quantise.
    """

    def __init__(
        self, bundle: Bundle, folder: Path, judge: Judge, profile: Profile, say: Callable[[str], None]
    ) -> None:
        self.bundle, self.folder, self.judge, self.profile, self.say = bundle, folder, judge, profile, say
        manifest = bundle.manifest
        self.graphs: dict[str, WorkingGraph] = {
            role: read_graph(bundle.graph_path(role), role) for role in manifest.graphs
        }
        if not any(graph.layers for graph in self.graphs.values()):
            raise UsageError(f"{manifest.name}: none of its graphs has a layer that int8 fits")
        self.calibrated: dict[str, Any] = {}
        self.calibration = Calibration()
        self.smoothed = 0
        self.tried: list[Attempt] = []

    def whole(
        self,
        photos: Sequence[Path],
        texts: Sequence[str],
        before: Mapping[str, Estimate],
        *,
        may_raise: bool = True,
    ) -> Quantised:
        """Calibrate on photos, if any, and texts; write what passes the gate beside ``before``, or the last
        that was tried.

        may_raise: whether layers get their precision back where the first attempt does not pass; what fails
        in floats cannot be helped by that.

        Raises DataError for photos that cannot be used.
        """
        self._calibrate(photos, texts)
        levels = self._first_levels()
        ranking: list[LayerError] = []
        if not self._try(levels, before).passed:
            self.say("measuring what each layer costs")
            ranking = rank_layers(self.graphs, self.calibrated, self._samples(), levels)
            if may_raise:
                self._raise_until_passed(levels, ranking, before)
        return Quantised(self.tried, ranking, self.calibration, self.profile, self.smoothed)

    # --- steps ------------------------------------------------------------------------------------------

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
                self.calibrated[role] = quantise(graph, samples[role], self.profile)
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

    def _try(self, levels: Mapping[str, Level], before: Mapping[str, Estimate]) -> Attempt:
        """Write the bundle at these levels and measure it."""
        packed = self._write(levels)
        made = open_bundle(self.folder)
        quality = self.judge.quality(made)
        attempt = Attempt(
            levels=dict(levels),
            packed=packed,
            rows=compare(before, quality, self.judge.tolerance),
            quality=quality,
            size_bytes=made.size_bytes,
            footprint=measure_one(self.folder, "int8" if made.has_int8 else "fp32"),
        )
        self.tried.append(attempt)
        counts = count_levels(levels)
        worst = attempt.rows[0]
        self.say(
            f"{counts['int8']} layers int8, {counts['weights']} int8 weights, {counts['float']} float: "
            f"{worst.metric} {worst.before.value:.2f} -> {worst.after.value:.2f} "
            f"({worst.allowed:.2f} allowed{_WORDS[worst.verdict]})"
        )
        return attempt

    def _raise_until_passed(
        self, start: Mapping[str, Level], ranking: Sequence[LayerError], before: Mapping[str, Estimate]
    ) -> None:
        """Give the most sensitive layers more precision, more of them each time, until the gate lets it by,
        or too little is left of int8.

        First float arithmetic on int8 weights, which keeps the size; then float weights.
        """
        order = [one.source for one in ranking]
        order += sorted(set(start) - set(order))
        for levels in raised(start, order):
            if self._int8_share(levels) < _LEAST_SHARE or self._try(levels, before).passed:
                return

    # --- helpers ----------------------------------------------------------------------------------------

    def _write(self, levels: Mapping[str, Level]) -> Packed:
        source = self.bundle
        for path in list(self.folder.iterdir()):
            path.unlink()
        packed = pack(self.folder, self.graphs, self.calibrated, levels)
        for name in (TOKENIZER_NAME, CHECK_NAME):
            with suppress(FileNotFoundError):
                shutil.copyfile(source.folder / name, self.folder / name)
        graphs = {
            role: spec.model_copy(
                update={"files": {"int8" if packed.is_int8[role] else "fp32": packed.files[role]}}
            )
            for role, spec in source.manifest.graphs.items()
        }
        manifest = source.manifest.model_copy(update={"graphs": graphs, "gate": None, "measurements": ()})
        write_manifest(self.folder, manifest)
        return packed

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


def count_levels(levels: Mapping[str, Level]) -> dict[Level, int]:
    """How many layers are at each level."""
    known: tuple[Level, ...] = ("int8", "weights", "float")
    return {level: sum(one == level for one in levels.values()) for level in known}
