"""``seetell match``: how well each text fits a photo."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from seetell.cli.inputs import PhotoArgument, listed, stream, tell_doubts
from seetell.cli.options import Shared, open_model, shared_options
from seetell.cli.output import percent
from seetell.cli.results_file import ResultsOption, results_file

COLUMNS = ("photo", "text", "probability", "similarity", "model", "precision")


@shared_options
def match(
    photo: PhotoArgument,
    texts: Annotated[list[str], typer.Argument(metavar="TEXT", help="Texts to compare with the photo.")],
    results: ResultsOption = None,
    *,
    shared: Shared,
) -> None:
    """Say how well each text fits a photo."""
    kept = results_file(results, COLUMNS) if results is not None else None
    with shared.output(kept) as out:
        model = open_model(shared)
        tell_doubts(texts, model, out)
        paths, total = listed([photo], out)
        from seetell.core.results import Failure

        for name, found in out.progress(stream(model, "match", paths, texts=texts), "photos", total):
            if isinstance(found, Failure):
                out.failure(name, found.error)
                continue
            rows = [
                (
                    {"photo": name, **asdict(one)},
                    (
                        one.text,
                        percent(one.probability),
                        "–" if one.similarity is None else f"{one.similarity:.3f}",
                    ),
                )
                for one in found
            ]
            out.results(rows, ("text", "probability", "similarity"), name, titled_lines=True)
