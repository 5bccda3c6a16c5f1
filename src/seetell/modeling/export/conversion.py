"""A training run's folder to a bundle, whatever it trained: what ``seetell convert RUN OUT`` does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seetell.bundle.manifest import Manifest
from seetell.modeling.export.fine_tuned import default_checkpoint, export_fine_tuned, is_fine_tuned
from seetell.modeling.export.interpolation import towards_start
from seetell.modeling.export.run import export_run


def convert_run(
    run_folder: Path,
    out: Path,
    *,
    checkpoint: str | None = None,
    interpolate: float | None = None,
    facts: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Manifest:
    """Write the model of a run as a bundle.

    Args:
        checkpoint: ``latest``, ``best`` or a checkpoint's name; None for the one to expect of this run.
        interpolate: 0..1, weights between the run's start and its end; None for its end.
        facts: as in ``export_run``.

    Raises CheckpointError, ExportError, StorageError and UsageError.
    """
    export = export_fine_tuned if is_fine_tuned(run_folder) else export_run
    return export(
        run_folder,
        out,
        checkpoint=checkpoint or default_checkpoint(run_folder),
        facts=facts,
        overwrite=overwrite,
        adjust=None if interpolate is None else towards_start(run_folder, interpolate),
    )
