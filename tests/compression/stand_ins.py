"""Stages that cost nothing: what they make is a copy of what they are given, and its quality is what a test
says."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from seetell.bundle.store import Bundle, open_bundle
from seetell.evaluation.bootstrap import Estimate
from seetell.learning.compression import distilling, footprint, job, quantising
from seetell.learning.compression.calibration import Calibration
from seetell.learning.compression.footprint import Footprint
from seetell.learning.compression.merging import Merged
from seetell.learning.compression.pruning.prune import Pruned, Pruning
from seetell.learning.compression.quality import Judge
from seetell.learning.compression.quantising import Quantisation


@dataclass
class StandIns:
    """done: the stages that were carried out, in order. measured: what quality was asked of. quality: the
    value of ``m.r10`` of what each stage makes. during: called in a stage, before it has made anything."""

    done: list[str] = field(default_factory=list)
    measured: list[str] = field(default_factory=list)
    quality: dict[str, float] = field(
        default_factory=lambda: {
            "source": 50.0,
            "prune": 30.0,
            "merge": 29.0,
            "distil": 48.0,
            "quantize": 47.9,
        }
    )
    during: dict[str, Callable[[], None]] = field(default_factory=dict)

    def begin(self, name: str) -> None:
        self.done.append(name)
        self.during.get(name, lambda: None)()

    def install(self, patch: pytest.MonkeyPatch) -> None:
        patch.setattr("seetell.learning.compression.pruning.prune.prune", self._prune)
        patch.setattr(job, "merge_tokens", self._merge)
        patch.setattr(job, "import_nncf", lambda: None)
        patch.setattr(
            "seetell.learning.compression.pruning.work.bundle_flops",
            lambda bundle: dict.fromkeys(bundle.manifest.graphs, 10),
        )
        patch.setattr(distilling, "distil", self._distil)
        patch.setattr(Judge, "quality", self._judged())
        patch.setattr(Quantisation, "_calibrate", lambda *_: self.begin("quantize"))
        patch.setattr(quantising, "rank_layers", lambda *_: [])
        patch.setattr(
            footprint,
            "_in_process",
            lambda folder, precision: Footprint({"image_encoder": 1.0 if precision == "int8" else 2.0}, 80.0),
        )

    def _prune(self, bundle: Bundle, out: Path, wish: Pruning, *_: Any) -> Pruned:
        self.begin("prune")
        shutil.copytree(bundle.folder, out)
        return Pruned(
            open_bundle(out), wish, {"a.mlp": (1, 2)}, [], {"a.mlp": 0.75, "b.mlp": 0.25}, Calibration()
        )

    def _merge(self, bundle: Bundle, out: Path, count: int, say: Any) -> Merged:
        self.begin("merge")
        shutil.copytree(bundle.folder, out)
        return Merged(open_bundle(out), count, 16, 10)

    def _distil(self, wish: Any, recipe: Any, source: Bundle, out: Path, say: Any) -> dict[str, Any]:
        run = Path(recipe.checkpoint.dir)
        self.begin("distil")
        run.mkdir(exist_ok=True)
        with (run / "steps.txt").open("a") as file:
            file.write("+")
        self.during.get("training", lambda: None)()
        shutil.copytree(recipe.init, out)
        return {
            "recipe": wish.recipe.name,
            "objectives": [],
            "teacher": "tiny",
            "steps": recipe.steps,
            "outcome": "finished",
        }

    def _judged(self) -> Any:
        def quality(judge: Judge, bundle: Bundle) -> dict[str, Estimate]:
            folder = bundle.folder.name
            name = next((name for name in self.quality if folder.startswith((name, f".{name}."))), "source")
            self.measured.append(name)
            value = self.quality[name]
            drawn = value + np.linspace(-1, 1, 9)
            return {"m.r10": Estimate(value, value - 1, value + 1, drawn)}

        return quality


def write_recipe(folder: Path, **changes: Any) -> Path:
    """A recipe that reads no data until it is run."""
    document = {
        "data": [{"format": "coco_captions", "path": "scenes", "batch_size": 4}],
        "objectives": [{"name": "distil_affinity"}],
        "steps": 3,
        **changes,
    }
    path = folder / "recover.yaml"
    path.write_text(yaml.safe_dump(document))
    return path
