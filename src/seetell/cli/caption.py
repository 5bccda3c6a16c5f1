"""``seetell caption``: describe photos."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from itertools import tee
from typing import TYPE_CHECKING, Annotated, Any, Literal

from seetell.cli.inputs import PhotosArgument, listed, stream
from seetell.cli.options import RemoteShared, comma_list, open_any, option, shared_options
from seetell.cli.results_file import ResultsOption, results_file
from seetell.cli.sheet import SheetOption, sheet_file

if TYPE_CHECKING:
    from seetell.core.results import Caption, Failure
    from seetell.tasks.api import AnyModel

COLUMNS = (
    *("photo", "language", "text", "confidence", "unsure", "guess", "score", "cut"),
    *("model", "precision"),
)

Method = Literal["autoregressive", "mask-predict"]


@shared_options
def caption(
    photos: PhotosArgument,
    language: Annotated[
        str | None,
        option(
            "--language",
            metavar="en|zh|en,zh",
            help="Write in this language, or in several.",
            show_default="the model's first",
        ),
    ] = None,
    beams: Annotated[
        int | None,
        option("--beams", min=1, help="Search with so many beams; 1 is greedy.", show_default="the model's"),
    ] = None,
    count: Annotated[int, option("--count", min=1, help="Give so many captions per photo, best first.")] = 1,
    max_tokens: Annotated[
        int | None,
        option("--max-tokens", min=1, help="Write at most so many tokens.", show_default="the model's"),
    ] = None,
    method: Annotated[
        Method | None,
        option(
            "--method", help="Write word by word, or all at once in a few passes.", show_default="the model's"
        ),
    ] = None,
    results: ResultsOption = None,
    sheet: SheetOption = None,
    *,
    shared: RemoteShared,
) -> None:
    """Describe photos in English or Chinese. Where the model is unsure, it says less."""
    languages = comma_list(language, "--language") if language is not None else [None]
    kept = results_file(results, COLUMNS) if results is not None else None
    page = sheet_file(sheet, "Captions") if sheet is not None else None
    with shared.output(kept, page) as out:
        model = open_any(shared, out)
        given = {
            "beams": beams,
            "max_tokens": max_tokens,
            "method": method.replace("-", "_") if method else None,
        }
        options = model.generation_options(**{name: v for name, v in given.items() if v is not None})
        paths, total = listed(photos, out)
        answers = _captions(model, paths, languages, {"count": count, "options": options})
        from seetell.core.results import Failure

        for name, result in out.progress(answers, "captions", total):
            if isinstance(result, Failure):
                out.failure(name, result.error)
                continue
            for found in result:
                # Who asks for several captions wants to know what else it may be.
                guess = (f"perhaps {found.guess}",) if found.unsure and count > 1 else ()
                out.result({"photo": name, **asdict(found)}, name, shown(found), *guess)


def _captions(
    model: AnyModel, paths: Iterable[str], languages: list[str] | list[None], settings: dict[str, Any]
) -> Iterator[tuple[str, list[Caption] | Failure]]:
    """The captions of each photo in all languages, or that it failed, which is told once."""
    from seetell.core.results import Failure

    # Side by side, so that a photo's languages stand together and none waits for the others' end.
    streams = [
        stream(model, "captions", some, language=language, **settings)
        for language, some in zip(languages, tee(paths, len(languages)), strict=True)
    ]
    for answers in zip(*streams, strict=True):
        name = answers[0][0]
        failed = next((found for _, found in answers if isinstance(found, Failure)), None)
        yield name, failed or [one for _, found in answers for one in found]


def shown(caption: Caption) -> str:
    """A caption for people."""
    return f"not sure: {caption.text}" if caption.unsure else caption.text
