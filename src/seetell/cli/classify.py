"""``seetell classify``: the label that fits a photo best."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from seetell.cli.inputs import PhotosArgument, listed, stream, tell_doubts
from seetell.cli.options import RemoteShared, alternatives, open_any, option, shared_options
from seetell.cli.output import percent, with_percent
from seetell.cli.results_file import ResultsOption, results_file
from seetell.cli.sheet import SheetOption, sheet_file

COLUMNS = ("photo", "label", "probability", "ranking", "model", "precision", "none_probability", "none")


@shared_options
def classify(
    photos: PhotosArgument,
    labels: Annotated[
        str | None,
        option(
            "--labels",
            metavar="a,b|@FILE",
            help="Choose among these labels, or those of a file with one per line.",
            show_default="the model's own, if it has any",
        ),
    ] = None,
    results: ResultsOption = None,
    sheet: SheetOption = None,
    *,
    shared: RemoteShared,
) -> None:
    """Choose the label that fits each photo best, or none of them where none does.

    Whether one does is said by models whose bundle tells how probable that is.
    """
    kept = results_file(results, COLUMNS) if results is not None else None
    page = sheet_file(sheet, "Labels") if sheet is not None else None
    with shared.output(kept, page) as out:
        wanted = alternatives(labels, "--labels") if labels is not None else None
        model = open_any(shared, out)
        tell_doubts(wanted or (), model, out)
        paths, total = listed(photos, out)
        from seetell.core.results import Failure

        for name, found in out.progress(stream(model, "classify", paths, labels=wanted), "photos", total):
            if isinstance(found, Failure):
                out.failure(name, found.error)
                continue
            first = 0 if found.none else 1
            others = ", ".join(with_percent(one.label, one.probability) for one in found.ranking[first:4])
            said = with_percent(found.label, found.probability)
            if found.none:
                said = f"none of these {percent(found.none_probability)}"
            out.result({"photo": name, **asdict(found)}, name, said, others)
