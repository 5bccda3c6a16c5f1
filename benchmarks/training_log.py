"""The logs of one or several runs, one after the other, as a plot and as a JSON small enough to keep.

    python benchmarks/training_log.py OUT RUN [RUN ...]

A RUN is a run's folder, or NAME=FOLDER. Writes OUT.svg, some losses and the recalls of every validation, and
OUT.json: the means of every 20 steps and every validation. `--from OUT.json` draws that again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import matplotlib
import yaml

from seetell.core.files import atomic_write_text
from seetell.learning.training.metrics_log import read_metrics

EVERY = 20
# Of no use to who reads how it learned.
LEFT_OUT = frozenset({"step", "kind", "waiting_share", "padding_share", "mfu", "skipped_photos", "loss"})
LOSSES = ("contrastive", "captioning", "label_names", "answer_tags")


def summary(name: str, folder: Path) -> dict[str, Any]:
    """One run: what its recipe was, the means of its losses, its validations."""
    rows = read_metrics(folder / "metrics.jsonl")
    recipe = yaml.safe_load((folder / "recipe.yaml").read_text(encoding="utf-8"))
    trained = [row for row in rows if row["kind"] == "train"]
    validated = [row for row in rows if row["kind"] == "validate"]
    return {
        "name": name,
        "steps": recipe["steps"],
        "photos_a_step": sum(source["batch_size"] for source in recipe["data"]),
        "highest_rate": recipe["optimizer"]["lr"],
        "train": [_means(trained[first : first + EVERY]) for first in range(0, len(trained), EVERY)],
        "validate": [{key: value for key, value in row.items() if key != "kind"} for row in validated],
    }


def _means(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    keys = [key for key in rows[0] if key not in LEFT_OUT]
    means = {key: float(f"{fmean(row[key] for row in rows if key in row):.4g}") for key in keys}
    return {"step": rows[-1]["step"], **means}


def plot(runs: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Losses above, recalls below, the runs one after the other."""
    # No window, and a file that is the same whenever the figures are.
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "training-log"
    from matplotlib import pyplot

    figure, (above, below) = pyplot.subplots(2, 1, figsize=(9.5, 6.4), sharex=True)
    colours = [f"C{index}" for index in range(10)]
    start = 0
    seen: set[str] = set()

    def label(name: str) -> str | None:
        if name in seen:
            return None
        seen.add(name)
        return name

    for number, run in enumerate(runs):
        for colour, loss in zip(colours, LOSSES, strict=False):
            points = [(start + row["step"], row[loss]) for row in run["train"] if loss in row]
            if points:
                above.plot(*zip(*points, strict=True), color=colour, label=label(loss))
        keys = sorted({key for row in run["validate"] for key in row if key.endswith(".r10")})
        for colour, key in zip(colours, keys, strict=False):
            points = [(start + row["step"], row[key]) for row in run["validate"]]
            shown = key.replace("flickr8k.", "").replace("_", " ").replace(".r10", "")
            below.plot(*zip(*points, strict=True), "o-", color=colour, label=label(shown))
        for axis in (above, below):
            axis.axvline(start, color="grey", linestyle=":")
        height = 0.98 - 0.07 * (number % 2)  # names of short runs would run into one another
        above.text(
            start + 8, height, run["name"], va="top", fontsize=8, transform=above.get_xaxis_transform()
        )
        start += run["steps"]
    above.set_ylabel("loss, mean of 20 steps")
    below.set_ylabel("R@10 on the dev photos, %")
    below.set_xlabel("step")
    for axis in (above, below):
        axis.grid(alpha=0.3)
        axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4, fontsize=8, frameon=False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def main(arguments: Iterable[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("runs", nargs="*", metavar="RUN")
    parser.add_argument("--from", dest="kept", type=Path, metavar="JSON")
    options = parser.parse_args(list(arguments) if arguments is not None else None)
    if bool(options.runs) == bool(options.kept):
        parser.error("give runs or --from")
    if options.kept:
        runs = json.loads(options.kept.read_text(encoding="utf-8"))
    else:
        named = [run.partition("=") if "=" in run else (Path(run).name, "=", run) for run in options.runs]
        runs = [summary(name, Path(folder)) for name, _, folder in named]
        lines = ",\n".join(json.dumps(run) for run in runs)
        atomic_write_text(options.out.with_suffix(".json"), f"[{lines}]\n")
    plot(runs, options.out.with_suffix(".svg"))


if __name__ == "__main__":
    main()
