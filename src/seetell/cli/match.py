"""``seetell match``: how well each text fits a photo."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from seetell.cli.inputs import PhotoArgument, listed, stream
from seetell.cli.options import Shared, open_model, shared_options
from seetell.cli.output import Output, percent


@shared_options
def match(
    photo: PhotoArgument,
    texts: Annotated[list[str], typer.Argument(metavar="TEXT", help="Texts to compare with the photo.")],
    *,
    shared: Shared,
) -> None:
    """Say how well each text fits a photo."""
    with Output(json=shared.json) as out:
        model = open_model(shared)
        paths, total = listed([photo], out.wants_total)
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
