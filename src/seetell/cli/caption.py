"""``seetell caption``: describe photos."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Literal

from seetell.cli.inputs import PhotosArgument, listed, stream
from seetell.cli.options import Shared, open_model, option, shared_options
from seetell.cli.output import Output

if TYPE_CHECKING:
    from seetell.core.results import Caption

Method = Literal["autoregressive", "mask-predict"]


@shared_options
def caption(
    photos: PhotosArgument,
    language: Annotated[
        str | None,
        option(
            "--language", metavar="en|zh", help="Language of the caption.", show_default="the model's first"
        ),
    ] = None,
    beams: Annotated[
        int | None,
        option("--beams", min=1, help="Beams of the search; 1 is greedy.", show_default="the model's"),
    ] = None,
    count: Annotated[int, option("--count", min=1, help="Captions per photo, best first.")] = 1,
    max_tokens: Annotated[
        int | None,
        option("--max-tokens", min=1, help="Longest caption, in tokens.", show_default="the model's"),
    ] = None,
    method: Annotated[
        Method | None,
        option("--method", help="Word by word, or all at once in a few passes.", show_default="the model's"),
    ] = None,
    *,
    shared: Shared,
) -> None:
    """Describe photos in English or Chinese; says less where it is unsure."""
    with Output(json=shared.json) as out:
        model = open_model(shared)
        given = {
            "beams": beams,
            "max_tokens": max_tokens,
            "method": method.replace("-", "_") if method else None,
        }
        options = model.generation_options(**{name: v for name, v in given.items() if v is not None})
        paths, total = listed(photos, out.wants_total)
        answers = stream(model, "captions", paths, count=count, language=language, options=options)
        from seetell.core.results import Failure

        for name, result in out.progress(answers, "captions", total):
            if isinstance(result, Failure):
                out.failure(name, result.error)
                continue
            for found in result:
                # Who asks for several captions wants to know what else it may be.
                guess = (f"perhaps {found.guess}",) if found.unsure and count > 1 else ()
                out.result({"photo": name, **asdict(found)}, name, shown(found), *guess)


def shown(caption: Caption) -> str:
    """A caption for people."""
    return f"not sure: {caption.text}" if caption.unsure else caption.text
