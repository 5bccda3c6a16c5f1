"""``seetell train``: train or fine-tune by a recipe. Reaches into the making half, when it runs."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from seetell.cli.options import option
from seetell.cli.output import say
from seetell.cli.statuses import EXIT_INTERRUPTED


def train(
    recipe: Annotated[
        Path,
        typer.Argument(
            metavar="RECIPE|OUT", help="The recipe, a YAML file; with --from the folder to write."
        ),
    ],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="key.sub=value", help="Changes to the recipe.")
    ] = None,
    *,
    begin_from: Annotated[
        str | None,
        option(
            "--from",
            metavar="MODEL",
            help="Write a cautious recipe for this model, builtin, a bundle or a public one, and run it.",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="FOLDER",
            help="With --from: what seetell prepare wrote.",
            # SEETELL_DATA is where the paths of recipes start.
            envvar="SEETELL_TRAIN_DATA",
            show_envvar=False,
        ),
    ] = None,
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
    from seetell.core.errors import UsageError

    if (begin_from is None) != (data is None):
        raise UsageError(
            "train: --from MODEL and --data FOLDER go together: train --from MODEL --data FOLDER OUT"
        )
    with needs_train_extra("to train"):
        from seetell.learning.training.recipe import read_recipe
        from seetell.learning.training.run import run
        from seetell.learning.training.teacher_outputs import write_teacher_outputs
        from seetell.learning.training.validation import build_guard, build_validate
        from seetell.learning.training.written_recipe import write_recipe
    if begin_from is not None and data is not None:
        settings = read_recipe(write_recipe(begin_from, data, recipe, overrides or []))
        say(f"{recipe / 'train.yaml'}: the recipe, to be changed and run again as you like")
        if settings.validation is None:
            say(
                f"{data} has no photos kept apart, so nothing tells whether the model gets better; to have "
                "some: seetell prepare SOURCE CLEAN --val 0.1"
            )
    else:
        settings = read_recipe(recipe, overrides or [])
    if teacher_outputs is not None:
        written = write_teacher_outputs(settings, teacher_outputs)
        say(f"{len(written.photo_names)} photos and {len(written.texts)} texts written to {teacher_outputs}")
        return
    result = run(settings, build_validate=build_validate, build_guard=build_guard)
    if result.outcome == "interrupted":
        # The run stopped in good order, but it is not finished: a script must be able to tell.
        raise typer.Exit(EXIT_INTERRUPTED)
    # As it was named: the written recipe has the whole path.
    folder = Path(settings.checkpoint.dir) if begin_from is None else recipe
    if result.best_step is not None and result.best_value is not None:
        say(f"the best was step {result.best_step}, with {result.best_value:.2f}")
    name = folder.resolve().name
    say(f"{folder / 'report.html'}: how it went, in curves")
    say(f"next: {shlex.join(['seetell', 'convert', str(folder), f'{name}-model'])}")
