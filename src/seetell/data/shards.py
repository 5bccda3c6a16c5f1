"""Reading prepared shards: samples with their photos' bytes, in a fixed order, from any place in it.

    shards = open_shards(Path("prepared"), split="train")
    for sample, position in shards.read(saved_position):
        sample.caption_record()        # CaptionRecord[bytes], or None
        sample.question_records()      # tuple of QuestionRecord[bytes]
        sample.label_record()          # LabelRecord[bytes], or None

``position`` is where the sample after this one is: kept with a checkpoint and given to ``read`` again, the
run goes on with exactly the samples it has not had. ``order`` is the order of the shards; give the same with
the position. A shard is an ordinary tar, read from its beginning to its end: one open file and no index.

``index(place)`` is the other way to read: any sample by its number in its shard, in any order.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from seetell.core.errors import DataError, UsageError
from seetell.data.photo_bytes import read_photo
from seetell.data.photo_refs import FileSlice
from seetell.data.preparing.folder import FORMAT_VERSION, SUMMARY_NAME, read_summary
from seetell.data.records import Sample
from seetell.data.shard_index import ShardIndex, parsed, read_index, sample_of

# Splits of a source that names none are called this in the names of shards.
NO_SPLIT = "data"


@dataclass(frozen=True, slots=True)
class Position:
    """Before which sample reading goes on: ``shard`` counts in the order read, ``sample`` in that shard."""

    shard: int = 0
    sample: int = 0


@dataclass(frozen=True)
class Shards:
    """The shards of one split. ``counts``: samples of each."""

    paths: tuple[Path, ...]
    counts: tuple[int, ...]

    def __len__(self) -> int:
        return sum(self.counts)

    def read(
        self, start: Position | None = None, order: Sequence[int] | None = None
    ) -> Iterator[tuple[Sample[bytes], Position]]:
        """Every sample from ``start`` on, each with the position after it.

        order: the places of the shards in the order to read them; None for their own.

        Raises DataError for a shard that is missing or damaged, UsageError for a position or an order that
        is none of these shards.
        """
        for sample, position in self.read_refs(start, order):
            # One of our own photos that cannot be read is a damaged shard; its ImageError says which.
            yield _with_bytes(sample), position

    def read_refs(
        self, start: Position | None = None, order: Sequence[int] | None = None
    ) -> Iterator[tuple[Sample[FileSlice], Position]]:
        """As :meth:`read`, with the place of each photo's bytes (see ``seetell.data.photo_refs``): to list
        everything and read photos in any order."""
        start = Position() if start is None else start
        places = range(len(self.paths)) if order is None else order
        if sorted(places) != list(range(len(self.paths))):
            raise UsageError(f"order: needs each of the {len(self.paths)} shards once")
        if not (0 <= start.shard <= len(self.paths) and start.sample >= 0):
            raise UsageError(f"{start}: there are {len(self.paths)} shards")
        for shard in range(start.shard, len(self.paths)):
            place = places[shard]
            skipped = start.sample if shard == start.shard else 0
            if skipped > self.counts[place]:
                raise UsageError(f"{start}: {self.paths[place]} has {self.counts[place]} samples")
            number = 0
            for number, sample in enumerate(_samples(self.paths[place]), 1):
                if number > skipped:
                    yield sample, Position(shard, number)
            if number != self.counts[place]:
                raise DataError(
                    f"{self.paths[place]}: has {number} samples and should have {self.counts[place]}; "
                    "prepare the data again"
                )

    def index(self, place: int) -> ShardIndex:
        """The index of one shard, read anew. Raises DataError and MissingExtra."""
        return read_index(self.paths[place], self.counts[place])

    @cached_property
    def size_bytes(self) -> int:
        """Of all shards together."""
        return sum(path.stat().st_size for path in self.paths)


def open_shards(folder: Path, split: str | None = None) -> Shards:
    """The shards that ``seetell prepare`` wrote into ``folder``, of one split, or of the only one there is.

    What has no splits has one called ``data``; all of it is meant by ``train`` too.

    Raises DataError where the folder is not prepared (or not to its end), and UsageError for a split that is
    not there.
    """
    summary = read_summary(folder)
    if summary is None:
        raise DataError(
            f"{folder}: no prepared data ({SUMMARY_NAME} is missing or damaged); run `seetell prepare`, "
            "or run it again to its end"
        )
    if summary.get("version") != FORMAT_VERSION:
        raise DataError(f"{folder}: prepared by another version of seetell; prepare it again (--overwrite)")
    try:
        splits: dict[str, list[tuple[Path, int]]] = {
            str(name): [(folder / str(one["name"]), int(one["samples"])) for one in part["shards"]]
            for name, part in summary["splits"].items()
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{folder / SUMMARY_NAME}: damaged; prepare the data again") from error
    if len(splits) == 1 and (split is None or (split == "train" and NO_SPLIT in splits)):
        [split] = splits
    there = ", ".join(splits) or "none"
    if split is None:
        raise UsageError(f"{folder}: which split? It has: {there}")
    if split not in splits:
        raise UsageError(
            f"{folder} has no split {split!r}; it has: {there}. Name one of these as the split, or make one: "
            f"seetell prepare SOURCE {folder} --val 0.1 --overwrite"
        )
    listed = splits[split]
    for path, _ in listed:
        if not path.is_file():
            raise DataError(f"{path}: missing; prepare the data again")
    return Shards(tuple(path for path, _ in listed), tuple(count for _, count in listed))


def _with_bytes(sample: Sample[FileSlice]) -> Sample[bytes]:
    return Sample(
        sample.key,
        read_photo(sample.photo),
        sample.captions,
        sample.questions,
        sample.label,
        sample.split,
    )


def _samples(path: Path) -> Iterator[Sample[FileSlice]]:
    """The samples of one shard, in its order. Each is a photo, its JSON, and perhaps a text."""
    photo: FileSlice | None = None
    try:
        with open(path, "rb") as raw, tarfile.open(fileobj=raw, mode="r:") as archive:
            while (member := archive.next()) is not None:
                # tarfile remembers every member, and a shard may have many.
                vars(archive)["members"].clear()
                ending = member.name.rpartition(".")[2]
                if ending == "json":
                    file = archive.extractfile(member)
                    if photo is None or file is None:
                        raise DataError(f"{path}: {member.name} has no photo; prepare the data again")
                    where = f"{path}:{member.name}"
                    yield sample_of(parsed(file.read(), where), photo, where)
                    photo = None
                elif ending != "txt":
                    photo = FileSlice(path, member.offset_data, member.size, member.name)
    except (tarfile.TarError, EOFError) as error:
        raise DataError(f"{path}: damaged ({error}); prepare the data again") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
