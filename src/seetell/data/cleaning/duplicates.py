"""Which photos are the same as others: by their bytes, and by how they look.

The search for look-alikes is exact: every pair within the distance is found. Two hashes that differ in d bits
agree in at least one of d + 1 parts they are cut into, so only photos that share a part are compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seetell.data.cleaning.limits import NEAR_DISTANCE
from seetell.data.cleaning.reasons import Reason

# How far photos that look alike differ, of 255, at 8 x 8 pixels once brightness is taken out: on average, and
# in the worst of the pixels. Recompressed, resized, brightened, slightly cropped copies of 300 photos stayed
# below 8.2 and 28.6. The worst pixel tells drawings apart that differ in one small shape.
MAX_MEAN_DIFFERENCE = 8.0
MAX_PIXEL_DIFFERENCE = 30.0

_BITS = 64
_COMPARED_AT_ONCE = 2048

# Photos of these splits stay when the same one is in another: a measurement must not lose its photos.
_SPLIT_RANK = {"test": 0, "val": 1, "valid": 1, "validation": 1, "dev": 1}
_OTHER_RANK = 2


@dataclass(frozen=True, slots=True)
class Look:
    """A photo to compare: what its bytes hash to, what it looks like, how large it is, in which split, and
    whether anything usable is said about it."""

    sha256: str
    phash: int
    thumb: bytes
    pixels: int
    split: str | None
    told: bool = True


@dataclass(frozen=True, slots=True)
class Twin:
    """Why a photo goes, and the place of the one that stays instead."""

    reason: Reason
    of: int


def find_twins(looks: Sequence[Look | None], near_distance: int | None) -> dict[int, Twin]:
    """The photos to leave out, by place, each with the one that stays. None is a photo not to be looked at.

    Of the same photos in two splits the one in the test or validation split stays; of look-alikes one about
    which something is said, and then the larger.
    """
    twins: dict[int, Twin] = {}
    merits = {place: _merit(look, place) for place, look in enumerate(looks) if look is not None}
    order = sorted(merits, key=merits.__getitem__)
    first: dict[str, int] = {}
    for place in order:
        look = looks[place]
        assert look is not None
        stays = first.setdefault(look.sha256, place)
        if stays != place:
            twins[place] = Twin(_reason(looks, place, stays, Reason.EXACT_DUPLICATE), stays)
    if near_distance is None:
        return twins
    near: dict[int, list[int]] = {}
    alone = [place for place in order if place not in twins]
    for one, other in _near_pairs([look for p in alone if (look := looks[p]) is not None], near_distance):
        near.setdefault(alone[one], []).append(alone[other])
        near.setdefault(alone[other], []).append(alone[one])
    for place in alone:
        # In the order of merit: whatever is better than this photo has been decided on.
        better = [o for o in near.get(place, ()) if o not in twins and merits[o] < merits[place]]
        if better:
            stays = min(better, key=merits.__getitem__)
            twins[place] = Twin(_reason(looks, place, stays, Reason.NEAR_DUPLICATE), stays)
    return twins


def alike_groups(looks: Sequence[Look | None], near_distance: int | None) -> list[int]:
    """The group of each photo, by place: those that are the same or look the same are in one, and so are
    those that do so through others. None is a photo in a group of its own.

    near_distance: None looks as far as is usual, since who keeps look-alikes does not want them apart.
    """
    parents = list(range(len(looks)))

    def root(place: int) -> int:
        while parents[place] != place:
            parents[place] = parents[parents[place]]
            place = parents[place]
        return place

    first: dict[str, int] = {}
    for place, look in enumerate(looks):
        if look is not None:
            parents[root(place)] = root(first.setdefault(look.sha256, place))
    alone = sorted(first.values())
    distance = NEAR_DISTANCE if near_distance is None else near_distance
    for one, other in _near_pairs([look for place in alone if (look := looks[place]) is not None], distance):
        parents[root(alone[one])] = root(alone[other])
    return [root(place) for place in range(len(looks))]


def _merit(look: Look, place: int) -> tuple[int, bool, int, int]:
    """Smaller stays."""
    rank = _SPLIT_RANK.get((look.split or "").lower(), _OTHER_RANK)
    return rank, not look.told, -look.pixels, place


def _reason(looks: Sequence[Look | None], place: int, stays: int, within: Reason) -> Reason:
    one, other = looks[place], looks[stays]
    same = one is not None and other is not None and one.split == other.split
    return within if same else Reason.ACROSS_SPLITS


def _near_pairs(looks: Sequence[Look], distance: int) -> Iterator[tuple[int, int]]:
    """Every pair of places that look alike, each once."""
    if len(looks) < 2:
        return
    hashes = np.fromiter((look.phash for look in looks), dtype=np.uint64, count=len(looks))
    thumbs = np.stack([np.frombuffer(look.thumb, dtype=np.uint8) for look in looks])
    seen: set[tuple[int, int]] = set()
    start = 0
    for part in range(distance + 1):
        width = (_BITS - start + distance - part) // (distance + 1 - part)
        keys = (hashes >> np.uint64(start)) & np.uint64((1 << width) - 1)
        start += width
        order = np.argsort(keys, kind="stable")
        edges = np.flatnonzero(np.diff(keys[order])) + 1
        for group in np.split(order, edges):
            for pair in _pairs_within(group, hashes, thumbs, distance):
                if pair not in seen:
                    seen.add(pair)
                    yield pair


def _pairs_within(
    group: NDArray[np.intp], hashes: NDArray[np.uint64], thumbs: NDArray[np.uint8], distance: int
) -> Iterator[tuple[int, int]]:
    members = np.sort(group)
    for place in range(len(members) - 1):
        one = members[place]
        for begin in range(place + 1, len(members), _COMPARED_AT_ONCE):
            others = members[begin : begin + _COMPARED_AT_ONCE]
            close = others[np.bitwise_count(hashes[others] ^ hashes[one]) <= distance]
            if len(close):
                for other in close[_same_colours(thumbs[one], thumbs[close])]:
                    yield int(one), int(other)


def _same_colours(one: NDArray[np.uint8], others: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """bool[N]: whether thumbs uint8[N, P] are coloured as ``one`` is, once all are equally bright."""
    first, rest = one.astype(np.float64), others.astype(np.float64)
    differences = np.abs((rest - rest.mean(axis=1, keepdims=True)) - (first - first.mean()))
    found: NDArray[np.bool_] = (differences.mean(axis=1) <= MAX_MEAN_DIFFERENCE) & (
        differences.max(axis=1) <= MAX_PIXEL_DIFFERENCE
    )
    return found
