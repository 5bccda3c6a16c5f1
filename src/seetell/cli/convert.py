"""``seetell convert``: a checkpoint becomes a bundle. Reaches into the making half, when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from seetell.cli.options import option
from seetell.cli.output import say


def convert(
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="The folder of a training run.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The bundle's folder; must not exist.")],
    which: Annotated[
        str, option("--checkpoint", metavar="NAME", help="latest, best, or one of the run's by name.")
    ] = "latest",
    overwrite: Annotated[bool, option("--overwrite", help="Replace OUT if it is there.")] = False,
) -> None:
    """Turn a training run's checkpoint into a bundle."""
    from seetell.cli.making import needs_train_extra
    from seetell.core.errors import BundleNotFound

    if not checkpoint.is_dir():
        raise BundleNotFound(
            f"{checkpoint}: no such folder; this version converts the folders of `seetell train` runs, "
            "public checkpoints not yet"
        )
    with needs_train_extra("to convert a checkpoint"):
        from seetell.modeling.export.run import export_run
    export_run(checkpoint, out, checkpoint=which, overwrite=overwrite)
    say(f"{out}: bundle written; try `seetell doctor {out}`")
