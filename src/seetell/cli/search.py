"""``seetell search``: find photos by a text or by another photo."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seetell.cli.inputs import listed
from seetell.cli.options import Shared, open_model, option, shared_options
from seetell.cli.output import Output

if TYPE_CHECKING:
    from seetell.core.results import Hit
    from seetell.search.photo_index import PhotoIndex


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
    sheet: Annotated[
        Path | None, option("--sheet", metavar="F.html", help="Also write the results as one HTML page.")
    ] = None,
    *,
    shared: Shared,
) -> None:
    """Find the photos of a folder that fit a text or resemble a photo.

    A word after a minus, or words in quotes after one, say what is not wanted: "beach -people".
    """
    from seetell.core.errors import UsageError
    from seetell.search.index_folder import is_index
    from seetell.search.photo_index import PhotoIndex

    if text is None and image is None:
        raise UsageError("search: say what to look for with TEXT, --image F, or both")

    def find(index: PhotoIndex) -> list[Hit]:
        return index.search(text, image=image, k=k, where=where, hybrid=hybrid, rerank=rerank)

    with Output(json=shared.json) as out:
        stored = is_index(Path(inside))
        index = PhotoIndex(inside if stored else None, open_model(shared), threads=shared.threads)
        if not stored:
            # While nothing is in it, for its errors alone: a query that is none must not cost a folder's
            # reading.
            find(index)
            _fill(index, inside, out)
        hits = find(index)
        query = " + ".join(str(part) for part in (text, image) if part is not None)
        rows = [(asdict(hit), (str(hit.rank), hit.photo, f"{hit.score:.3f}")) for hit in hits]
        out.results(rows, ("rank", "photo", "score"), f"{query} ({len(index)} photos)", counted=False)
        if sheet is not None:
            from seetell.cli.sheet import write_sheet

            write_sheet(sheet, query, hits)
            out.note(f"contact sheet written to {sheet}")


def _fill(index: PhotoIndex, folder: str, out: Output) -> None:
    from seetell.core.results import Failure

    paths, total = listed([folder], out.wants_total)
    for result in out.progress(index.changes(paths), "photos", total):
        if isinstance(result, Failure):
            out.failure(result.photo, result.error)
        else:
            out.succeeded += 1
