"""The run of a model that was taught further to a bundle: ``seetell convert RUN OUT`` where the run has a
``model.json``."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from seetell.bundle.manifest import Manifest, Source
from seetell.core.errors import CheckpointError
from seetell.core.files import folder_name
from seetell.modeling.checkpoints.own import checkpoint_of, load_run_weights
from seetell.modeling.export.adjustment import Adjustment
from seetell.modeling.export.run import ANSWERING, completed
from seetell.modeling.export.start import DESCRIPTION_NAME, read_description
from seetell.modeling.export.weights import WeightsDtype
from seetell.modeling.export.write_bundle import write_bundle


def is_fine_tuned(run_folder: Path) -> bool:
    """Whether a run's folder is of a model that was there before, and says so."""
    return (run_folder / DESCRIPTION_NAME).is_file()


def default_checkpoint(run_folder: Path) -> str:
    """``best``, where the run was measured and fine-tunes a public model, or was to stop once it no longer
    improved, as a fine-tuning of ours is unless told otherwise: what came last is then not what was best."""
    try:
        patient = (_recipe(run_folder).get("validate") or {}).get("patience") is not None
        if not (patient or is_fine_tuned(run_folder)):
            return "latest"
        checkpoint_of(run_folder, "best")
    except CheckpointError:
        return "latest"
    return "best"


def export_fine_tuned(
    run_folder: Path,
    out: Path,
    *,
    checkpoint: str = "latest",
    use_ema: bool = True,
    weights_dtype: WeightsDtype = "fp16",
    facts: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    adjust: Adjustment | None = None,
) -> Manifest:
    """Write the model as a bundle, adapters put into its weights. It says where it comes from, keeps the
    licence and the data's terms of what it began as, and is called like the run, unless ``facts`` or the
    recipe's ``bundle`` say otherwise.

    Arguments and errors as in ``export_run``.
    """
    start = read_description(run_folder)
    step = load_run_weights(start.model, run_folder, checkpoint=checkpoint, use_ema=use_ema)
    if adjust is not None:
        adjust(start.model)
    name = folder_name(run_folder)
    origin = start.facts.source.model_copy(update={"recipe": f"{name}, step {step}"})
    defaults = {**start.facts.model_dump(), "name": name, "source": Source.model_validate(origin)}
    recipe = _recipe(run_folder)
    if ANSWERING & {spec["name"] for spec in recipe.get("objectives") or []}:
        # Fitted to answers that it no longer gives.
        del defaults["calibration"]
    complete = completed(defaults, recipe, run_folder, facts)
    if adjust is not None:
        complete = adjust.described(complete)
    return write_bundle(
        lambda: copy.deepcopy(start.model).cpu().float(),
        start.tokenizer_json,
        out,
        complete,
        weights_dtype=weights_dtype,
        overwrite=overwrite,
    )


def _recipe(run_folder: Path) -> dict[str, Any]:
    path = run_folder / "recipe.yaml"
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CheckpointError(f"{path}: cannot be read; is this a training run?") from error
    return document if isinstance(document, dict) else {}
