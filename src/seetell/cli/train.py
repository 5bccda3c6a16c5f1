"""``seetell train``: train or fine-tune by a recipe. Reaches into the making half, when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from seetell.cli.main import EXIT_INTERRUPTED
from seetell.cli.options import option
from seetell.cli.output import say


def train(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="The recipe, a YAML file.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="key.sub=value", help="Changes to the recipe.")
    ] = None,
    *,
    teacher_outputs: Annotated[
        Path | None,
        option(
            "--teacher-outputs",
            metavar="FOLDER",
            help="Write what the recipe's teacher says of its photos and captions, and train nothing.",
        ),
    ] = None,
) -> None:
    """Train or fine-tune by a recipe. A run that was stopped goes on where it was."""
    from seetell.cli.making import needs_train_extra

    with needs_train_extra("to train"):
        from seetell.learning.training.recipe import read_recipe
        from seetell.learning.training.run import run
        from seetell.learning.training.teacher_outputs import write_teacher_outputs
        from seetell.learning.training.validation import build_guard, build_validate
    settings = read_recipe(recipe, overrides or [])
    if teacher_outputs is not None:
        written = write_teacher_outputs(settings, teacher_outputs)
        say(f"{len(written.photo_names)} photos and {len(written.texts)} texts written to {teacher_outputs}")
        return
    result = run(settings, build_validate=build_validate, build_guard=build_guard)
    if result.outcome == "interrupted":
        # The run stopped in good order, but it is not finished: a script must be able to tell.
        raise typer.Exit(EXIT_INTERRUPTED)
