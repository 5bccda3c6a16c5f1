"""The weights of a bundle back into a model of ours."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from seetell.bundle.manifest import read_manifest
from seetell.core.errors import BundleDamaged, CheckpointError
from seetell.modeling.checkpoints.rebuild import rebuild
from seetell.modeling.models.assembled import AssembledModel


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
        raise BundleDamaged(f"{path}: not a model of ours ({first_line(error)})") from error
    try:
        fill(model, weights, str(path))
    except CheckpointError as error:
        raise BundleDamaged(str(error)) from error
    return model.eval()


def fill(model: AssembledModel, weights: Mapping[str, Tensor], where: str) -> None:
    """Give ``model`` all of its weights. Raises CheckpointError, which names ``where``, for those of another
    model."""
    for name, tensor in model.state_dict().items():
        if name in weights and weights[name].shape != tensor.shape:
            shapes = f"{list(weights[name].shape)}, not {list(tensor.shape)}"
            raise CheckpointError(f"{where}: of another model: {name} is {shapes}")
    found = model.load_state_dict(dict(weights), strict=False)
    # Of tied weights one name is stored, and loading it has set the others.
    named = model.state_dict(keep_vars=True)
    loaded = {named[name].data_ptr() for name in named if name not in found.missing_keys}
    missing = [name for name in found.missing_keys if named[name].data_ptr() not in loaded]
    if missing or found.unexpected_keys:
        wrong = [f"lacks {name}" for name in missing] + [f"has {name}" for name in found.unexpected_keys]
        raise CheckpointError(f"{where}: of another model: it {', '.join(wrong[:3])}")


def first_line(error: BaseException) -> str:
    """What an error of a library says, on one line."""
    return " ".join(str(error).split())[:200]
