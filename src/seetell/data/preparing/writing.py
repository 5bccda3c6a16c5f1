"""Writing shards: tars in the WebDataset layout, each with a parquet sidecar, on all cores.

Which sample goes into which shard depends on the samples alone, and a shard's bytes on its samples alone: a
run that was killed and goes on writes the very same files. A sidecar holds the digest of what its shard was
made from. It is removed before its shard is written and written after it, so a shard with a fitting sidecar
is whole and is not written again.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from seetell.core.errors import DataError, StorageError
from seetell.core.files import atomic_file, atomic_write_bytes, storage_error
from seetell.data.parquet import parquet_bytes, parquet_digest
from seetell.data.photo_refs import PhotoRef, ref_state
from seetell.data.preparing.deciding import Verdict
from seetell.data.preparing.folder import FORMAT_VERSION, digest_of
from seetell.data.preparing.measuring import Looked, photo_bytes
from seetell.data.preparing.parallel import WorkerDied, check_stopped, in_parallel
from seetell.data.records import AskedQuestion, Sample
from seetell.data.shard_index import ShardIndex, read_index
from seetell.data.shards import NO_SPLIT

# The last three say where in the shard a sample is, so that one can be read without those before it.
SIDECAR = (
    ("key", "string"),
    ("name", "string"),
    ("split", "string"),
    ("captions", "list<string>"),
    ("languages", "list<string>"),
    ("best_score", "float64"),
    ("n_questions", "int64"),
    ("n_answered", "int64"),
    ("label", "string"),
    ("width", "int64"),
    ("height", "int64"),
    ("size_bytes", "int64"),
    ("sha256", "string"),
    ("phash", "string"),
    ("photo_offset", "int64"),
    ("document_offset", "int64"),
    ("document_bytes", "int64"),
)


@dataclass(frozen=True, slots=True)
class Entry:
    """A sample as it goes into a shard: under ``name``, with ``document`` as its JSON."""

    name: str
    sample: Sample[PhotoRef]
    looked: Looked
    document: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Plan:
    """One shard to write: its path without suffix, and what goes into it."""

    path: Path
    split: str
    entries: tuple[Entry, ...]
    digest: str

    @property
    def tar(self) -> Path:
        """The shard."""
        return self.path.with_name(f"{self.path.name}.tar")

    @property
    def sidecar(self) -> Path:
        """What is in it."""
        return self.path.with_name(f"{self.path.name}.parquet")


def plan_shards(
    out: Path,
    samples: Sequence[Sample[PhotoRef]],
    looked: Sequence[Looked],
    verdicts: Sequence[Verdict],
    max_samples: int,
    max_bytes: int,
) -> list[Plan]:
    """What goes into which shard: the samples that stay, split by split, in the source's order."""
    splits: dict[str, list[int]] = {}
    for place, verdict in enumerate(verdicts):
        if verdict.reason is None:
            splits.setdefault(samples[place].split or NO_SPLIT, []).append(place)
    plans: list[Plan] = []
    taken: set[str] = set()
    for split, places in sorted(splits.items()):
        name = _safe(split)
        while name in taken:
            name += "_"
        taken.add(name)
        for number, (first, part) in enumerate(_cut(places, looked, max_samples, max_bytes)):
            entries = tuple(
                _entry(f"{first + offset:09d}", samples[place], looked[place], verdicts[place])
                for offset, place in enumerate(part)
            )
            plans.append(Plan(out / f"{name}-{number:06d}", split, entries, _digest(entries)))
    return plans


def _cut(
    places: Sequence[int], looked: Sequence[Looked], max_samples: int, max_bytes: int
) -> Iterator[tuple[int, list[int]]]:
    first, size_bytes = 0, 0
    part: list[int] = []
    for number, place in enumerate(places):
        photo_size = looked[place].photo.size_bytes
        if part and (len(part) >= max_samples or size_bytes + photo_size > max_bytes):
            yield first, part
            first, size_bytes, part = number, 0, []
        part.append(place)
        size_bytes += photo_size
    if part:
        yield first, part


def _safe(split: str) -> str:
    """A split's name as part of a file's."""
    return "".join(c if (c.isalnum() and c.isascii()) or c in "-_" else "_" for c in split)[:60] or NO_SPLIT


def _entry(name: str, sample: Sample[PhotoRef], looked: Looked, verdict: Verdict) -> Entry:
    document = {
        "key": sample.key,
        "split": sample.split,
        "captions": [
            {"text": one.text, "language": one.language, "origin": one.origin, "score": one.score}
            for one in verdict.kept_texts
        ],
        "questions": [_question(one) for one in verdict.questions],
        "label": sample.label,
        "width": looked.photo.width,
        "height": looked.photo.height,
        "sha256": looked.photo.sha256,
    }
    return Entry(name, sample, looked, document)


def _question(asked: AskedQuestion) -> dict[str, Any]:
    fields = asdict(asked)
    del fields["place"]
    # Only where they are known: a shard that has none stays as it was before there was such a thing.
    for name in ("kind", "word"):
        if fields[name] is None:
            del fields[name]
    return fields


def _digest(entries: Sequence[Entry]) -> str:
    return digest_of(
        [FORMAT_VERSION, [(one.name, one.looked.photo.extension, one.document) for one in entries]]
    )


