"""What a training run's folder says of its model, and the weights in it.

``model.json`` is written when the run starts: the model's family and configuration, the facts its bundle is
made with, which of its outputs are trained, and what it began from. ``tokenizer.json`` lies beside it, and
``checkpoints/step-N/`` hold ``step.safetensors`` (the whole training step), ``ema.safetensors`` (averaged
weights of the model alone) and ``state.json`` (sizes, hashes, the best step). Going on, converting, starting
from the run and averaging it with others need nothing else. Only the files are known here, not the code that
writes them.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from seetell.core.errors import CheckpointError
from seetell.core.files import atomic_write_text
from seetell.modeling.checkpoints.own import fill, first_line
from seetell.modeling.checkpoints.rebuild import rebuild
from seetell.modeling.facts import BundleFacts
from seetell.modeling.models.assembled import AssembledModel
from seetell.modeling.parts.lora import merge_weights

DESCRIPTION_NAME = "model.json"
FORMAT: Final = 2
_STEP_NAME = re.compile(r"^step-(\d+)$")
# Where the model lies in the training step's state dict.
_MODEL_PREFIX = "model."


class RunDescription(BaseModel):
    """``model.json``.

    family, config: rebuild the model.
    facts: what is known of it when the run starts. bundle: what its bundle says in their place.
    trained: the outputs that were taught before or are in the run, as ``outputs.ALL_TAUGHT`` has them.
    init: what its weights began as, None for a run from nothing. init_layers: ``even`` where blocks began as
        others than those of the same number.
    checkpoint: which one is taken where nobody says.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[2] = FORMAT
    family: str
    config: dict[str, Any]
    facts: BundleFacts
    bundle: dict[str, Any] = {}
    trained: tuple[str, ...]
    init: str | None = None
    init_layers: Literal["first", "even"] = "first"
    checkpoint: Literal["latest", "best"] = "latest"

    def model(self) -> AssembledModel:
        """The model, freshly initialised. Raises KeyError and ValidationError as ``rebuild``."""
        return rebuild(self.family, self.config)


def is_run(folder: Path) -> bool:
    """Whether a folder is a training run's."""
    return (folder / DESCRIPTION_NAME).is_file()


def write_description(folder: Path, description: RunDescription) -> None:
    """Write what :func:`read_description` reads. Raises StorageError."""
    text = json.dumps(description.model_dump(mode="json"), ensure_ascii=False, indent=1) + "\n"
    atomic_write_text(folder / DESCRIPTION_NAME, text)


def read_description(folder: Path) -> RunDescription:
    """What a run's folder says of its model. Raises CheckpointError."""
    path = folder / DESCRIPTION_NAME
    try:
        document: dict[str, Any] = json.loads(path.read_bytes())
        version = document["format"]
        if version == FORMAT:
            return RunDescription.model_validate(document)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path}: missing or damaged ({first_line(error)}); is this a training run?"
        ) from error
    raise CheckpointError(f"{path}: format {version} is not the one this seetell reads ({FORMAT})")


@dataclass(frozen=True, slots=True)
class Run:
    """A training run. model: in float32. step: whose weights it has."""

    model: AssembledModel
    description: RunDescription
    step: int


def read_run(folder: Path, *, checkpoint: str = "latest", use_ema: bool = True) -> Run:
    """The model of a training run.

    Args:
        checkpoint: ``latest``, ``best`` (by the run's validation), or a name such as ``step-0001000``.
        use_ema: take the averaged weights where the run kept them.

    Raises CheckpointError saying which file is missing, damaged or of another model.
    """
    description = read_description(folder)
    try:
        model = description.model()
    except (KeyError, ValidationError) as error:
        raise CheckpointError(
            f"{folder / DESCRIPTION_NAME}: damaged ({first_line(error)}); is this a training run?"
        ) from error
    step = load_run_weights(model, folder, checkpoint=checkpoint, use_ema=use_ema)
    return Run(model.eval(), description, step)


def load_run_weights(
    model: AssembledModel, folder: Path, *, checkpoint: str = "latest", use_ema: bool = True
) -> int:
    """Fill ``model`` with the weights of a run, adapters put into them; the step they are of.

    Arguments and errors as in :func:`read_run`.
    """
    path = checkpoint_of(folder, checkpoint)
    fill(model, _checkpoint_weights(path, use_ema), str(path))
    step = _STEP_NAME.match(path.name)
    return int(step.group(1)) if step else 0


def checkpoint_of(run_folder: Path, wanted: str) -> Path:
    """The folder of a run's checkpoint: ``latest``, ``best`` or one by name. Raises CheckpointError."""
    folder = run_folder / "checkpoints"
    found = sorted(
        (int(match.group(1)), path)
        for path in (folder.iterdir() if folder.is_dir() else ())
        if (match := _STEP_NAME.match(path.name))
    )
    if not found:
        raise CheckpointError(f"{folder}: no checkpoint there yet; train first")
    if wanted == "latest":
        return found[-1][1]
    number: int | None = None
    if wanted == "best":
        number = _state(found[-1][1]).get("best_step")
        if number is None:
            raise CheckpointError(f"{folder}: the run was never validated, so none is best; take 'latest'")
    elif match := _STEP_NAME.match(wanted):
        number = int(match.group(1))
    for step, path in found:
        if step == number:
            return path
    names = ", ".join(path.name for _, path in found)
    raise CheckpointError(f"{folder}: no checkpoint {wanted!r}; there are latest, best, {names}")


def _checkpoint_weights(path: Path, use_ema: bool) -> dict[str, Tensor]:
    files = _state(path).get("files", {})
    name = "ema.safetensors" if use_ema and "ema.safetensors" in files else "step.safetensors"
    data = _bytes(path / name)
    expected = files.get(name, {}).get("sha256")
    if expected is not None and hashlib.sha256(data).hexdigest() != expected:
        raise CheckpointError(f"{path / name}: damaged, its hash is not the recorded one; take another step")
    try:
        weights = load_file(path / name)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{path / name}: cannot be read as safetensors ({first_line(error)})"
        ) from error
    if name != "ema.safetensors":
        weights = {
            key.removeprefix(_MODEL_PREFIX): tensor
            for key, tensor in weights.items()
            if key.startswith(_MODEL_PREFIX)
        }
    try:
        return merge_weights(weights)
    except KeyError as error:
        raise CheckpointError(f"{path / name}: an adapter in it lacks {error}; take another step") from error


def _state(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(_bytes(path / "state.json"))
    except ValueError as error:
        raise CheckpointError(
            f"{path / 'state.json'}: damaged ({first_line(error)}); take another step"
        ) from error
    if not isinstance(document, dict):
        raise CheckpointError(f"{path / 'state.json'}: damaged; take another step")
    return document


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
