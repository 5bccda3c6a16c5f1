"""``seetell search``: find photos by a text or by another photo."""

from __future__ import annotations

import math
import re
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.core

from seetell.cli.inputs import listed, no_empty_paths
from seetell.cli.options import Shared, open_model, option, shared_options
from seetell.cli.output import Output
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


# A short option with its value, and a minus alone.
_SHORT = re.compile(r"-k\d+|-")


@shared_options
def search(
    text: Annotated[str | None, typer.Argument(metavar="TEXT", help="What to look for.")] = None,
    inside: Annotated[
        str,
        option("--in", metavar="FOLDER|INDEX", help="Folder of photos, or an index made by `seetell index`."),
    ] = ".",
    image: Annotated[
        Path | None,
        option("--image", metavar="F", help="Look for photos like this one; with TEXT, both count."),
    ] = None,
    k: Annotated[int, option("-k", min=1, help="How many to find.")] = 5,
    where: Annotated[
        str | None,
        option(
            "--where",
            metavar="SQL",
            help="Only photos for which this holds: \"taken > '2025-06-01' and camera like 'Canon%'\".",
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
    from seetell.search.index_folder import is_index
    from seetell.search.photo_index import PhotoIndex

    no_empty_paths([inside])
    if text is None and image is None:
        raise UsageError("search: say what to look for with TEXT, --image F, or both")

    def find(index: PhotoIndex) -> list[Hit]:
        return index.search(
            text, image=image, k=k, where=where, hybrid=hybrid, rerank=rerank, all_copies=all_copies
        )

    with shared.output() as out:
        if sheet is not None:
            require_page(sheet)
            require_writable(sheet)
        stored = is_index(Path(inside))
        index = PhotoIndex(inside if stored else None, open_model(shared), threads=shared.threads)
        if not stored:
            # While nothing is in it, for its errors alone: a query that is none must not cost a folder's
            # reading.
            find(index)
            _fill(index, inside, out)
        hits = find(index)
        query = " + ".join(str(part) for part in (text, image) if part is not None)
        if sheet is None or not shared.quiet:
            _show(hits, f"{query} ({len(index)} photos)", stored, out)
        for remark in index.remarks(text, image=image) if text is not None else ():
            out.note(remark)
        if sheet is not None:
            write_sheet(sheet, query, hits)
            out.note(f"contact sheet written to {sheet}")


def _show(hits: list[Hit], title: str, stored: bool, out: Output) -> None:
    """The hits. Those that are gone are marked, and said once."""
    gone = sum(hit.gone for hit in hits)
    headers = ("rank", "photo", "score") + (("",) if gone else ())
    rows = []
    for hit in hits:
        cells = (str(hit.rank), hit.photo, "–" if math.isnan(hit.score) else f"{hit.score:.3f}")
        rows.append((asdict(hit), (*cells, "gone" if hit.gone else "") if gone else cells))
    out.results(rows, headers, title, counted=False)
    if gone:
        again = "; `seetell index FOLDER` brings the index up to date" if stored else ""
        out.note(
            f"{gone} of these {len(hits)} photos {'is' if gone == 1 else 'are'} not there any more{again}"
        )


def _fill(index: PhotoIndex, folder: str, out: Output) -> None:
    from seetell.core.results import Failure

    paths, total = listed([folder], out)
    for result in out.progress(index.changes(paths), "photos", total):
        if isinstance(result, Failure):
            out.failure(result.photo, result.error)
        else:
            out.succeeded += 1
