"""The index in processes: killed, two at once, a reader beside a writer, on a full disk."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seetell.core.errors import StorageError
from seetell.search.photo_index import PhotoIndex
from seetell.tasks.model import Model
from tests.search.indexing_script import toy_model

pytest.importorskip("lancedb", reason="the extra `search` is not installed")
pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="signals and locks of Linux")

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "tests" / "search" / "indexing_script.py"


@pytest.fixture(scope="module")
def model() -> Model:
    return toy_model()


def make_photos(folder: Path, count: int, first: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        patches = np.random.default_rng(number).integers(0, 256, size=(2, 2, 3), dtype=np.uint8)
        path = folder / f"{number:04}.png"
        Image.fromarray(patches.repeat(9, axis=0).repeat(9, axis=1)).save(path)
        os.utime(path, (1_600_000_000, 1_600_000_000))


def start(place: Path, folder: Path, pause_s: float = 0.0) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT)))}
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), str(place), str(folder), str(pause_s)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def wait_for_line(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdout is not None
    for said in process.stdout:
        if said.strip() == line:
            return
    raise AssertionError(f"it ended without saying {line!r}: {process.communicate()[1]}")


def every_photo_once(place: Path, folder: Path, model: Model) -> None:
    paths = sorted(str(path) for path in folder.rglob("*.png"))
    index = PhotoIndex(place, model)
    hits = {hit.photo: hit.score for hit in index.search("a dog", k=2 * len(paths))}
    assert len(index) == len(paths)
    scores = model.embed_images(list(paths)) @ model.embed_texts("a dog")[0]
    assert hits == pytest.approx(dict(zip(paths, scores.tolist(), strict=True)), abs=1e-5)


@pytest.mark.parametrize("kills", [1, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_again_and_again_every_photo_is_there_once(tmp_path: Path, model: Model, kills: int) -> None:
    folder, place = tmp_path / "p", tmp_path / "i"
    make_photos(folder, 12 * kills + 20)
    moments = random.Random(kills)
    killed = 0
    for _ in range(kills):
        process = start(place, folder, 0.02)
        wait_for_line(process, "reading")
        time.sleep(moments.uniform(0, 0.5))
        if process.poll() is None:
            process.kill()
            killed += 1
        process.communicate(timeout=300)
        # A reader meets whole photos and none twice, however far it got.
        hits = PhotoIndex(place, model).search("a dog", k=10_000)
        assert len({hit.photo for hit in hits}) == len(hits)
    assert killed > kills // 2
    last = start(place, folder)
    _, complaint = last.communicate(timeout=300)
    assert last.returncode == 0, complaint
    every_photo_once(place, folder, model)


def test_killed_while_the_index_is_made(tmp_path: Path, model: Model) -> None:
    """What is left when nothing but the lock, or a table without a version, was written."""
    folder, place = tmp_path / "p", tmp_path / "i"
    make_photos(folder, 3)
    place.mkdir()
    (place / "writer.lock").write_text("1")
    assert PhotoIndex(place, model).search("a dog") == []
    index = PhotoIndex(place, model)
    index.add(folder)
    (table,) = place.glob("*.lance")
    for manifest in (table / "_versions").iterdir():
        manifest.unlink()
    PhotoIndex(place, model).add(folder)
    every_photo_once(place, folder, model)


def test_a_second_writer_is_told(tmp_path: Path, model: Model) -> None:
    folder, place = tmp_path / "p", tmp_path / "i"
    make_photos(folder, 40)
    first = start(place, folder, 0.01)
    wait_for_line(first, "reading")
    first.send_signal(signal.SIGSTOP)  # so that it cannot be done before the second has looked
    try:
        with pytest.raises(StorageError, match=f"being written by another process .number {first.pid}"):
            PhotoIndex(place, model).add(folder)
    finally:
        first.send_signal(signal.SIGCONT)
    first.communicate(timeout=300)
    assert first.returncode == 0
    every_photo_once(place, folder, model)


@pytest.mark.slow
def test_a_reader_beside_a_writer(tmp_path: Path, model: Model) -> None:
    """Photos are added, moved and removed; those that are left alone are found in every search, once."""
    folder, place = tmp_path / "p", tmp_path / "i"
    make_photos(folder, 20)
    PhotoIndex(place, model).add(folder)
    staying = {str(folder / f"{number:04}.png") for number in range(10)}
    for number in range(10, 15):
        (folder / f"{number:04}.png").rename(folder / f"moved-{number}.png")
    for number in range(15, 20):
        (folder / f"{number:04}.png").unlink()
    make_photos(folder, 60, first=100)
    reader = PhotoIndex(place, model)
    sizes = []
    writer = start(place, folder, 0.02)
    wait_for_line(writer, "reading")
    while writer.poll() is None:
        hits = [hit.photo for hit in reader.search("a dog", k=1000)]
        assert len(set(hits)) == len(hits)
        assert staying <= set(hits)
        # A moved photo is there under one of its two names.
        for number in range(10, 15):
            both = {str(folder / f"{number:04}.png"), str(folder / f"moved-{number}.png")}
            assert len(both & set(hits)) == 1
        sizes.append(len(hits))
    writer.communicate()
    assert writer.returncode == 0
    assert len(set(sizes)) > 2, "the reader saw the writer at work"
    every_photo_once(place, folder, model)
    assert {hit.photo for hit in reader.search("a dog", k=1000)} == {str(path) for path in folder.iterdir()}


@pytest.mark.parametrize("small_disk", ["1m"], indirect=True)
def test_a_full_disk_leaves_the_index_as_it_was(tmp_path: Path, model: Model, small_disk: Path) -> None:
    folder, place = tmp_path / "p", small_disk / "i"
    make_photos(folder, 12)
    PhotoIndex(place, model).add(folder)
    before = PhotoIndex(place, model).search("a dog", k=100)
    filler = small_disk / "filler"
    with open(filler, "wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass
    make_photos(folder, 30, first=50)
    with pytest.raises(StorageError, match="disk is full"):
        PhotoIndex(place, model).add(folder)
    assert PhotoIndex(place, model).search("a dog", k=100) == before
    filler.unlink()
    subprocess.run(["mount", "-o", "remount,size=16m", str(small_disk)], check=True)
    assert PhotoIndex(place, model).add(folder).added == 30
    every_photo_once(place, folder, model)
