"""Which photos are kept apart to validate on: whole groups of look-alikes, chosen by their content."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from seetell.core.errors import DataError, UsageError
from seetell.data.cleaning.duplicates import Look, alike_groups
from seetell.data.cleaning.limits import Limits
from seetell.data.photo_refs import PhotoRef
from seetell.data.preparing.deciding import Verdict
from seetell.data.preparing.measuring import Looked
from seetell.data.records import Sample

LEARNED, VALIDATED = "train", "val"
# A split by any of these names is for validation already.
_FOR_VALIDATION = ("val", "valid", "validation", "dev")


def check_dividable(samples: Sequence[Sample[PhotoRef]]) -> None:
    """Raises UsageError where a source has photos to validate on, or none to take some from."""
    names = {sample.split for sample in samples}
    for name in sorted(filter(None, names)):
        if name.lower() in _FOR_VALIDATION:
            raise UsageError(
                f"--val: the source has a split to validate on already, {name!r}; leave --val out"
            )
    if not any(_is_learned(name) for name in names):
        there = ", ".join(sorted(filter(None, names)))
        raise UsageError(f"--val: takes photos of {LEARNED}, and the source has {there} alone; leave it out")


def divided(
    samples: Sequence[Sample[PhotoRef]],
    looked: Sequence[Looked],
    verdicts: Sequence[Verdict],
    limits: Limits,
    share: float,
) -> tuple[Sample[PhotoRef], ...]:
    """The samples with ``val`` as the split of about ``share`` of the photos that stay, and ``train`` as that
    of the others; splits that are no training split stay.

    A photo goes with all that is said about it and with whatever looks like it, through others too, also
    where look-alikes are kept. Which group goes is decided by a hash of its photos' content: the same photos
    give the same split under any name and in any order, and a photo added later moves no other. Raises
    DataError where everything that stays looks alike.
    """
    groups = alike_groups(
        [
            None
            if seen.photo.fault is not None
            else Look(
                seen.photo.sha256,
                seen.photo.phash,
                seen.photo.thumb,
                seen.photo.width * seen.photo.height,
                sample.split,
            )
            for sample, seen in zip(samples, looked, strict=True)
        ],
        limits.near_distance,
    )
    stays = [
        place
        for place, (sample, verdict) in enumerate(zip(samples, verdicts, strict=True))
        if verdict.reason is None and _is_learned(sample.split)
    ]
    ranks: dict[int, float] = {}
    for place in stays:
        rank = _rank(looked[place].photo.sha256)
        ranks[groups[place]] = min(rank, ranks.get(groups[place], 1.0))
    if len(ranks) == 1:
        raise DataError("--val: the photos that stay all look alike, so none can be kept apart; leave it out")
    ordered = sorted(ranks, key=ranks.__getitem__)
    # Of few photos none may lie below the share, or all: one group at least is on either side.
    number = min(max(sum(rank < share for rank in ranks.values()), 1), len(ordered) - 1)
    chosen = set(ordered[:number])
    moved = {place: VALIDATED if groups[place] in chosen else LEARNED for place in stays}
    return tuple(
        replace(sample, split=moved[place]) if place in moved else sample
        for place, sample in enumerate(samples)
    )


def _is_learned(split: str | None) -> bool:
    return split is None or split.lower() == LEARNED


def _rank(sha256: str) -> float:
    """A number in 0..1 that is anywhere with equal chance, from a photo's content alone."""
    digest = hashlib.sha256(f"seetell validation {sha256}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
