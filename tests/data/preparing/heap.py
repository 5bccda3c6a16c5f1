"""A small heap of photos with one fault of each kind, and a program that prepares it in a process."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from seetell.core.errors import ImageError
from seetell.data.preparing import measuring
from tests.broken_files import photo_pixels

SOURCE = Path(__file__).resolve().parents[3] / "src"


def jpeg(seed: int, height: int = 60, width: int = 80, quality: int = 90) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(photo_pixels(seed, height, width)).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def plain(folder: Path, count: int = 40) -> Path:
    """A table of ``count`` good photos with two captions each, a fifth of them for validation."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "photos.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["filepath", "title", "split"])
        for n in range(count):
            (folder / f"{n:04}.jpg").write_bytes(jpeg(n))
            for words in ("a picture of thing", "another view of thing"):
                writer.writerow([f"{n:04}.jpg", f"{words} {n}", "val" if n % 5 == 4 else "train"])
    return folder / "photos.csv"


def heap(folder: Path) -> Path:
    """``plain`` and one fault of each kind besides."""
    table = plain(folder)
    blank = io.BytesIO()
    Image.fromarray(np.full((60, 80, 3), 90, np.uint8)).save(blank, "PNG")
    near = io.BytesIO()
    Image.fromarray(photo_pixels(1)).resize((160, 120)).save(near, "JPEG")
    leaked = io.BytesIO()
    Image.fromarray(photo_pixels(4)).save(leaked, "JPEG", quality=60)
    faults: dict[str, tuple[bytes, str]] = {
        "cut.jpg": (jpeg(50)[:400], "a photo that is cut off"),
        "tiny.jpg": (jpeg(51, 20, 30), "a photo that is tiny"),
        "long.jpg": (jpeg(52, 40, 400), "a photo that is long"),
        "blank.png": (blank.getvalue(), "a photo of nothing"),
        "same.jpg": (jpeg(0), "the very same photo"),
        "near.jpg": (near.getvalue(), "nearly the same photo"),
        "leaked.jpg": (leaked.getvalue(), "a photo of the other split"),
        "untold.jpg": (jpeg(53), "IMG_0001.JPG"),
        "german.jpg": (jpeg(54), "ein Hund rennt am Strand entlang"),
        "good.jpg": (jpeg(55), "click here to enlarge"),
    }
    with open(table, "a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        for name, (data, text) in faults.items():
            (folder / name).write_bytes(data)
            writer.writerow([name, text, "train"])
        writer.writerow(["good.jpg", "a good photo of something", "train"])
        writer.writerow(["good.jpg", "A good photo of something!", "train"])
        writer.writerow(["missing.jpg", "a photo that is not there", "train"])
        writer.writerow(["../../etc/passwd", "a photo from elsewhere", "train"])
    return table


def tree(folder: Path) -> dict[str, str]:
    """Digest of each file that a reader of prepared data sees."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
        if path.suffix in (".tar", ".parquet", ".html")
    }


def start(*arguments: object, **more: Any) -> subprocess.Popen[bytes]:
    """``seetell prepare`` in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", "from seetell.cli.main import main; main()", "prepare", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        **more,
    )


# Tasks for processes: these import this module, and not all that its tests need.


def double(number: int) -> int:
    return 2 * number


def dies_at_three(number: int) -> int:
    if number == 3:
        os._exit(9)
    return number


def fails_at_three(number: int) -> int:
    if number == 3:
        raise ImageError("unreadable", "three")
    return number


def chunk_that_dies(chunk: measuring.Chunk) -> list[measuring.Looked]:
    if chunk[0][0].key == "0003.jpg":
        os._exit(9)
    return measuring.measure_chunk(chunk)
