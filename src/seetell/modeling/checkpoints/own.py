"""Our own weights back into a model: from a training run's folder, or from a bundle.

A run's folder holds ``recipe.yaml``, ``tokenizer.json``, ``answers.json`` and ``labels.json`` (lists, absent
or empty where there are none) and ``checkpoints/step-N/`` with ``step.safetensors`` (the whole training
step), ``ema.safetensors`` (averaged weights of the model alone) and ``state.json`` (sizes, hashes, the
best step). Only the files are known here, not the code that writes them.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tokenizers
import yaml
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from seetell.bundle.manifest import read_manifest
from seetell.core.errors import BundleDamaged, CheckpointError
from seetell.modeling.checkpoints.rebuild import rebuild
from seetell.modeling.models.assembled import AssembledModel
from seetell.modeling.models.config import UnifiedConfig
from seetell.modeling.models.unified import UnifiedModel
from seetell.modeling.parts.lora import merge_weights

_STEP_NAME = re.compile(r"^step-(\d+)$")
# Where the model lies in the training step's state dict.
_MODEL_PREFIX = "model."


@dataclass(frozen=True, slots=True)
class Run:
    """A training run. recipe: its document as written. step: whose weights ``model`` has."""

    model: UnifiedModel
    recipe: dict[str, Any]
    tokenizer_json: bytes
    answers: tuple[str, ...]
    labels: tuple[str, ...]
    step: int


def read_run(folder: Path, *, checkpoint: str = "latest", use_ema: bool = True) -> Run:
    """The model of a training run.

    Args:
        checkpoint: ``latest``, ``best`` (by the run's validation), or a name such as ``step-0001000``.
        use_ema: take the averaged weights where the run kept them.

    Raises CheckpointError saying which file is missing, damaged or of another model.
    """
    recipe = _recipe(folder / "recipe.yaml")
    tokenizer_json = _bytes(folder / "tokenizer.json")
    answers, labels = _names(folder / "answers.json"), _names(folder / "labels.json")
    config = _config(folder, recipe, tokenizer_json, len(answers), len(labels))
    model = UnifiedModel(config)
    step = load_run_weights(model, folder, checkpoint=checkpoint, use_ema=use_ema)
    return Run(model.eval(), recipe, tokenizer_json, answers, labels, step)


def checkpoint_of(folder: Path, wanted: str) -> Path:
    """The folder of a run's checkpoint: ``latest``, ``best`` or one by name. Raises CheckpointError."""
    return _checkpoint_path(folder / "checkpoints", wanted)


def load_run_weights(
    model: AssembledModel, folder: Path, *, checkpoint: str = "latest", use_ema: bool = True
) -> int:
    """Fill ``model`` with the weights of a run, adapters put into them; the step they are of.

    Arguments and errors as in :func:`read_run`.
    """
    path = _checkpoint_path(folder / "checkpoints", checkpoint)
    _load(model, _checkpoint_weights(path, use_ema), str(path))
    step = _STEP_NAME.match(path.name)
    return int(step.group(1)) if step else 0


def read_bundle_model(folder: Path) -> AssembledModel:
    """The torch model of a bundle, in float32 with the weights as stored.

    Raises BundleInvalid, and BundleDamaged where config and weights do not make a model.
    """
    manifest = read_manifest(folder)
    path = folder / "model.safetensors"
    try:
        model = rebuild(manifest.family, manifest.config)
        weights = load_file(path)
    except KeyError as error:
        raise CheckpointError(f"{folder}: a model of the family {error.args[0]}") from error
    except (ValidationError, OSError, SafetensorError) as error:
        raise BundleDamaged(f"{path}: not a model of ours ({_line(error)})") from error
    try:
        _load(model, weights, str(path))
    except CheckpointError as error:
        raise BundleDamaged(str(error)) from error
    return model.eval()


def _load(model: AssembledModel, weights: dict[str, Tensor], where: str) -> None:
    for name, tensor in model.state_dict().items():
        if name in weights and weights[name].shape != tensor.shape:
            shapes = f"{list(weights[name].shape)}, not {list(tensor.shape)}"
            raise CheckpointError(f"{where}: of another model: {name} is {shapes}")
    found = model.load_state_dict(weights, strict=False)
    # Of tied weights one name is stored, and loading it has set the others.
    named = model.state_dict(keep_vars=True)
    loaded = {named[name].data_ptr() for name in named if name not in found.missing_keys}
    missing = [name for name in found.missing_keys if named[name].data_ptr() not in loaded]
    if missing or found.unexpected_keys:
        wrong = [f"lacks {name}" for name in missing] + [f"has {name}" for name in found.unexpected_keys]
        raise CheckpointError(f"{where}: of another model: it {', '.join(wrong[:3])}")


def _recipe(path: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CheckpointError(f"{path}: cannot be read ({_line(error)}); is this a training run?") from error
    if not isinstance(document, dict):
        raise CheckpointError(f"{path}: a recipe is a mapping of keys; is this a training run?")
    return document


def _config(
    folder: Path, recipe: dict[str, Any], tokenizer_json: bytes, num_answers: int, num_labels: int
) -> UnifiedConfig:
    """The recipe's ``model`` with what only the data knew filled in, as training did."""
    try:
        backend = tokenizers.Tokenizer.from_buffer(tokenizer_json)
    except Exception as error:  # the library raises bare Exception
        raise CheckpointError(f"{folder / 'tokenizer.json'}: not a tokenizer ({_line(error)})") from error
    settings = dict(recipe.get("model") or {})
    text = {
        "vocab_size": backend.get_vocab_size(with_added_tokens=True),
        **(settings.pop("text", None) or {}),
    }
    filled = {"num_answers": num_answers, "num_labels": num_labels, **settings, "text": text}
    try:
        return UnifiedConfig.model_validate(filled)
    except ValidationError as error:
        raise CheckpointError(f"{folder / 'recipe.yaml'}: model: {_line(error)}") from error


def _checkpoint_path(folder: Path, wanted: str) -> Path:
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
        raise CheckpointError(f"{path / name}: cannot be read as safetensors ({_line(error)})") from error
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
            f"{path / 'state.json'}: damaged ({_line(error)}); take another step"
        ) from error
    if not isinstance(document, dict):
        raise CheckpointError(f"{path / 'state.json'}: damaged; take another step")
    return document


def _names(path: Path) -> tuple[str, ...]:
    if not path.exists():
        return ()
    try:
        names = json.loads(_bytes(path))
    except ValueError as error:
        raise CheckpointError(f"{path}: not JSON ({_line(error)})") from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise CheckpointError(f"{path}: a list of texts is expected")
    return tuple(names)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
