"""TensorBoard and Weights & Biases, through Accelerate's trackers; ``metrics.jsonl`` is written anyway."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from accelerate import PartialState
from accelerate.tracking import GeneralTracker, TensorBoardTracker, WandBTracker

from seetell.core.errors import MissingExtra

TrackerName = Literal["tensorboard", "wandb"]
_PROJECT = "seetell"


def open_trackers(
    names: Sequence[TrackerName], folder: Path, recipe: Mapping[str, Any], resume_step: int
) -> list[GeneralTracker]:
    """The trackers of the run in ``folder``, which goes on from ``resume_step``.

    Raises MissingExtra for one whose package is not installed.
    """
    opened: list[GeneralTracker] = []
    for name in names:
        package = "wandb" if name == "wandb" else "tensorboard"
        if importlib.util.find_spec(package) is None:
            raise MissingExtra(package, "wandb" if name == "wandb" else "train", "for the recipe's trackers")
        if name == "wandb":
            # Its loggers ask for Accelerate's state, which a run of one process has not made.
            PartialState()
            # The same id goes on in the same run.
            run_id = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
            tracker: GeneralTracker = WandBTracker(
                _PROJECT, name=folder.name, id=run_id, resume="allow", dir=str(folder)
            )
        else:
            # purge_step makes TensorBoard hide what an interrupted run wrote after its last checkpoint.
            tracker = TensorBoardTracker("tensorboard", str(folder), purge_step=resume_step + 1)
        tracker.start()
        if name == "wandb":
            tracker.store_init_configuration(dict(recipe))
        opened.append(tracker)
    return opened
