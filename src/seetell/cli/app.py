"""The commands, put together. Nothing here or in a command's file imports numpy, pydantic or an engine
before the command runs: ``seetell --help`` must answer at once."""

from __future__ import annotations

from typing import Annotated

import typer

from seetell.cli import (
    ask,
    cache,
    caption,
    chat,
    classify,
    compress,
    convert,
    demo,
    doctor,
    embed,
    evaluate,
    index,
    match,
    models,
    prepare,
    search,
    serve,
    train,
)
from seetell.cli.help_texts import give_help

HELP = """Ask a photo anything: captions, answers and search, offline.

PHOTO is a file, a folder, or - for paths on standard input. Every option is also an environment
variable: --batch-size is SEETELL_BATCH_SIZE. Exit status: 0 all done, 1 some inputs failed, 2 wrong
usage, 3 a quality gate failed. `seetell COMMAND --help` has examples."""

app = typer.Typer(
    name="seetell",
    help=HELP,
    no_args_is_help=True,
    add_completion=True,
    # Plain help: rich's costs a third of the time `seetell --help` may take.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
)

app.command("demo")(demo.demo)
app.command("caption")(caption.caption)
app.command("ask")(ask.ask)
app.command("chat")(chat.chat)
app.command("match")(match.match)
app.command("classify")(classify.classify)
app.command("embed")(embed.embed)
app.command("index")(index.index)
app.command("search", cls=search.SearchCommand)(search.search)
app.command("prepare")(prepare.prepare)
app.command("train")(train.train)
app.command("evaluate")(evaluate.evaluate)
app.command("compress")(compress.compress)
app.command("convert")(convert.convert)
app.command("serve")(serve.serve)
app.add_typer(models.app, name="models")
app.command("cache")(cache.cache)
app.command("doctor")(doctor.doctor)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"seetell {version('seetell')}")
        raise typer.Exit


@app.callback()
def _seetell(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options that stand before the command."""


# Without this the group's help would be the callback's docstring.
app.info.help = HELP
give_help(app)


def invoke(arguments: list[str]) -> int:
    """Parse and run; the exit status. Errors raised by a command come through as they are."""
    try:
        app(arguments, prog_name="seetell")
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    return 0
