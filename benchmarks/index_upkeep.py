"""What it costs to keep a large index as it is: processor seconds of runs in which little or nothing changes.

    python benchmarks/index_upkeep.py [--photos 50000] [--folders 365] [--removed 5000]

Makes tiny photos in as many folders, and an index of them with vectors drawn by chance in place of the
model's, which no run measured here needs again. Then `seetell index` runs as a process of its own, every
folder named on the command line: nothing changed (twice: the first also finds the files new to the system's
cache); `--removed` photos named one by one with --remove, and as many in a process that runs already; as many
deleted from the disk; the folders and the index moved together. Prints one JSON object: processor seconds,
user and system, of each run from start to end, of the import of LanceDB alone as every run contains it, and
of `import lancedb` as any other program has it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import seetell
from seetell.tasks.model import Model

# Older than any run, so that their times can be trusted.
MADE = 1_600_000_000

IMPORTED_BY_THE_COMMAND_LINE = """
from seetell.core import own_process
from seetell.search.lancedb_import import import_lancedb
own_process.declare()
import_lancedb()
"""


def make_photos(root: Path, photos: int, folders: int) -> list[Path]:
    """Photos of 8 x 8 pixels that all differ; the folders they lie in."""
    made = [root / f"{number:03}" for number in range(folders)]
    for folder in made:
        folder.mkdir(parents=True)
    for number in range(photos):
        colour = np.frombuffer(number.to_bytes(3, "big"), np.uint8)
        path = made[number % folders] / f"{number:06}.bmp"
        Image.fromarray(np.broadcast_to(colour, (8, 8, 3)).copy()).save(path)
        os.utime(path, (MADE, MADE))
    return made


def drawn(model: Model) -> Model:
    """The model, giving vectors by chance for photos it does not look at."""
    size = model.embed_images(np.zeros((8, 8, 3), np.uint8)).shape[1]
    draw = np.random.default_rng(0)

    def stream(verb: str, photos: Any, **options: Any) -> Iterator[Any]:
        for _ in photos:
            vector = draw.standard_normal(size).astype(np.float32)
            yield vector / np.linalg.norm(vector)

    model.stream = stream  # type: ignore[method-assign]  # stands in for it
    return model


def spent_s(command: list[str]) -> tuple[float, str]:
    """Processor seconds of a process, and what it printed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, *command], stdout=subprocess.PIPE, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime), done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--photos", type=int, default=50_000)
    parser.add_argument("--folders", type=int, default=365)
    parser.add_argument("--removed", type=int, default=5_000)
    settings = parser.parse_args()
    report: dict[str, Any] = vars(settings).copy()

    def run(name: str, *arguments: str | Path) -> None:
        seconds, said = spent_s(["-m", "seetell.cli.main", "index", *map(str, arguments), "--json"])
        report[name] = {"cpu_s": round(seconds, 2), **json.loads(said.splitlines()[-1])}
        report[name].pop("photos_per_s", None)
        print(name, report[name], file=sys.stderr)

    with tempfile.TemporaryDirectory() as scratch:
        root, index = Path(scratch) / "photos", Path(scratch) / "photos.index"
        folders = make_photos(root, settings.photos, settings.folders)
        done = seetell.PhotoIndex(index, drawn(seetell.load())).add(root)
        assert done.added == settings.photos, done
        report["import_of_lancedb_cpu_s"] = round(spent_s(["-c", IMPORTED_BY_THE_COMMAND_LINE])[0], 2)
        report["import_lancedb_cpu_s"] = round(spent_s(["-c", "import lancedb"])[0], 2)
        run("nothing_changed", *folders, "--index", index)
        run("nothing_changed_again", *folders, "--index", index)
        # Every so-and-so-many, so that no folder loses all.
        everything = sorted(root.rglob("*.bmp"))
        step = max(4, settings.photos // settings.removed)
        by_name, in_process, from_disk = (everything[n::step][: settings.removed] for n in range(3))
        run("removed_by_name", "--remove", *by_name, "--index", index)
        opened = seetell.PhotoIndex(index, seetell.load())
        started = time.process_time()
        removed = opened.remove(in_process)
        spent = round(time.process_time() - started, 2)
        report["removed_in_a_running_process"] = {"cpu_s": spent, "removed": removed}
        for path in (*by_name, *in_process, *from_disk):
            path.unlink()
        run("deleted_from_disk", *folders, "--index", index)
        moved = Path(scratch) / "elsewhere"
        moved.mkdir()
        root.rename(moved / root.name)
        index.rename(moved / index.name)
        run("moved_together", moved / root.name)
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
