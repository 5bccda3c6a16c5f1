"""``seetell search``: find photos by a text or by another photo."""

from __future__ import annotations

import math
import os
import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.core

from seetell.cli.inputs import no_empty_paths
from seetell.cli.options import Shared, option, shared_options
from seetell.cli.output import Output, percent, say
from seetell.cli.search_place import Place, open_place
from seetell.cli.sheet import SheetOption, require_page, write_sheet

if TYPE_CHECKING:
    from seetell.core.results import Hit
    from seetell.search.photo_index import PhotoIndex


class SearchCommand(typer.core.TyperCommand):
    """A command whose text may begin with a minus: "-people" is no option."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        takes_value = {
            name: not getattr(parameter, "is_flag", False)
            for parameter in self.get_params(ctx)
            for name in (*parameter.opts, *parameter.secondary_opts)
            if name.startswith("-")
        }
        options: list[str] = []
        texts: list[str] = []
        left = iter(args)
        for one in left:
            if one == "--":
                texts += left
            elif one[:1] == "-" and one[:2] != "--" and one not in takes_value and not _SHORT.fullmatch(one):
                texts.append(one)
            else:
                options.append(one)
                if takes_value.get(one, False):
                    options += islice(left, 1)
        return super().parse_args(ctx, [*options, "--", *texts] if texts else options)


# To find the nearest, whether it fits or not; a second look would cost as much as the first.
_NEAREST = {"k": 1, "min_probability": 0.0, "rerank": False}

# As many as are read at a glance.
_CAMERAS_NAMED = 8

# A short option with its value, and a minus alone.
_SHORT = re.compile(r"-k\d+|-")


@shared_options
def search(
    text: Annotated[
        str | None,
        typer.Argument(
            metavar="TEXT", help="What to look for; left out, a terminal is asked again and again."
        ),
    ] = None,
    inside: Annotated[
        str,
        option(
            "--in",
            metavar="FOLDER|INDEX",
            help="Search this folder, by FOLDER.index if `seetell index` made one, or this index.",
        ),
    ] = ".",
    image: Annotated[
        Path | None,
        option("--image", metavar="F", help="Look for photos like this one; with TEXT, both count."),
    ] = None,
    k: Annotated[int, option("-k", min=1, help="Find so many.")] = 5,
    after: Annotated[
        str | None,
        option(
            "--after",
            metavar="DATE",
            help="Find only photos taken on this date or later: 2025, 2025-06 or 2025-06-01.",
            show_default="any",
        ),
    ] = None,
    before: Annotated[
        str | None,
        option(
            "--before", metavar="DATE", help="Find only photos taken before this date.", show_default="any"
        ),
    ] = None,
    camera: Annotated[
        str | None,
        option(
            "--camera",
            metavar="NAME",
            help="Find only photos by cameras with NAME in their maker or model.",
            show_default="any",
        ),
    ] = None,
    where: Annotated[
        str | None,
        option(
            "--where",
            metavar="SQL",
            help="Find only photos for which this holds: \"taken > '2025-06-01' and camera like 'Canon%'\".",
        ),
    ] = None,
    hybrid: Annotated[
        bool, option("--hybrid", help="Look for the words of TEXT in the index's captions, too.")
    ] = False,
    rerank: Annotated[
        bool, option("--rerank", help="Have the model's matching head look at the best again; slower.")
    ] = False,
    all_copies: Annotated[
        bool, option("--all-copies", help="Show every file of the same bytes, not one for all.")
    ] = False,
    min_probability: Annotated[
        float | None,
        option(
            "--min-probability",
            metavar="P",
            min=0,
            max=1,
            help="Leave out photos that fit TEXT less probably; 0 shows the nearest all the same.",
            show_default="as the model was calibrated",
        ),
    ] = None,
    sheet: SheetOption = None,
    *,
    shared: Shared,
) -> None:
    """Find the photos of a folder that fit a text or resemble a photo.

    A word after a minus, or words in quotes after one, say what is not wanted: "beach -people". Files of the
    same bytes count as one photo.
    """
    from seetell.core.errors import UsageError
    from seetell.core.files import require_writable
    from seetell.search.conditions import condition

    no_empty_paths([inside])
    asks = text is None and image is None
    if asks and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("search: say what to look for with TEXT, --image F, or both")
    if asks and sheet is not None:
        raise UsageError(
            "search: a sheet is of one search; say what to look for with TEXT, --image F, or both"
        )
    settings: dict[str, Any] = {
        "k": k,
        "where": condition(where, after=after, before=before, camera=camera),
        "hybrid": hybrid,
        "rerank": rerank,
        "all_copies": all_copies,
        "min_probability": min_probability,
    }
    given = {"--after": after, "--before": before, "--camera": camera, "--where": where}
    conditions = [name for name, value in given.items() if value is not None]

    with shared.output() as out:
        if sheet is not None:
            require_page(sheet)
            require_writable(sheet)
        place = open_place(inside, shared, out)
        if conditions and not place.stored:
            raise UsageError(
                f"{' and '.join(conditions)} need{'s' if len(conditions) == 1 else ''} an index, which knows "
                "what photos say of themselves; "
                f"make one with seetell index {shlex.quote(inside)}"
            )
        if asks:
            _keep_asking(place, settings, out)
            return
        if not place.stored:
            # While nothing is in it, for its errors alone: a query that is none must not cost a folder's
            # reading.
            place.index.search(text, image=image, **settings)
            place.fill(out)
        hits = place.index.search(text, image=image, **settings)
        query = " + ".join(str(part) for part in (text, image) if part is not None)
        if sheet is None or not shared.quiet:
            _show(hits, query, place, out)
        if not hits and len(place.index):
            nearest = place.index.search(text, image=image, **{**settings, **_NEAREST})
            out.note(
                _none_fits(query, nearest[0], place)
                if nearest
                else _conditions_leave_none(conditions, camera, place.index)
            )
        for remark in place.index.remarks(text, image=image) if text is not None else ():
            out.note(remark)
        place.advise(out)
        if sheet is not None:
            write_sheet(sheet, query, hits)
            out.note(f"contact sheet written to {sheet}")


def _none_fits(query: str, nearest: Hit, place: Place) -> str:
    """That no photo fits what was looked for, and how to see the nearest."""
    inside = f"the {len(place.index):,} photos" if len(place.index) > 1 else "the one photo"
    return (
        f"nothing in {inside} fits {query!r} (the nearest: {percent(nearest.probability)}); "
        "--min-probability 0 shows the nearest all the same"
    )


def _conditions_leave_none(conditions: list[str], camera: str | None, index: PhotoIndex) -> str:
    """That conditions leave no photo, and which cameras there would be."""
    said = f"no photo in the index fits {' and '.join(conditions)}"
    if camera is None:
        return said
    cameras = index.cameras()
    named = ", ".join(cameras[:_CAMERAS_NAMED]) + (", ..." if len(cameras) > _CAMERAS_NAMED else "")
    return f"{said}; its cameras are: {named}" if cameras else f"{said}; its photos name no camera"


def _keep_asking(place: Place, settings: dict[str, Any], out: Output) -> None:
    """Search for one text after another, as somebody types them."""
    from seetell.core.errors import SeetellError

    place.fill(out)
    place.advise(out)
    for query in _asked():
        # What is wrong with one search is no reason not to ask for the next.
        try:
            hits = place.index.search(query, **settings)
            _show(hits, query, place, out)
            if not hits and len(place.index):
                nearest = place.index.search(query, **{**settings, **_NEAREST})
                if nearest:
                    out.note(_none_fits(query, nearest[0], place))
            for remark in place.index.remarks(query):
                out.note(remark)
        except SeetellError as error:
            say(f"error: {error}")


def _asked() -> Iterator[str]:
    """What somebody types, line by line, until an empty one or Ctrl-D."""
    with suppress(ImportError):
        import readline  # noqa: F401 (with it `input` lets lines be edited and brought back)
    say("Say what to look for; an empty line or Ctrl-D ends.")
    while True:
        try:
            line = input("search> ").strip()
        except EOFError:
            typer.echo()
            return
        if not line:
            return
        yield line


def _show(hits: list[Hit], query: str, place: Place, out: Output) -> None:
    """The hits. Those that are gone are marked, and said once."""
    gone = sum(hit.gone for hit in hits)
    judged = any(hit.probability is not None for hit in hits)
    headers = ("rank", "photo", "score") + (("fits",) if judged else ()) + (("",) if gone else ())
    rows = []
    for hit in hits:
        score = "–" if math.isnan(hit.score) else f"{hit.score:.3f}"
        cells = [str(hit.rank), from_here(hit.photo), score]
        cells += [percent(hit.probability)] if judged else []
        cells += ["gone" if hit.gone else ""] if gone else []
        rows.append((asdict(hit), tuple(cells)))
    out.results(rows, headers, f"{query} ({len(place.index)} photos)", counted=False)
    if gone:
        again = "; `seetell index FOLDER` brings the index up to date" if place.stored else ""
        out.note(
            f"{gone} of these {len(hits)} photos {'is' if gone == 1 else 'are'} not there any more{again}"
        )


def from_here(path: str) -> str:
    """A path as one would write it in the current folder, where that is the shorter way."""
    try:
        relative = os.path.relpath(path)
    except (OSError, ValueError):  # the current folder is gone, or on another drive of Windows
        return path
    return min(path, relative, key=len)
