"""``seetell cache``: what is kept on this machine, how large it is, and how to be rid of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from seetell.cli.options import JsonOption, option
from seetell.cli.output import Output, size

if TYPE_CHECKING:
    from seetell.cli.cache_contents import Kept


def cache(
    model: Annotated[
        str | None,
        typer.Argument(metavar="MODEL", help="Only what is kept of this model.", show_default="everything"),
    ] = None,
    clear: Annotated[
        bool, option("--clear", help="Remove it. What is needed again is made, or fetched, again.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Show where models and compiled graphs are kept, and how much room they take."""
    from seetell.cli.cache_contents import clear as remove
    from seetell.cli.cache_contents import contents
    from seetell.core.files import cache_folder

    with Output(json=json) as out:
        folder, kept = cache_folder(), contents(model)
        if clear:
            _cleared(out, kept, remove(kept))
            return
        if kept:
            out.results([_row(one) for one in kept], ("of", "size", "is", "in"), f"The cache, {folder}")
            total = size(sum(one.size_bytes for one in kept))
            out.note(
                f"{total} in {folder}; to remove it: seetell cache {f'{model} ' if model else ''}--clear"
            )
        else:
            out.note(f"nothing is kept {f'of {model} ' if model else ''}in {folder}")


def _row(kept: Kept) -> tuple[dict[str, Any], tuple[str, ...]]:
    fields = {
        "model": kept.model,
        "kind": kept.kind,
        "size_bytes": kept.size_bytes,
        "path": str(kept.path),
    }
    place = f"{kept.path.parent.name}/{kept.path.name}"
    return fields, (kept.model or "–", size(kept.size_bytes), kept.what, place)


def _cleared(out: Output, kept: list[Kept], freed_bytes: int) -> None:
    if out.json:
        out.result({"removed": [str(one.path) for one in kept], "freed_bytes": freed_bytes})
    else:
        out.note(f"{len(kept)} removed, {size(freed_bytes)} freed")
