"""Between the weights a run began with and those it ended with: WiSE-FT (Wortsman et al. 2022, section 3).

    theta = (1 - share) * theta_start + share * theta_end

What fine-tuning gained is mostly kept half-way, and what it forgot mostly comes back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
import yaml
from torch import Tensor

from seetell.core.errors import CheckpointError, SeetellError, UsageError
from seetell.modeling.export.start import read_start
from seetell.modeling.models.assembled import AssembledModel


def interpolate(start: Mapping[str, Tensor], end: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """State dicts; ``share`` 0 gives ``start``, 1 gives ``end``, bit by bit.

    What ``start`` lacks, or has in another shape (a new head), and what is no floating-point number stays as
    in ``end``.
    """
    found: dict[str, Tensor] = {}
    for name, there in end.items():
        here = start.get(name)
        mixed = here is not None and here.shape == there.shape and there.is_floating_point()
        # In this form of lerp, unlike in start + share * (end - start), both ends are exact.
        found[name] = torch.lerp(here.to(there), there, share) if mixed and here is not None else there
    return found


def towards_start(run_folder: Path, share: float) -> Callable[[AssembledModel], None]:
    """A function that moves the model of a run, in place, to ``share`` of the way from where it began.

    Raises UsageError for a share outside 0..1 or a run that began from nothing, and CheckpointError where
    what it began from is gone.
    """
    if not 0.0 <= share <= 1.0:
        raise UsageError(f"--interpolate is a share from 0 (the start) to 1 (the end), not {share:g}")
    init = _init(run_folder / "recipe.yaml")
    try:
        start = read_start(init).model.state_dict()
    except SeetellError as error:
        raise CheckpointError(
            f"{run_folder}: it began from {init}, which is needed to interpolate: {error}"
        ) from error

    def move(model: AssembledModel) -> None:
        own = model.state_dict()
        if not any(name in start and start[name].shape == tensor.shape for name, tensor in own.items()):
            raise CheckpointError(f"{run_folder}: {init} is another model than it began from")
        model.load_state_dict(interpolate(start, own, share))

    return move


def _init(path: Path) -> str:
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CheckpointError(f"{path}: cannot be read; is this a training run?") from error
    init = document.get("init") if isinstance(document, dict) else None
    if not isinstance(init, str):
        raise UsageError(f"--interpolate belongs to a run that began from a model, and {path} has no init")
    if document.get("init_layers", "first") != "first":
        raise UsageError(
            f"--interpolate: by init_layers in {path} blocks began as others of {init}, with nothing between"
        )
    return init