def write_shards(plans: Sequence[Plan], workers: int) -> Iterator[Plan]:
    """Write the shards that are not there yet; gives each plan once its shard is.

    Raises StorageError for a full disk or a process that died, ImageError for a photo that has changed.
    """
    waiting: list[Plan] = []
    for plan in plans:
        if _is_written(plan):
            yield plan
        else:
            waiting.append(plan)
    for place, result in in_parallel(write_shard, waiting, workers):
        if isinstance(result, WorkerDied):
            raise StorageError(
                f"cannot write {waiting[place].tar}: the process died (out of memory?); give fewer --workers "
                "and run the command again, which goes on from here"
            )
        yield waiting[place]


def _is_written(plan: Plan) -> bool:
    """Whether the shard is there with its sidecar, and they are a pair."""
    index = fitting_index(plan.tar, len(plan.entries), plan.digest)
    if index is None:
        return False
    # Before the sidecar went first, a kill could leave a new shard beside an old sidecar.
    try:
        with open(plan.tar, "rb") as file:
            for entry, (_, _, offset, size_bytes) in zip(plan.entries, index.places.tolist(), strict=True):
                file.seek(offset)
                if file.read(size_bytes) != _document_bytes(entry):
                    return False
    except (OSError, ValueError):
        return False
    return True


def fitting_index(tar: Path, count: int, digest: str | None) -> ShardIndex | None:
    """The index of a shard of ``count`` samples, where its sidecar says that it was made from what has this
    digest; None where that is missing, damaged or another's, or the shard is not of the size it says."""
    sidecar = tar.with_suffix(".parquet")
    # The digest is in the last bytes: most that does not fit is known by it alone.
    if digest is None or not sidecar.is_file() or parquet_digest(sidecar) != digest:
        return None
    try:
        return read_index(tar, count)
    except DataError:
        return None


def write_shard(plan: Plan) -> None:
    """Write one shard and its sidecar. Raises StorageError and ImageError."""
    try:
        # A kill between the two leaves a shard without a sidecar, never one beside another's.
        plan.sidecar.unlink(missing_ok=True)
    except OSError as error:
        raise storage_error(error, plan.sidecar) from error
    with atomic_file(plan.tar) as file:
        places = _write_tar(file, plan.entries)
    rows = [{**_row(entry), **place} for entry, place in zip(plan.entries, places, strict=True)]
    atomic_write_bytes(plan.sidecar, parquet_bytes(rows, SIDECAR, plan.digest))


def _write_tar(file: BinaryIO, entries: Sequence[Entry]) -> list[dict[str, int]]:
    """Write the tar; where the photo and the JSON of each entry are in it."""
    places: list[dict[str, int]] = []
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for entry in entries:
            check_stopped()
            data = photo_bytes(entry.sample, entry.looked.photo.sha256)
            captions = entry.document["captions"]
            # The order open_clip and webdataset take for granted: members of a sample side by side.
            photo_offset = _add(archive, f"{entry.name}.{entry.looked.photo.extension}", data)
            if captions:
                _add(archive, f"{entry.name}.txt", captions[0]["text"].encode())
            text = _document_bytes(entry)
            places.append(
                {
                    "photo_offset": photo_offset,
                    "document_offset": _add(archive, f"{entry.name}.json", text),
                    "document_bytes": len(text),
                }
            )
    return places


def _document_bytes(entry: Entry) -> bytes:
    return json.dumps(entry.document, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> int:
    """Add a member; where its content begins."""
    # No time, owner or mode of the machine: the same samples give the same bytes.
    member = tarfile.TarInfo(name)
    member.size = len(data)
    member.mode = 0o644
    # USTAR has one header block per member, and no name of ours is too long for it.
    begins = archive.offset + tarfile.BLOCKSIZE
    archive.addfile(member, io.BytesIO(data))
    return begins


def _row(entry: Entry) -> dict[str, Any]:
    captions = entry.document["captions"]
    scores = [one["score"] for one in captions if one["score"] is not None]
    photo = entry.looked.photo
    return {
        "key": storable(entry.document["key"]),
        "name": entry.name,
        "split": storable(entry.document["split"]),
        "captions": [storable(one["text"]) for one in captions],
        "languages": sorted({str(storable(one["language"])) for one in captions}),
        "best_score": max(scores, default=None),
        "n_questions": len(entry.document["questions"]),
        "n_answered": sum(bool(one["answers"]) for one in entry.document["questions"]),
        "label": storable(entry.document["label"]),
        "width": photo.width,
        "height": photo.height,
        "size_bytes": photo.size_bytes,
        "sha256": photo.sha256,
        "phash": f"{photo.phash:016x}",
    }


def storable(text: str | None) -> str | None:
    """Parquet holds UTF-8 only; a file's name may be anything."""
    return None if text is None else text.encode("utf-8", "backslashreplace").decode("utf-8")


def source_state(samples: Sequence[Sample[PhotoRef]]) -> str:
    """A digest of everything in a source that a result depends on, by the files' sizes and times."""
    return digest_of(
        [
            (
                *(one.key, one.split, ref_state(one.photo), one.captions),
                *([asdict(question) for question in one.questions], one.label),
            )
            for one in samples
        ]
    )
