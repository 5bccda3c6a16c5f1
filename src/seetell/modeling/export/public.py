"""A public checkpoint to a bundle: what ``seetell convert CHECKPOINT OUT`` does with one."""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import ValidationError

from seetell.bundle.manifest import Manifest, Source
from seetell.core.errors import CheckpointError
from seetell.core.files import folder_name
from seetell.modeling.checkpoints.registry import family_of
from seetell.modeling.checkpoints.source import CheckpointFolder
from seetell.modeling.checkpoints.table import Family, Reading, load_model, understanding
from seetell.modeling.export.weights import WeightsDtype
from seetell.modeling.export.write_bundle import BundleFacts, write_bundle
from seetell.modeling.models.assembled import AssembledModel

_UNSTATED = "Not stated with the checkpoint. See where it comes from before passing these weights on."


def convert_checkpoint(
    folder: Path,
    out: Path,
    *,
    name: str | None = None,
    source: Source | None = None,
    allow_pickle: bool = False,
    weights_dtype: WeightsDtype = "fp16",
    overwrite: bool = False,
) -> Manifest:
    """Read a checkpoint of a known family and write it as a bundle, every graph checked against torch.

    Args:
        name: of the bundle; the folder's by default.
        source: the hub id and revision, where it comes from a hub.
        allow_pickle: pickled weights will do where there are no safetensors.
        weights_dtype: as in ``write_bundle``.
        overwrite: replace a folder that is there.

    Raises BundleNotFound, CheckpointError, PickleRefused, ExportError and StorageError.
    """
    family, reading = _read(folder, allow_pickle)
    facts = _facts(folder, family, reading, name, source)
    return write_bundle(
        # A checkpoint of its own each time: as long as one is open, its files stay mapped.
        lambda: load_model(CheckpointFolder(folder, allow_pickle=allow_pickle), family),
        reading.tokenizer_json,
        out,
        facts,
        weights_dtype=weights_dtype,
        overwrite=overwrite,
    )


def read_checkpoint(
    folder: Path, *, name: str | None = None, source: Source | None = None, allow_pickle: bool = False
) -> tuple[AssembledModel, BundleFacts, bytes | None]:
    """A checkpoint of a known family: its model, what a bundle would say of it, and its tokenizer.

    Arguments and errors as in :func:`convert_checkpoint`.
    """
    family, reading = _read(folder, allow_pickle)
    facts = _facts(folder, family, reading, name, source)
    model = load_model(CheckpointFolder(folder, allow_pickle=allow_pickle), family)
    return model, facts, reading.tokenizer_json


def _facts(
    folder: Path, family: Family, reading: Reading, name: str | None, source: Source | None
) -> BundleFacts:
    try:
        return BundleFacts(
            name=folder_name(folder) if name is None else name,
            licence=_licence(folder),
            languages=reading.languages,
            image=reading.image,
            text=reading.text,
            prompts=reading.prompts,
            generation=reading.generation,
            score=reading.score,
            answers=reading.answers,
            labels=reading.labels,
            source=Source() if source is None else source,
        )
    except ValidationError as error:
        fault = error.errors()[0]
        key = ".".join(str(part) for part in fault["loc"])
        raise CheckpointError(
            f"{folder}: not a usable {family.name} checkpoint: {key}: {fault['msg']}"
        ) from error


def _read(folder: Path, allow_pickle: bool) -> tuple[Family, Reading]:
    checkpoint = CheckpointFolder(folder, allow_pickle=allow_pickle)
    family = family_of(checkpoint)
    with understanding(checkpoint, family.name):
        return family, family.reading(checkpoint)


def _licence(folder: Path) -> str:
    """What the model card's front matter says, as hubs write it."""
    try:
        text = (folder / "README.md").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return _UNSTATED
    parts = text.split("---\n", 2)
    if len(parts) < 3 or parts[0].strip():
        return _UNSTATED
    try:
        front = yaml.safe_load(parts[1])
    except yaml.YAMLError:
        return _UNSTATED
    told = front.get("license") if isinstance(front, dict) else None
    if not isinstance(told, str) or not told.strip():
        return _UNSTATED
    named = front.get("license_name")
    return f"{told} ({named})" if told == "other" and isinstance(named, str) else told
