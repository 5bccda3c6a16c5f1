"""A training run's folder to a bundle, whatever it trained: what ``seetell convert RUN OUT`` does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from seetell.bundle.manifest import Manifest
from seetell.core.errors import UsageError
from seetell.modeling.export.adjustment import Adjustment
from seetell.modeling.export.interpolation import averaged_with, towards_start
from seetell.modeling.export.run import export_run
from seetell.modeling.start import tokenizer_of


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
        adjust = averaged_with(run_folder, average, tokenizer_of(run_folder))
    return export_run(run_folder, out, checkpoint=checkpoint, facts=facts, overwrite=overwrite, adjust=adjust)
