"""A public checkpoint to a bundle: what ``seetell convert CHECKPOINT OUT`` does with one."""

from __future__ import annotations

from pathlib import Path

from seetell.bundle.manifest import Manifest, Source
from seetell.modeling.checkpoints.gguf_file import open_checkpoint
from seetell.modeling.checkpoints.public import facts_of, read_family
from seetell.modeling.checkpoints.table import load_model
from seetell.modeling.export.weights import WeightsDtype
from seetell.modeling.export.write_bundle import write_bundle


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
    checkpoint, family, reading = read_family(folder, allow_pickle)
    facts = facts_of(checkpoint, family, reading, name, source)
    del checkpoint
    return write_bundle(
        # A checkpoint of its own each time: as long as one is open, its files stay mapped.
        lambda: load_model(open_checkpoint(folder, allow_pickle=allow_pickle), family),
        reading.tokenizer_json,
        out,
        facts,
        weights_dtype=weights_dtype,
        overwrite=overwrite,
    )
