"""A public checkpoint of a known family: its model, and what a bundle says of it."""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import ValidationError

from seetell.bundle.manifest import Source
from seetell.core.errors import CheckpointError
from seetell.core.files import folder_name
from seetell.modeling.checkpoints.gguf_file import SUFFIX, GgufFile, open_checkpoint
from seetell.modeling.checkpoints.registry import family_of
from seetell.modeling.checkpoints.source import CheckpointFolder
from seetell.modeling.checkpoints.table import Family, Reading, load_model, understanding
from seetell.modeling.facts import BundleFacts
from seetell.modeling.models.assembled import AssembledModel

_UNSTATED = "Not stated with the checkpoint. See where it comes from before passing these weights on."


def read_checkpoint(
    folder: Path, *, name: str | None = None, source: Source | None = None, allow_pickle: bool = False
) -> tuple[AssembledModel, BundleFacts, bytes | None]:
    """A checkpoint of a known family: its model, what a bundle would say of it, and its tokenizer.

    Args:
        name: of the bundle; the folder's by default.
        source: the hub id and revision, where it comes from a hub.
        allow_pickle: pickled weights will do where there are no safetensors.

    Raises BundleNotFound, CheckpointError and PickleRefused.
    """
    checkpoint, family, reading = read_family(folder, allow_pickle)
    facts = facts_of(checkpoint, family, reading, name, source)
    del checkpoint  # as long as it is open, its files stay mapped
    model = load_model(open_checkpoint(folder, allow_pickle=allow_pickle), family)
    return model, facts, reading.tokenizer_json


def facts_of(
    checkpoint: CheckpointFolder,
    family: Family,
    reading: Reading,
    name: str | None,
    source: Source | None,
) -> BundleFacts:
    """What a bundle would say of a checkpoint. Raises CheckpointError."""
    folder = checkpoint.folder
    try:
        return BundleFacts(
            name=folder_name(folder).removesuffix(SUFFIX) if name is None else name,
            licence=_licence(checkpoint),
            languages=reading.languages,
            image=reading.image,
            text=reading.text,
            chat=reading.chat,
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


def read_family(folder: Path, allow_pickle: bool) -> tuple[CheckpointFolder, Family, Reading]:
    """A checkpoint, its family, and what that reads of all but the weights. Raises CheckpointError."""
    checkpoint = open_checkpoint(folder, allow_pickle=allow_pickle)
    family = family_of(checkpoint)
    with understanding(checkpoint, family.name):
        return checkpoint, family, family.reading(checkpoint)


def _licence(checkpoint: CheckpointFolder) -> str:
    """What the model card's front matter says, as hubs write it, or the GGUF file."""
    if isinstance(checkpoint, GgufFile):
        return checkpoint.licence or _UNSTATED
    try:
        text = (checkpoint.folder / "README.md").read_text(encoding="utf-8")
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
