"""One compression, stage by stage. What an earlier run has made whole, of the same, is taken as it is."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seetell.bundle.store import Bundle, file_record, open_bundle
from seetell.core.files import atomic_folder
from seetell.evaluation.machine import describe_machine
from seetell.learning.compression import details
from seetell.learning.compression.calibration import find_photos, read_texts
from seetell.learning.compression.footprint import measure_one
from seetell.learning.compression.gate import Compared, compare
from seetell.learning.compression.merging import merge_tokens
from seetell.learning.compression.nncf_backend import import_nncf
from seetell.learning.compression.quality import Judge
from seetell.learning.compression.quantising import Quantisation
from seetell.learning.compression.settings import Settings
from seetell.learning.compression.stages import DOING, Name, Stage
from seetell.learning.compression.workplace import Workplace

if TYPE_CHECKING:
    from seetell.learning.training.recipe import Recipe


class _Refused(Exception):
    """The gate lets nothing of what was tried by."""


@dataclass(slots=True)
class Job:
    """One compression: :meth:`prepare`, then :meth:`whole`.

    source: stays as it is. place: where stages are kept. say: told what is going on, one line each.
    stages: those done so far, the source first.
    """

    source: Bundle
    settings: Settings
    judge: Judge
    place: Workplace
    say: Callable[[str], None]
    stages: list[Stage] = field(default_factory=list)
    _photos: list[Path] = field(default_factory=list)
    _texts: list[str] = field(default_factory=list)
    _recipe: Recipe | None = None
    _measured_on: dict[str, Any] = field(default_factory=dict)
    # Of what the stage before was made from, and so of that stage.
    _after: str = ""

    def prepare(self) -> None:
        """Find what is wrong at once before what takes long.

        Raises UsageError, RecipeError, DataError and MissingExtra.
        """
        wish = self.settings
        if wish.calibration is not None:
            self._photos = find_photos(wish.calibration, wish.calibration_count)
        if wish.calibration_texts is not None:
            self._texts = read_texts(wish.calibration_texts, wish.calibration_count)
        if wish.quantize:
            if self._photos:
                import_nncf()
            self._quantisation(self.source, self.place.folder)
        if wish.distil is not None:
            # Imported here: a compression without it does not need what training does.
            from seetell.learning.compression.distilling import read_distilling

            smaller = [name for name in wish.stages if name in ("prune", "merge")]
            folder = self.place.bundle_folder(smaller[-1]) if smaller else None
            self._recipe = read_distilling(wish.distil, self.source, folder, self.place.run_folder)

    def whole(self) -> Bundle | None:
        """Do what has not been done yet, and judge: the bundle of the last stage, or None where the gate
        refuses it. Raises what the stages raise."""
        # What data there are is not known to be the same where nothing is said of them.
        data = self.judge.facts if self.judge.facts is not None else secrets.token_hex(8)
        self._measured_on = {"data": data, "machine": describe_machine()}
        self._begin()
        bundle = self.source
        for name in self.settings.stages:
            if name != "quantize":
                bundle = self._done(name, bundle)
        passed = True
        if len(self.stages) > 1:
            first, last = self.stages[0], self.stages[-1]
            # Of the check set: not what a smaller model no longer has in the shape recorded.
            kept = {metric: one for metric, one in first.quality.items() if metric in last.quality}
            self.stages[0] = replace(first, quality=kept)
            passed = self._told()
        if self.settings.quantize:
            return self._quantised(bundle, passed)
        return bundle if passed else None

    @property
    def rows(self) -> list[Compared]:
        """The last stage beside the source, the worst first."""
        return compare(self.stages[0].quality, self.stages[-1].quality, self.judge.tolerance)

    # --- stages -----------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """The source, measured."""
        made_from = {"bundle": _digest_of_bundle(self.source), "version": _version()}
        if self._kept("source", made_from) is None:
            self.place.forget("source")
            flops = self._flops(self.source) if set(self.settings.stages) - {"quantize"} else {}
            self._keep("source", made_from, {}, self.source, flops)

    def _done(self, name: Name, bundle: Bundle) -> Bundle:
        """What a stage makes of ``bundle``, in floats."""
        made_from = {"after": self._after, **self._asked(name)}
        kept = self._kept(name, made_from)
        if kept is not None:
            return kept
        self._forget(name, made_from)
        folder = self.place.bundle_folder(name)
        what = self._make(name, bundle, folder)
        made = open_bundle(folder)
        self._keep(name, made_from, what, made, self._flops(made))
        return made

    def _make(self, name: Name, bundle: Bundle, folder: Path) -> dict[str, Any]:
        """Carry a stage out; what was done, as plain types."""
        wish = self.settings
        if name == "prune":
            # Imported here, as what is below: int8 alone does without torch.
            from seetell.learning.compression.pruning.prune import prune

            assert wish.prune is not None
            return details.of_pruning(prune(bundle, folder, wish.prune, self._photos, self._texts, self.say))
        if name == "merge":
            return details.of_merging(merge_tokens(bundle, folder, wish.merge_tokens, self.say))
        from seetell.learning.compression.distilling import distil

        assert wish.distil is not None and self._recipe is not None
        self.place.begin_run({"after": self._after, **self._asked(name)})
        return distil(wish.distil, self._recipe, self.source, folder, self.say)

    def _quantised(self, bundle: Bundle, may_raise: bool) -> Bundle | None:
        made_from = {"after": self._after, "measured_on": self._measured_on, **self._asked("quantize")}
        kept = self._kept("quantize", made_from)
        if kept is not None:
            return kept
        self._forget("quantize", made_from)
        before = self.stages[0].quality
        flops = self.stages[-1].flops
        target = self.place.bundle_folder("quantize")
        try:
            with atomic_folder(target) as folder:
                work = self._quantisation(bundle, folder)
                done = work.whole(self._photos, self._texts, before, may_raise=may_raise)
                last = done.last
                stage = Stage(
                    "quantize",
                    details.of_quantising(done),
                    last.quality,
                    last.size_bytes,
                    last.footprint,
                    flops,
                )
                self.stages.append(stage)
                if not last.passed:
                    raise _Refused
        except _Refused:
            return None
        self.place.keep(stage, made_from, self._measured_on)
        return open_bundle(target)

    def _asked(self, name: Name) -> dict[str, Any]:
        """What a stage depends on besides the bundle it is given."""
        wish = self.settings
        if name == "merge":
            return {"tokens": wish.merge_tokens}
        if name == "distil":
            from seetell.learning.compression.distilling import made_from

            assert self._recipe is not None
            return {"recipe": made_from(self._recipe, self.source)}
        seen = {"photos": _digest_of_files(self._photos), "texts": self._texts}
        if name == "prune":
            assert wish.prune is not None
            clock = {"machine": self._measured_on["machine"]} if wish.prune.measure == "latency" else {}
            return {**asdict(wish.prune), **seen, **clock}
        return {"profile": wish.profile, "tolerance": str(wish.tolerance), **seen}

    # --- records ----------------------------------------------------------------------------------------

    def _kept(self, name: Name, made_from: Mapping[str, Any]) -> Bundle | None:
        """What a run before has made of the same, measured on the same."""
        found = self.place.kept(name, made_from)
        if found is None:
            return None
        bundle, stage, measured_on = found
        bundle = bundle or self.source
        if measured_on == self._measured_on:
            self.say(f"{name}: done by the run before")
            self._add(stage, made_from)
        else:
            self.say(f"{name}: done by the run before, and measured anew")
            self._keep(name, made_from, stage.details, bundle, stage.flops)
        return bundle

    def _forget(self, name: Name, made_from: Mapping[str, Any]) -> None:
        changed = self.place.changed(name, made_from)
        if changed:
            what = "what it is made of" if changed == ["after"] else ", ".join(changed)
            self.say(f"{name}: not as the run before had it ({what}), so done anew")
        self.place.forget(name)

    def _keep(
        self,
        name: Name,
        made_from: Mapping[str, Any],
        what: Mapping[str, Any],
        bundle: Bundle,
        flops: Mapping[str, int],
    ) -> None:
        """Measure what a stage has made, and write its record."""
        if name != "source":
            self.say(f"measuring what {DOING[name]} left")
        stage = Stage(
            name=name,
            details=what,
            quality=self.judge.quality(bundle),
            size_bytes=bundle.size_bytes,
            footprint=measure_one(bundle.folder, "fp32"),
            flops=flops,
        )
        self.place.keep(stage, made_from, self._measured_on)
        self._add(stage, made_from)

    def _add(self, stage: Stage, made_from: Mapping[str, Any]) -> None:
        self.stages.append(stage)
        self._after = _digest(made_from)

    # --- helpers ----------------------------------------------------------------------------------------

    def _quantisation(self, bundle: Bundle, folder: Path) -> Quantisation:
        return Quantisation(bundle, folder, self.judge, self.settings.profile, self.say)

    def _told(self) -> bool:
        """Whether what is there in floats passes; says how far it is."""
        rows = self.rows
        worst = rows[0]
        self.say(
            f"smaller: {worst.metric} {worst.before.value:.2f} -> {worst.after.value:.2f} "
            f"({worst.allowed:.2f} allowed)"
        )
        return all(row.passed for row in rows)

    def _flops(self, bundle: Bundle) -> dict[str, int]:
        """Operations per graph of a model that sees photos, as those that can be made smaller do."""
        from seetell.learning.compression.pruning.work import bundle_flops

        return bundle_flops(bundle) if "image_encoder" in bundle.manifest.graphs else {}


def _version() -> str:
    """Of seetell: what another has made may be something else."""
    try:
        return metadata.version("seetell")
    except metadata.PackageNotFoundError:
        return "unknown"


def _digest(document: Any) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def _digest_of_bundle(bundle: Bundle) -> str:
    names = sorted(path.name for path in bundle.folder.iterdir() if path.is_file())
    return _digest({name: file_record(bundle.folder / name).sha256 for name in names})


def _digest_of_files(paths: list[Path]) -> str:
    """Of their content and order."""
    return _digest([hashlib.sha256(path.read_bytes()).hexdigest() for path in paths])
