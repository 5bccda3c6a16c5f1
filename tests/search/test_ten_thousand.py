"""Ten thousand files as a disk has them: good, broken, oddly named, linked in circles, changing underfoot."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest

from seetell.core.results import Failure
from seetell.media.images import list_photos
from seetell.search.photo_index import PhotoIndex
from tests.broken_files import encoded, make_broken_folder, photo_pixels
from tests.search.indexing_script import toy_model

pytest.importorskip("lancedb", reason="the extra `search` is not installed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="links, pipes and names of POSIX"),
]

FILES = 10_000
KINDS = (("jpg", "JPEG"), ("png", "PNG"), ("webp", "WEBP"), ("gif", "GIF"), ("bmp", "BMP"), ("tif", "TIFF"))
NAMES = (
    "{}",
    "照片 {}",
    "фото-{}",
    "👩‍👩‍👧 {}",
    "e\u0301té {}",
    "'; DROP TABLE photos; -- {}",
    "line\nbreak {}",
    "{}" + "x" * 200,
)


def make_disk(folder: Path) -> list[Path]:
    """About ``FILES`` files; returns some that are good, to be changed."""
    contents = {
        kind: [encoded(photo_pixels(seed, 12, 16), name) for seed in range(60)] for kind, name in KINDS
    }
    good = []
    for number in range(FILES):
        place = folder / f"{number % 40:02}" / NAMES[number % len(NAMES)].format("album")[:60]
        if number < 40 * len(NAMES):
            place.mkdir(parents=True, exist_ok=True)
        kind = KINDS[number % len(KINDS)][0]
        data = contents[kind][number % 60]
        if number % 10 == 3:  # a tenth is cut off or no photo at all
            data = data[: len(data) // 3] if number % 20 == 3 else b"a letter, not a photo"
        path = place / f"{NAMES[number % len(NAMES)].format(number)}.{kind}"
        path.write_bytes(data)
        if number % 10 != 3:
            good.append(path)
    make_broken_folder(folder / "broken")
    deep = folder / ("d" * 250) / ("e" * 250)
    deep.mkdir(parents=True)
    (deep / ("f" * 250 + ".png")).write_bytes(contents["png"][0])
    (folder / "00" / "loop").symlink_to(folder, target_is_directory=True)
    (folder / "01" / "self.jpg").symlink_to(folder / "01" / "self.jpg")
    (folder / "02" / "also").symlink_to(folder / "03", target_is_directory=True)
    (folder / os.fsdecode(b"latin \xe9.png")).write_bytes(contents["png"][1])
    return good


def test_each_is_indexed_or_has_its_reason(tmp_path: Path) -> None:
    folder, place = tmp_path / "disk", tmp_path / "i"
    good = make_disk(folder)
    stop = threading.Event()

    def meddle() -> None:
        draw = np.random.default_rng(0)
        others = [encoded(photo_pixels(seed, 12, 16), "PNG") for seed in range(100, 110)]
        while not stop.wait(0.01):
            # In place, so that a reader may meet half of it.
            good[draw.integers(200)].write_bytes(others[draw.integers(10)])

    listed = {str(path) for path in list_photos([folder])}
    meddler = threading.Thread(target=meddle)
    meddler.start()
    try:
        changes = list(PhotoIndex(place, toy_model()).changes(folder))
    finally:
        stop.set()
        meddler.join()
    failed = {change.photo: str(change.error) for change in changes if isinstance(change, Failure)}
    indexed = {change.photo for change in changes if not isinstance(change, Failure)}
    assert len(changes) == len(indexed) + len(failed), "each is told once"
    assert indexed | set(failed) == listed and not indexed & set(failed)
    assert len(listed) > FILES
    assert all("\n" not in reason for reason in failed.values())
    assert 1000 <= len(failed) <= 1250

    # Left alone, the next run brings in what was changing, and ends with one row for every good photo.
    index = PhotoIndex(place, toy_model())
    changes = list(index.changes(folder))
    still = {one.photo for one in changes if isinstance(one, Failure) or one.what == "failed_before"}
    assert still <= set(failed)
    hits = [hit.photo for hit in index.search("a dog", k=2 * FILES, all_copies=True)]
    assert len(hits) == len(set(hits)) == len(index)
    assert set(hits) == listed - still
    done = index.add(folder)
    assert done.unchanged == len(hits)
    assert done.failed_before + len(done.failures) == len(still)
