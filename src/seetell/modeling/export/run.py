"""A training run's folder to a bundle: what ``seetell convert RUN OUT`` does."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seetell.bundle.manifest import Manifest
from seetell.core.errors import CheckpointError
from seetell.core.files import folder_name
from seetell.modeling.checkpoints.run_folder import checkpoint_of, read_description, read_run
from seetell.modeling.export.adjustment import Adjustment
from seetell.modeling.export.weights import WeightsDtype
from seetell.modeling.export.write_bundle import write_bundle
from seetell.modeling.models.assembled import AssembledModel
from seetell.modeling.models.unified import UnifiedModel
from seetell.modeling.outputs import left_out
from seetell.modeling.start import tokenizer_of


def export_run(
    run_folder: Path,
    out: Path,
    *,
    checkpoint: str | None = None,
    use_ema: bool = True,
    weights_dtype: WeightsDtype = "fp16",
    facts: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    adjust: Adjustment | None = None,
) -> Manifest:
    """Write the model of a training run as a bundle, adapters put into its weights and without what nothing
    has taught. It says where it comes from, and what its ``model.json`` says unless ``facts`` (fields of
    BundleFacts) say otherwise.

    Args:
        checkpoint: ``latest``, ``best`` or a checkpoint's name; None for the one to expect of this run.
        use_ema: averaged weights, where the run kept them.
        adjust: changes the model, in place, before it is written.

    Raises CheckpointError, ExportError and StorageError.
    """
    if checkpoint is None:
        checkpoint = default_checkpoint(run_folder)
    run = read_run(run_folder, checkpoint=checkpoint, use_ema=use_ema)
    model, description = run.model, run.description
    without = left_out(description.trained)
    changes: dict[str, Any] = {}
    if "label_logits" in without:
        _leave_labels(model)
        changes["labels"] = ()
    if adjust is not None:
        adjust(model)
    known = description.facts
    origin = known.source.model_copy(update={"recipe": f"{folder_name(run_folder)}, step {run.step}"})
    changes["source"] = origin.model_dump()
    complete = known.having(changes, description.bundle, facts or {}, where=run_folder)
    if adjust is not None:
        complete = adjust.described(complete)
    return write_bundle(
        lambda: copy.deepcopy(model).cpu().float(),
        tokenizer_of(run_folder),
        out,
        complete,
        without=without,
        weights_dtype=weights_dtype,
        overwrite=overwrite,
    )


def default_checkpoint(run_folder: Path) -> str:
    """The checkpoint to expect of a run: what it says itself, ``latest`` where there is no best one yet.
    Raises CheckpointError."""
    wanted = read_description(run_folder).checkpoint
    try:
        checkpoint_of(run_folder, wanted)
    except CheckpointError:
        return "latest"
    return wanted


def _leave_labels(model: AssembledModel) -> None:
    """Take the label head off, which photos with labels alone make, where nothing has taught it."""
    if isinstance(model, UnifiedModel) and model.label_head is not None:
        model.label_head = None
        model.config = model.config.model_copy(update={"num_labels": 0})
