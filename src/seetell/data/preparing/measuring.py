"""Looking at every sample once, on all cores, in chunks that are kept: a run that was stopped goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from seetell.core.errors import ImageError
from seetell.data.cleaning.languages import Guess, LanguageGuesser
from seetell.data.cleaning.measurement import MEASUREMENT_VERSION, Measurement, measure_photo
from seetell.data.cleaning.texts import tidied
from seetell.data.photo_bytes import read_photo
from seetell.data.photo_refs import PhotoRef, ref_name, ref_state
from seetell.data.preparing.folder import KeptWork, digest_of
from seetell.data.preparing.parallel import WorkerDied, check_stopped, in_parallel
from seetell.data.records import Sample

# Small enough that Ctrl-C or a kill loses seconds, large enough that a million samples are few files.
CHUNK = 128


@dataclass(frozen=True, slots=True)
class Looked:
    """A sample in numbers: its photo, and a guess at the language of each of its captions."""

    photo: Measurement
    languages: tuple[Guess, ...]


Chunk = tuple[tuple[Sample[PhotoRef], ...], tuple[str, ...]]


def measure(
    samples: Sequence[Sample[PhotoRef]], out: Path, languages: Sequence[str], workers: int
) -> Iterator[tuple[int, list[Looked]]]:
    """(place of a chunk's first sample, what was seen of the chunk), in any order, kept ones first.

    Raises StorageError when measurements cannot be kept.
    """
    kept = KeptWork(out, "measured")
    chunks: list[Chunk] = [
        (tuple(samples[first : first + CHUNK]), tuple(languages)) for first in range(0, len(samples), CHUNK)
    ]
    kept.forget_from(len(chunks))
    digests = [_digest(chunk) for chunk in chunks]
    waiting: list[int] = []
    for number, chunk in enumerate(chunks):
        found = _loaded(kept.load(number, digests[number]), chunk)
        if found is None:
            waiting.append(number)
        else:
            yield number * CHUNK, found
    for place, result in in_parallel(measure_chunk, [chunks[number] for number in waiting], workers):
        number = waiting[place]
        seen = _one_by_one(chunks[number]) if isinstance(result, WorkerDied) else result
        kept.save(number, digests[number], [[one.photo.as_row(), one.languages] for one in seen])
        yield number * CHUNK, seen


def _digest(chunk: Chunk) -> str:
    samples, languages = chunk
    return digest_of(
        [
            MEASUREMENT_VERSION,
            languages,
            [(one.key, ref_state(one.photo), [text for text, _ in one.captions]) for one in samples],
        ]
    )


def _loaded(rows: list[Any] | None, chunk: Chunk) -> list[Looked] | None:
    if rows is None or len(rows) != len(chunk[0]):
        return None
    found: list[Looked] = []
    try:
        for row in rows:
            photo, guesses = row
            found.append(
                Looked(Measurement.from_row(photo), tuple((str(name), float(sure)) for name, sure in guesses))
            )
    except (ValueError, TypeError):
        return None
    return found


def measure_chunk(chunk: Chunk) -> list[Looked]:
    """Look at some samples. Whatever is wrong with one stands in its measurement."""
    samples, languages = chunk
    guesser = _guesser(languages)
    found = []
    for sample in samples:
        check_stopped()
        photo = measure_photo(partial(read_photo, sample.photo))
        guesses = tuple(guesser.guess(tidied(text)) for text, _ in sample.captions)
        found.append(Looked(photo, guesses))
    return found


def _one_by_one(chunk: Chunk, chunk_function: Callable[[Chunk], list[Looked]] | None = None) -> list[Looked]:
    """A chunk at which a process died, each sample in a process of its own: the culprit is unreadable."""
    samples, languages = chunk
    singles: list[Chunk] = [((sample,), languages) for sample in samples]
    found: list[Looked | None] = [None] * len(samples)
    for place, result in in_parallel(chunk_function or measure_chunk, singles, 2):
        if isinstance(result, WorkerDied):
            name = ref_name(samples[place].photo)
            fault = (
                "crashed",
                f"{name}: the process that decoded it died (out of memory, or a damaged file)",
            )
            found[place] = Looked(Measurement(fault=fault), tuple(("", 0.0) for _ in samples[place].captions))
        else:
            found[place] = result[0]
    return [one for one in found if one is not None]


@cache
def _guesser(languages: tuple[str, ...]) -> LanguageGuesser:
    return LanguageGuesser(languages)


def photo_bytes(sample: Sample[PhotoRef], sha256: str) -> bytes:
    """The photo as it was measured. Raises ImageError where it cannot be read or has changed since."""
    from hashlib import sha256 as hashed

    data = read_photo(sample.photo)
    if hashed(data).hexdigest() != sha256:
        name = ref_name(sample.photo)
        raise ImageError("unreadable", f"{name}: changed while it was being prepared; run the command again")
    return data
