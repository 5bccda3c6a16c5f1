"""Where ``seetell search`` looks: in an index, in the index that lies beside a folder, or in the folder."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from seetell.cli.inputs import listed
from seetell.cli.options import Shared, open_model
from seetell.cli.output import Output

if TYPE_CHECKING:
    from seetell.search.photo_index import PhotoIndex
    from seetell.tasks.api import AnyModel

ENDING = ".index"

# From so many photos on it is said that an index would save reading them each time.
_WORTH_AN_INDEX = 50


@dataclass(slots=True)
class Place:
    """stored: the index is on disk, and holds photos already. folder: what was given, to be read where it is
    not stored."""

    index: PhotoIndex
    stored: bool
    folder: str

    def fill(self, out: Output) -> None:
        """Read the folder's photos, where no index has them."""
        from seetell.core.results import Failure

        if self.stored:
            return
        paths, total = listed([self.folder], out)
        for result in out.progress(self.index.changes(paths), "photos", total):
            if isinstance(result, Failure):
                out.failure(result.photo, result.error)
            else:
                out.succeeded += 1

    def advise(self, out: Output) -> None:
        """Say how the next search of so many photos would be at once."""
        if not self.stored and Path(self.folder).is_dir() and len(self.index) >= _WORTH_AN_INDEX:
            command = f"seetell index {shlex.quote(self.folder)}"
            out.note(f"{len(self.index):,} photos were read; `{command}` keeps them, and searches find it")


def open_place(given: str, shared: Shared, out: Output) -> Place:
    """What ``--in`` means. Raises what opening the model and the index raises."""
    from seetell.search.index_folder import is_index
    from seetell.search.photo_index import PhotoIndex

    model = open_model(shared)
    if is_index(Path(given)):
        return Place(PhotoIndex(given, model, threads=shared.threads), True, given)
    in_memory = PhotoIndex(None, model, threads=shared.threads)
    beside = _index_beside(given)
    index = None if beside is None else _fitting(beside, given, model, shared.threads, out)
    return Place(in_memory, False, given) if index is None else Place(index, True, given)


def default_place(folder: str) -> Path | None:
    """Where ``seetell index`` keeps the index of a folder unless told: ``photos/`` -> ``photos.index``. None
    for a folder without a name."""
    path = Path(folder).absolute()
    return None if not path.name or path.name == ".." else path.with_name(path.name + ENDING)


def _index_beside(folder: str) -> Path | None:
    from seetell.search.index_folder import is_index

    place = default_place(folder) if Path(folder).is_dir() else None
    return place if place is not None and is_index(place) else None


def _fitting(
    place: Path, folder: str, model: AnyModel, threads: int | None, out: Output
) -> PhotoIndex | None:
    """The folder's index, where it can answer for this model; which it is, or why it is none, is said."""
    from seetell.core.errors import MissingExtra, StorageError, UsageError
    from seetell.search.photo_index import PhotoIndex

    try:
        index = PhotoIndex(place, model, threads=threads)
        index.require_model()
        count = len(index)
    except (MissingExtra, StorageError, UsageError) as error:
        out.note(f"{folder} is read anew: {error}")
        return None
    if not count:
        return None
    update = f"seetell index {shlex.quote(folder)}"
    out.note(f"searching {place.name}, {count:,} photos; `{update}` brings it up to date")
    return index
