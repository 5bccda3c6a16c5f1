"""Checkpoints that are not what their ``model_type`` says, because something else changes their numbers."""

from __future__ import annotations

from seetell.core.errors import CheckpointError
from seetell.modeling.checkpoints.source import CheckpointFolder


def refuse_foreign(folder: CheckpointFolder) -> None:
    """Raises CheckpointError for a model whose code or arithmetic is its own."""
    code = folder.config.get("auto_map")
    if isinstance(code, dict) and any(str(key).startswith("AutoModel") for key in code):
        raise CheckpointError(
            f"{folder.folder}: its model is code of its own (auto_map in config.json), which is never run; "
            "take a checkpoint that transformers reads without trust_remote_code"
        )
    if folder.config.get("quantization_config"):
        raise CheckpointError(
            f"{folder.folder}: its weights are quantised (quantization_config in config.json), which is not "
            "read; take the checkpoint it was made from, and `seetell compress` its bundle"
        )
