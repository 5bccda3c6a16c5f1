"""What several bundles do in a second, in turns, and what they need: time from nothing and memory.

    python benchmarks/models_side_by_side.py PHOTOS NAME=BUNDLE[@PRECISION] NAME=BUNDLE... [--rounds 7]

Of the photos in the folder PHOTOS, the first 64 by name, each round embeds all at once, and captions and asks
about 16 ("what is in the picture?"); the bundles take turns within a round, each round begun by another.
`encode_ms` is the image encoder alone on one photo. Before that each captions one photo in a new process with
its graphs cached (`cold_s`, `peak_mb`). Best of the rounds, since other programs can only slow a run down.
Prints a JSON object; `ratio` is to the last bundle named, above 1 for more in a second and for less time.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from benchmarks.cold_start import timed

import seetell
from seetell.evaluation.machine import describe_machine
from seetell.runtime.usual_inputs import usual_inputs

_EMBEDDED, _WRITTEN, _ENCODED = 64, 16, 20
_QUESTION = "what is in the picture?"


def works(model: seetell.Model, photos: list[Path]) -> dict[str, Callable[[], object]]:
    """What is timed: name -> a run of it. Photos are read once before, so that no disk is measured."""
    one = usual_inputs(model.manifest, "image_encoder")

    def encode() -> None:
        for _ in range(_ENCODED):
            model.engine.run("image_encoder", one)

    some = photos[:_WRITTEN]
    return {
        "embedded_per_s": lambda: model.embed_images(photos),
        "captions_per_s": lambda: model.caption(some),
        "answers_per_s": lambda: model.ask(some, _QUESTION),
        "encode_ms": encode,
    }


def figure(name: str, best_s: float, photos: int) -> float:
    """Of the best time of a run."""
    if name == "encode_ms":
        return 1000 * best_s / _ENCODED
    return (photos if name == "embedded_per_s" else min(photos, _WRITTEN)) / best_s


def main() -> None:
    """Print the figures of every bundle."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", type=Path)
    parser.add_argument("bundles", nargs="+", metavar="NAME=BUNDLE[@PRECISION]")
    parser.add_argument("--rounds", type=int, default=7)
    asked = parser.parse_args()
    photos = sorted(path for path in asked.photos.iterdir() if path.suffix == ".jpg")[:_EMBEDDED]
    named = dict(one.split("=", 1) for one in asked.bundles)
    sources = {name: (*one.split("@", 1), "auto")[:2] for name, one in named.items()}
    # First, while this process is small: what a process is begun from counts in its peak.
    command = [str(Path(sys.executable).with_name("seetell")), "caption", str(photos[0])]
    with tempfile.TemporaryDirectory() as cache:
        starts: dict[str, list[tuple[float, float]]] = {name: [] for name in sources}
        for round_ in range(asked.rounds):
            for name, (bundle, wish) in sources.items():
                spent = timed([*command, "--model", bundle, "--precision", wish], cache)
                if round_:
                    starts[name].append(spent)
    models = {name: seetell.load(bundle, precision=wish) for name, (bundle, wish) in sources.items()}
    runs = {name: works(model, photos) for name, model in models.items()}
    for own in runs.values():
        for run in own.values():
            run()
    best: dict[str, dict[str, float]] = {name: dict.fromkeys(own, np.inf) for name, own in runs.items()}
    order = list(runs)
    for _ in range(asked.rounds):
        for work in runs[order[0]]:
            for name in order:
                started = time.perf_counter()
                runs[name][work]()
                best[name][work] = min(best[name][work], time.perf_counter() - started)
        order = [*order[1:], *order[:1]]
    found = {
        name: {work: figure(work, best_s, len(photos)) for work, best_s in own.items()}
        for name, own in best.items()
    }
    for name, spent_all in starts.items():
        found[name]["cold_s"] = min(spent_s for spent_s, _ in spent_all)
        found[name]["peak_mb"] = max(peak for _, peak in spent_all)
    last = found[list(found)[-1]]
    report = {
        "machine": describe_machine(),
        "precision": {name: model.precision for name, model in models.items()},
        "figures": {
            name: {work: round(value, 3) for work, value in own.items()} for name, own in found.items()
        },
        "ratio": {
            name: {
                work: round(value / last[work] if work.endswith("per_s") else last[work] / value, 2)
                for work, value in own.items()
            }
            for name, own in found.items()
        },
    }
    for model in models.values():
        model.close()
    print(json.dumps(report, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
