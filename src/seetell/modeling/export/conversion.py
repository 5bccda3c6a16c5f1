"""A training run's folder to a bundle, whatever it trained: what ``seetell convert RUN OUT`` does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from seetell.bundle.manifest import Manifest
from seetell.bundle.store import TOKENIZER_NAME
from seetell.core.errors import UsageError
from seetell.modeling.export.adjustment import Adjustment
from seetell.modeling.export.fine_tuned import default_checkpoint, export_fine_tuned, is_fine_tuned
from seetell.modeling.export.interpolation import averaged_with, towards_start
from seetell.modeling.export.run import export_run


def convert_run(
    run_folder: Path,
    out: Path,
    *,
    checkpoint: str | None = None,
    interpolate: float | None = None,
    average: Sequence[tuple[str, float]] = (),
    facts: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Manifest:
    """Write the model of a run as a bundle.

    Args:
        checkpoint: ``latest``, ``best`` or a checkpoint's name; None for the one to expect of this run.
        interpolate: 0..1, weights between the run's start and its end; None for its end.
        average: folders of bundles and runs of the same shape, and the share of each in the mean of all.
        facts: as in ``export_run``.

    Raises CheckpointError, ExportError, StorageError and UsageError.
    """
    adjust: Adjustment | None = None
    if interpolate is not None and average:
        raise UsageError("--interpolate and --average: give one of them")
    if interpolate is not None:
        adjust = towards_start(run_folder, interpolate)
    elif average:
        adjust = averaged_with(run_folder, average, _tokenizer_of(run_folder))
    export = export_fine_tuned if is_fine_tuned(run_folder) else export_run
    return export(
        run_folder,
        out,
        checkpoint=checkpoint or default_checkpoint(run_folder),
        facts=facts,
        overwrite=overwrite,
        adjust=adjust,
    )


def _tokenizer_of(run_folder: Path) -> bytes | None:
    path = run_folder / TOKENIZER_NAME
    return path.read_bytes() if path.is_file() else None
