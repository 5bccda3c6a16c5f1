"""Photos that look alike: found by their vectors, confirmed by their pixels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from seetell.core.errors import ImageError
from seetell.data.cleaning.duplicates import Look, find_twins
from seetell.data.cleaning.fingerprints import colour_thumb, perceptual_hash
from seetell.data.cleaning.limits import Limits
from seetell.media.images import decode_photo
from seetell.search.scan import MOST_QUERIES, VectorScan

# Cosine from which two photos are compared by their pixels. Of 150 photos the built-in model keeps 99 in 100
# saved again at JPEG quality 30 above it, and 84 in 100 halved in size from 160 pixels; of 1,000 others one
# in 70 has another so near.
LIKELY = 0.75
# Photos compared with each; chains of them still come together.
_NEIGHBOURS = 8
# Looked at small: hashes are of 32 x 32 pixels.
_SEEN_PX = 64


def alike(scan: VectorScan, batches: Iterable[tuple[NDArray[np.int64], NDArray[np.float32]]]) -> set[int]:
    """Ids of the photos that have another within ``LIKELY``. batches: ids and vectors of all of them."""
    found: set[int] = set()
    for ids, vectors in batches:
        for first in range(0, len(ids), MOST_QUERIES):
            some = ids[first : first + MOST_QUERIES]
            near = scan.search(vectors[first : first + MOST_QUERIES], _NEIGHBOURS)
            for one, hits in zip(some.tolist(), near, strict=True):
                others = {hit for hit in hits.ids[hits.scores >= LIKELY].tolist() if hit != one}
                if others:
                    found |= {one, *others}
    return found


def groups_of(paths: Sequence[str], hashes: Mapping[str, str]) -> list[list[str]]:
    """Groups of photos that are the same or look it, the largest first of each. Photos that cannot be read
    any more are in none. hashes: of the photos' contents, by path."""
    looks = [_look(path, hashes[path]) for path in paths]
    groups: dict[int, list[str]] = {}
    for place, twin in find_twins(looks, Limits().near_distance).items():
        groups.setdefault(twin.of, [paths[twin.of]]).append(paths[place])
    return sorted((group[:1] + sorted(group[1:]) for group in groups.values()), key=lambda one: one[0])


def _look(path: str, sha256: str) -> Look | None:
    try:
        photo = decode_photo(path, min_size=(_SEEN_PX, _SEEN_PX))
    except ImageError:
        return None
    picture = Image.fromarray(photo.pixels)
    height, width = photo.size
    return Look(sha256, perceptual_hash(picture), colour_thumb(picture), height * width, None)
