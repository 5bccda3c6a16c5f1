"""Agreement of captions with photos, and captions a model adds: what given functions say, kept by chunk.

CapFilt is captioning and filtering: each photo gets a caption that a model writes, and of the given and the
written ones those stay that match. BLIP (Li et al. 2022, https://arxiv.org/abs/2201.12086), section 3.3.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from seetell.core.results import Failure
from seetell.data.cleaning.limits import Limits
from seetell.data.cleaning.reasons import Reason
from seetell.data.photo_refs import PhotoRef
from seetell.data.preparing.deciding import Verdict, generated_text
from seetell.data.preparing.folder import KeptWork, digest_of
from seetell.data.preparing.measuring import CHUNK, Looked, photo_bytes
from seetell.data.records import Sample

ScoreFunction = Callable[[Iterable[tuple[bytes, Sequence[str]]]], Iterator[Sequence[float] | Failure]]
CaptionFunction = Callable[[Iterable[bytes]], Iterator[tuple[str, str] | Failure]]


@dataclass(frozen=True, slots=True)
class Scorer:
    """Scores texts about photos, higher is better.

    name: for people. identity: whatever changes when scores would. measure: what a score is, as in
    "similarity". score: one result per (photo's bytes, texts), in order: a score per text, or a Failure.
    """

    name: str
    identity: str
    measure: str
    score: ScoreFunction


@dataclass(frozen=True, slots=True)
class Captioner:
    """Writes captions. ``caption``: one (text, language), or a Failure, per photo's bytes, in order."""

    name: str
    identity: str
    caption: CaptionFunction


def add_captions(
    captioner: Captioner,
    samples: Sequence[Sample[PhotoRef]],
    looked: Sequence[Looked],
    verdicts: Sequence[Verdict],
    limits: Limits,
    out: Path,
) -> Iterator[int]:
    """Give every photo that stays a written caption, after the checks. Yields how many photos more are done.

    Raises StorageError when captions cannot be kept.
    """
    kept = KeptWork(out, "captions")
    for number, places in _chunks(verdicts, lambda verdict: verdict.reason is None):
        photos = [(samples[place], looked[place].photo.sha256) for place in places]
        digest = digest_of([captioner.identity, [sha256 for _, sha256 in photos]])
        rows = kept.load(number, digest)
        if rows is None or len(rows) != len(places):
            rows = []
            for found in captioner.caption(photo_bytes(sample, sha256) for sample, sha256 in photos):
                rows.append(None if isinstance(found, Failure) else list(found))
                yield 1
            kept.save(number, digest, rows)
        else:
            yield len(places)
        for place, row in zip(places, rows, strict=True):
            if row is not None:
                text, language = row
                verdict = verdicts[place]
                verdict.texts.append(generated_text(str(text), str(language), verdict, limits))


def add_scores(
    scorer: Scorer,
    samples: Sequence[Sample[PhotoRef]],
    looked: Sequence[Looked],
    verdicts: Sequence[Verdict],
    out: Path,
) -> Iterator[int]:
    """Score every caption that stays. Yields how many photos more are done.

    Raises StorageError when scores cannot be kept.
    """
    kept = KeptWork(out, "scores")
    for number, places in _chunks(
        verdicts, lambda verdict: verdict.reason is None and bool(verdict.kept_texts)
    ):
        texts = [[text.text for text in verdicts[place].kept_texts] for place in places]
        hashes = [looked[place].photo.sha256 for place in places]
        digest = digest_of([scorer.identity, scorer.measure, hashes, texts])
        rows = kept.load(number, digest)
        if rows is None or len(rows) != len(places):
            pairs = (
                (photo_bytes(samples[place], sha256), said)
                for place, sha256, said in zip(places, hashes, texts, strict=True)
            )
            rows = []
            for found in scorer.score(pairs):
                rows.append(None if isinstance(found, Failure) else [float(value) for value in found])
                yield 1
            kept.save(number, digest, rows)
        else:
            yield len(places)
        for place, row in zip(places, rows, strict=True):
            for text, score in zip(
                verdicts[place].kept_texts, row or [None] * len(verdicts[place].kept_texts), strict=True
            ):
                if score is None or not math.isfinite(score):
                    text.reason = Reason.NOT_SCORED
                else:
                    text.score = score


def _chunks(
    verdicts: Sequence[Verdict], wanted: Callable[[Verdict], bool]
) -> Iterator[tuple[int, list[int]]]:
    """(number, places of the wanted samples) of each of the chunks the samples were measured in.

    By the places in the source, so that dropping one sample more changes one chunk and not all that follow.
    """
    for number, first in enumerate(range(0, len(verdicts), CHUNK)):
        places = [
            place for place in range(first, min(first + CHUNK, len(verdicts))) if wanted(verdicts[place])
        ]
        if places:
            yield number, places
