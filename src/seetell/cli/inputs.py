"""From what stands on the command line to photos: files, folders, and ``-`` for paths on standard input."""

from __future__ import annotations

import codecs
import os
import sys
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from seetell.cli.output import Output
    from seetell.tasks.api import AnyModel

Item = TypeVar("Item")

STDIN = "-"

PhotosArgument = Annotated[
    list[str], typer.Argument(metavar="PHOTO", help="Files, folders, or - for paths on standard input.")
]
PhotoArgument = Annotated[
    str, typer.Argument(metavar="PHOTO", help="A file, a folder, or - for paths on standard input.")
]


def expand(photos: Iterable[str], note: Callable[[str], None]) -> Iterator[str]:
    """Paths of single photos, folders walked in sorted order.

    Files named outright are always given, so that a missing one is reported in its place; so is a folder
    without photos that stands among others. What the walk left out is said at the end, through ``note``.
    Raises UsageError for a folder without photos that is all there is, and, before anything is given, for an
    empty path.
    """
    from seetell.core.errors import UsageError
    from seetell.media.listing import Skipped, photo_paths

    skipped = Skipped()
    named = list(photos)
    no_empty_paths(named)
    for photo in named:
        if photo == STDIN:
            yield from _stdin_paths()
            continue
        found = False
        for path in photo_paths([photo], skipped):
            found = True
            yield path
        if not found and len(named) > 1:
            # It fails by name where it is read, and costs the others nothing.
            yield photo
        elif not found:
            why = "".join(f" ({words})" for words in skipped.words())
            raise UsageError(f"{photo}: no photos in this folder{why}")
    for words in skipped.words():
        note(words)


def no_empty_paths(paths: Iterable[str]) -> None:
    """Raises UsageError for an empty path."""
    from seetell.core.errors import UsageError

    if not all(paths):
        # Path("") is the current folder, which an unset variable of the shell does not mean.
        raise UsageError("an empty path is given where a photo or a folder belongs")


def listed(photos: Iterable[str], out: Output) -> tuple[Iterable[str], int | None]:
    """The expanded photos and, where ``out`` may draw a progress bar, how many there are.

    Standard input is never read ahead: what writes to it may be waiting for our answers.
    """
    given = list(photos)
    if out.wants_total and STDIN not in given:
        everything = list(expand(given, out.note))
        out.fit_names(everything)
        return everything, len(everything)
    return expand(given, out.note), None


def tell_doubts(
    texts: Collection[str], model: AnyModel, out: Output, *, told: Collection[str] = ()
) -> list[str]:
    """Say what is doubtful about texts that the model is given, but for what was told before; returns it."""
    from seetell.tasks.remarks import remarks_on

    remarks = [remark for remark in remarks_on(texts, model) if remark not in told]
    for remark in remarks:
        out.note(remark)
    return remarks


def stream(model: AnyModel, verb: str, items: Iterable[Item], **options: Any) -> Iterator[tuple[Item, Any]]:
    """``model.stream`` with each result's item (a photo, or a photo and its question) beside it."""
    given: deque[Item] = deque()

    def remembered() -> Iterator[Item]:
        for item in items:
            given.append(item)
            yield item

    # Results come in the order of the items, one each, so the oldest is always the right one.
    for result in model.stream(verb, remembered(), **options):
        yield given.popleft(), result


def _stdin_paths() -> Iterator[str]:
    # Bytes, because a path need not be valid UTF-8.
    for number, line in enumerate(sys.stdin.buffer):
        # Some shells begin with a byte order mark.
        path = os.fsdecode((line if number else line.removeprefix(codecs.BOM_UTF8)).rstrip(b"\r\n"))
        if path:
            yield path
