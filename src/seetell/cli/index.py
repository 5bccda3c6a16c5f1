"""``seetell index``: keep an index of photos on disk, and bring it up to date."""

from __future__ import annotations

import os
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seetell.cli.options import Shared, open_model, option, shared_options
from seetell.cli.output import Output
from seetell.cli.search_place import default_place

if TYPE_CHECKING:
    from seetell.search.photo_index import PhotoIndex

_BATCH_SIZE = 32


@shared_options
def index(
    folders: Annotated[
        list[str], typer.Argument(metavar="FOLDER", help="Folders of photos, with all below them.")
    ],
    place: Annotated[
        str | None,
        option(
            "--index",
            metavar="DIR",
            help="Keep the index here.",
            show_default="FOLDER.index, beside the folder",
        ),
    ] = None,
    caption: Annotated[
        bool, option("--caption", help="Also caption each photo that has no caption, for `search --hybrid`.")
    ] = False,
    language: Annotated[
        str | None,
        option(
            "--language", help="Caption in this language, such as en or zh.", show_default="the model's first"
        ),
    ] = None,
    duplicates: Annotated[
        bool, option("--duplicates", help="List groups of photos that are the same or look alike.")
    ] = False,
    check: Annotated[
        bool, option("--check", help="Measure how many of an exact search's results a search finds.")
    ] = False,
    remove: Annotated[bool, option("--remove", help="Take FOLDER's photos out of the index.")] = False,
    retry: Annotated[
        bool, option("--retry", help="Also try files that could not be read before and have not changed.")
    ] = False,
    *,
    shared: Shared,
) -> None:
    """Bring an index of photos up to date: add what is new, read again what has changed, drop what is gone.

    Photos that have not changed are not opened, moved ones are recognised. It may be stopped at any time and
    goes on where it was. Find photos with `seetell search TEXT --in DIR`.
    """
    from seetell.cli.inputs import no_empty_paths
    from seetell.search.photo_index import PhotoIndex

    no_empty_paths(folders if place is None else [*folders, place])
    with shared.output() as out:
        where = index_place(folders) if place is None else Path(place)
        # Many photos, and nobody waits for the first: larger batches are a tenth faster on several threads.
        batch_size = _BATCH_SIZE if shared.batch_size is None and shared.threads != 1 else shared.batch_size
        photos = PhotoIndex(where, open_model(replace(shared, batch_size=batch_size)), threads=shared.threads)
        if remove:
            count = photos.remove(folders)
            out.result({"index": str(where), "removed": count}, str(where), f"{count} photos taken out")
            return
        _update(photos, folders, where, retry, out)
        if caption:
            _caption(photos, language, out)
        if duplicates:
            for number, group in enumerate(photos.duplicates(), 1):
                out.result({"group": number, "photos": group}, f"alike {number}", *group)
        if check:
            measured = photos.check()
            out.result(
                {"check": asdict(measured)},
                "check",
                f"recall@{measured.k} by photo {measured.recall_by_photo:.3f}",
                f"by text {measured.recall_by_text:.3f}",
                f"{measured.p50_ms:.1f} ms a search",
            )


def index_place(folders: list[str]) -> Path:
    """Where the index of a folder is kept unless told: ``photos/`` -> ``photos.index``.

    Raises UsageError for several folders, and for one without a name.
    """
    from seetell.core.errors import UsageError

    if len(folders) > 1:
        raise UsageError("index: say where to keep the index of several folders with --index DIR")
    place = default_place(folders[0])
    if place is None:
        raise UsageError(f"index: say where to keep the index of {folders[0]} with --index DIR")
    return place


def _caption(photos: PhotoIndex, language: str | None, out: Output) -> None:
    from seetell.core.results import Failure

    done = 0
    total = photos.uncaptioned() if out.wants_total else None
    for result in out.progress(photos.caption(language), "captions", total):
        if isinstance(result, Failure):
            out.failure(result.photo, result.error)
        else:
            done += 1
    out.note(f"{done} photos captioned")


def _update(photos: PhotoIndex, folders: list[str], where: Path, retry: bool, out: Output) -> None:
    from seetell.core.errors import UsageError
    from seetell.core.results import Failure
    from seetell.media.listing import Skipped, photo_paths

    there = [folder for folder in folders if os.path.isdir(folder)]
    for folder in folders:
        if not there:
            raise UsageError(f"{folder}: no such folder")
        if folder not in there:
            # A disk that is not mounted, perhaps: what the index has of it stays, and the others go on.
            out.failure(folder, UsageError(f"{folder}: no such folder"))
    counts = dict.fromkeys(("added", "updated", "moved", "removed", "unchanged", "failed_before"), 0)
    skipped = Skipped()
    started = time.perf_counter()
    changes = photos.changes(there, retry=retry, skipped=skipped)
    for change in out.progress(changes, "photos", lambda: sum(1 for _ in photo_paths(there))):
        if isinstance(change, Failure):
            out.failure(change.photo, change.error)
        else:
            counts[change.what] += 1
    spent_s = time.perf_counter() - started
    read = counts["added"] + counts["updated"]
    before = counts.pop("failed_before")
    fields = {
        "index": str(where),
        **counts,
        "failed": out.failed,
        "failed_before": before,
        "skipped": len(skipped),
        "photos": len(photos),
        "photos_per_s": round(read / spent_s, 1),
    }
    said = [f"{count} {what}" for what, count in counts.items() if count]
    out.result(fields, str(where), f"{len(photos)} photos", ", ".join(said) or "no photos")
    out.succeeded = sum(counts.values()) - counts["removed"]
    if before:
        files = "1 file" if before == 1 else f"{before:,} files"
        out.note(f"{files} could not be read before and did not change since; --retry tries again")
    for words in skipped.words():
        out.note(words)
