"""Which way of letting a question meet a photo learns most from the same compute?

    python benchmarks/fusion_study.py EASY_VQA OUT [--seeds 2] [--tflop 2] [--docs docs]

One small model, eight times: cross-attention, co-attention, gated and projection-only fusion, each over a ViT
and over a ResNet, learning to answer questions on easy-VQA and on rendered scenes, in one run each and with
every seed. All of it is the library's own: recipes, training loop, models and answering.

The same compute is the same number of floating-point operations in forward and backward, not of steps: torch
counts those of some of a run's own steps (matrix products and convolutions; a multiply-add is two), and the
run gets as many steps as `--tflop` (10^12 operations) pays for. A cheaper model sees more questions.

Measured are the questions about 200 held-out photos of each set: of easy-VQA those whose number leaves 9
divided by 10 (its data has no test split here), of the scenes the same share. Intervals are bootstrap
intervals over photos, of the mean over seeds; differences are taken photo by photo, from the same photos and
seeds. A difference is called one only where its interval leaves out 0 and every seed, of several, has it.

Stopped at any moment, the same command goes on where it was. OUT gets `scenes/`, a folder for each run,
`result.json`, `table.md` and `fusion-study.svg`; with `--docs` the plot and the figures are copied there and
the table is put between the marks in `fusion-study.md`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

from seetell.core.files import atomic_write_text
from seetell.core.results import Answer
from seetell.data.records import QuestionRecord
from seetell.evaluation.bootstrap import Bootstrap, Estimate, estimates, weighted_mean
from seetell.evaluation.machine import describe_machine
from seetell.evaluation.vqa import exact_match
from seetell.learning.scenes import write_scenes
from seetell.learning.training.reading import read_samples
from seetell.learning.training.recipe import Recipe, parse_recipe
from seetell.learning.training.run import Prepared, build_collator, prepare, run
from seetell.learning.training.sections import DataSettings
from seetell.learning.training.validation import facade
from seetell.modeling.checkpoints.run_folder import load_run_weights
from seetell.modeling.models.assembled import AssembledModel

FUSIONS = ("cross_attention", "co_attention", "gated", "projection")
REFERENCE = FUSIONS[0]
ENCODERS: dict[str, dict[str, Any]] = {
    "vit": {"kind": "vit", "patch_size": 8, "embed_dim": 64, "depth": 3, "num_heads": 4},
    "resnet": {"kind": "resnet", "depths": [1, 1], "channels": [32, 64], "stem_channels": 32},
}
SETS = ("easy_vqa", "scenes")
HOLDOUT = {"modulo": 10, "remainder": 9}
COUNTED_STEPS = 4
MEASURED_PHOTOS = 200
MARKS = ("<!-- figures -->", "<!-- end of figures -->")
NAMES = {
    "cross_attention": "cross-attention",
    "co_attention": "co-attention",
    "gated": "gated",
    "projection": "projection only",
    "vit": "ViT",
    "resnet": "ResNet",
    "easy_vqa": "easy-VQA",
    "scenes": "rendered scenes",
}


@dataclass(frozen=True, slots=True)
class Study:
    """What is asked for. easy_vqa: a folder of VQAv2 files. out: where everything goes."""

    easy_vqa: Path
    out: Path
    seeds: int
    tflop: float
    scenes: int
    batch: int

    @property
    def runs(self) -> list[tuple[str, str, int]]:
        """(encoder, fusion, seed), seed by seed, so that a study cut short compares whole seeds."""
        return [
            (encoder, fusion, seed)
            for seed in range(self.seeds)
            for encoder in ENCODERS
            for fusion in FUSIONS
        ]


def document(study: Study, encoder: str, fusion: str, seed: int) -> dict[str, Any]:
    """The recipe of one run, less its number of steps."""
    # Rendered pictures: colours and places are exact answers.
    still = {"scale": [0.9, 1.0], "aspect": [0.95, 1.05], "brightness": 0, "contrast": 0, "saturation": 0}
    source = {"format": "vqa", "questions_per_photo": 2, "holdout": HOLDOUT, "augment": still}
    easy = {**source, "path": str(study.easy_vqa.resolve()), "rare_answers": 0.5}
    scenes = {**source, "path": str((study.out / "scenes").resolve())}
    return {
        "model": {
            "image": ENCODERS[encoder],
            "text": {"embed_dim": 64, "depth": 1, "num_heads": 4, "context_length": 24},
            "fusion": {"kind": fusion, "depth": 2, "num_heads": 4},
            "image_size": [64, 64],
            "shared_dim": 32,
        },
        "tokenizer": {"vocab_size": 400, "context_length": 24},
        "data": [
            {**easy, "batch_size": study.batch * 3 // 4},
            {**scenes, "batch_size": study.batch - study.batch * 3 // 4},
        ],
        "answers": 40,
        # The second teaches the image encoder what is going to be asked; without it one that has seen so few
        # photos says nothing yet, and no fusion can tell.
        "objectives": [{"name": "answer_list"}, {"name": "answer_tags"}],
        "optimizer": {"lr": 2e-3, "weight_decay": 0.05},
        "schedule": {"warmup_fraction": 0.1},
        "device": "cpu",
        "resolution": [{"until": 1.0, "size": 64}],
        "ema": {"decay": 0.99},
        "trackers": [],
        "checkpoint": {"dir": str(study.out / name(encoder, fusion, seed)), "every_minutes": 1, "keep": 1},
        "seed": seed,
    }


def name(encoder: str, fusion: str, seed: int) -> str:
    return f"{encoder}-{fusion}-{seed}"


# One run ------------------------------------------------------------------------------------------------


def operations_per_step(recipe: Recipe) -> tuple[float, int]:
    """Operations of a step, forward and backward, the mean of a few of the run's own; and how many of the
    model's parameters it teaches."""
    prepared = prepare(recipe)
    collator = build_collator(prepared)
    step = prepared.step.to(memory_format=torch.channels_last).train()
    with FlopCounterMode(display=False) as counter:
        for number in range(COUNTED_STEPS):
            step(collator.batch(number))["loss"].backward()
    taught = sum(one.numel() for one in prepared.step.model.parameters() if one.grad is not None)
    return counter.get_total_flops() / COUNTED_STEPS, taught


def steps_for(tflop: float, operations: float) -> int:
    """How many steps the budget pays for, at least two: a schedule has a beginning and an end."""
    return max(2, round(tflop * 1e12 / operations))


def run_one(study: Study, encoder: str, fusion: str, seed: int) -> dict[str, Any]:
    """Train and measure one model; what was measured before is read."""
    result = study.out / f"{name(encoder, fusion, seed)}.json"
    if result.is_file():
        found: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
        return found
    base = document(study, encoder, fusion, seed)
    operations, taught = operations_per_step(parse_recipe({**base, "steps": 2}, "fusion_study"))
    steps = steps_for(study.tflop, operations)
    recipe = parse_recipe({**base, "steps": steps}, "fusion_study")
    run(recipe)
    prepared = prepare(recipe)
    model = prepared.step.model
    load_run_weights(model, prepared.folder)
    answers = {
        source: measure(model, prepared, settings)
        for settings, source in zip(prepared.recipe.data, SETS, strict=True)
    }
    found = {
        "encoder": encoder,
        "fusion": fusion,
        "seed": seed,
        "steps": steps,
        "tflop": steps * operations / 1e12,
        "parameters": taught,
        "answers": answers,
    }
    atomic_write_text(result, json.dumps(found) + "\n")
    return found


def measure(model: AssembledModel, prepared: Prepared, settings: DataSettings) -> list[list[Any]]:
    """[photo, right or not] of every question about the first held-out photos."""
    _, held = _read(settings, Path(prepared.recipe.data_root))
    given = facade(model, prepared).stream("ask", ((one.photo, one.question) for one in held))
    return [[one.photo.name, _right(one, answer)] for one, answer in zip(held, given, strict=True)]


def _read(settings: DataSettings, root: Path) -> tuple[list[QuestionRecord], list[QuestionRecord]]:
    """What is learned from, and what is measured on."""
    learned, held = (
        [
            record
            for sample in samples
            for record in sample.question_records()
            if isinstance(record.photo, Path)
        ]
        for samples in read_samples(settings, root)
    )
    first = set(list(dict.fromkeys(one.photo for one in held))[:MEASURED_PHOTOS])
    return learned, [one for one in held if one.photo in first]


def _right(record: QuestionRecord, answer: Any) -> int:
    return int(
        isinstance(answer, Answer) and exact_match(answer.answer, record.answers, majority=record.majority)
    )


def share_right(rows: Sequence[Sequence[Any]]) -> float:
    return sum(right for _, right in rows) / len(rows)


# All of them --------------------------------------------------------------------------------------------


def per_photo(seeds: Sequence[Sequence[Sequence[Any]]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of each photo, the right answers in percent, summed, meaned over seeds, and how many questions it has:
    float64[N] each, photos in order of their names."""
    photos = sorted({photo for photo, _ in seeds[0]})
    place = {photo: number for number, photo in enumerate(photos)}
    sums, counts = np.zeros(len(photos)), np.zeros(len(photos))
    for rows in seeds:
        for photo, right in rows:
            sums[place[photo]] += 100 * right / len(seeds)
            counts[place[photo]] += 1 / len(seeds)
    return sums, counts


def mean_estimate(sums: NDArray[np.float64], counts: NDArray[np.float64]) -> Estimate:
    """Their mean over questions, with its interval over photos."""
    return estimates(len(sums), lambda drawn: {"mean": weighted_mean(drawn, sums, counts)}, Bootstrap())[
        "mean"
    ]


def differs(difference: Estimate, by_seed: Sequence[float]) -> bool:
    """Whether a difference is shown: its interval leaves out 0, and every seed, of several, has its sign."""
    if len(by_seed) < 2:
        return False
    low, high = difference.low, difference.high
    return (low > 0 and min(by_seed) > 0) or (high < 0 and max(by_seed) < 0)


def commonest_answers(study: Study) -> dict[str, float]:
    """What the commonest answer to each question scores, learned without looking at a photo."""
    found: dict[str, float] = {}
    settings = parse_recipe({**document(study, *study.runs[0]), "steps": 2}, "fusion_study").data
    for one, source in zip(settings, SETS, strict=True):
        learned, held = _read(one, Path("."))
        counts: dict[str, dict[str, int]] = {}
        for record in learned:
            asked = counts.setdefault(record.question, {})
            for answer in record.answers:
                asked[answer] = asked.get(answer, 0) + 1
        guess = {question: max(asked, key=lambda said: asked[said]) for question, asked in counts.items()}
        right = [
            exact_match(guess.get(record.question, ""), record.answers, majority=record.majority)
            for record in held
        ]
        found[source] = 100 * sum(right) / len(right)
    return found


def summary(study: Study, runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Every model's figures, and its differences from cross-attention over the same encoder."""
    rows: list[dict[str, Any]] = []
    for encoder in ENCODERS:
        for fusion in FUSIONS:
            own = _of(runs, encoder, fusion)
            row: dict[str, Any] = {
                "encoder": encoder,
                "fusion": fusion,
                "parameters": own[0]["parameters"],
                "steps": statistics.mean(one["steps"] for one in own),
                "tflop": statistics.mean(one["tflop"] for one in own),
            }
            for source in SETS:
                row[source] = _compared(own, _of(runs, encoder, REFERENCE), source)
            rows.append(row)
    first = runs[0]["answers"]
    return {
        "machine": describe_machine(),
        "torch": torch.__version__,
        "seeds": study.seeds,
        "tflop_per_run": study.tflop,
        "questions": {source: len(first[source]) for source in SETS},
        "photos": {source: len({photo for photo, _ in first[source]}) for source in SETS},
        "without_looking": commonest_answers(study),
        "models": rows,
    }


def _of(runs: Sequence[Mapping[str, Any]], encoder: str, fusion: str) -> list[Mapping[str, Any]]:
    return [one for one in runs if one["encoder"] == encoder and one["fusion"] == fusion]


def _compared(
    own: Sequence[Mapping[str, Any]], reference: Sequence[Mapping[str, Any]], source: str
) -> dict[str, Any]:
    mine = [one["answers"][source] for one in own]
    theirs = [one["answers"][source] for one in reference]
    sums, counts = per_photo(mine)
    other, _ = per_photo(theirs)
    by_seed = [100 * (share_right(a) - share_right(b)) for a, b in zip(mine, theirs, strict=True)]
    difference = mean_estimate(sums - other, counts)
    return {
        "exact_match": _shown(mean_estimate(sums, counts)),
        "by_seed": [100 * share_right(rows) for rows in mine],
        "difference": _shown(difference),
        "difference_by_seed": by_seed,
        "differs": differs(difference, by_seed),
    }


def _shown(estimate: Estimate) -> dict[str, float]:
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high}


def table(found: Mapping[str, Any]) -> str:
    """The figures as Markdown."""
    heads = [f"{NAMES[source]}: exact match | from {NAMES[REFERENCE]}" for source in SETS]
    lines = [
        f"| encoder | fusion | parameters taught | steps | {' | '.join(heads)} |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in found["models"]:
        cells = [NAMES[row["encoder"]], NAMES[row["fusion"]], f"{row['parameters']:,}", f"{row['steps']:.0f}"]
        for source in SETS:
            one = row[source]
            seeds = ", ".join(f"{value:.1f}" for value in one["by_seed"])
            cells.append(f"{_interval(one['exact_match'], '.1f')}; seeds {seeds}")
            sign = "" if one["differs"] else ", not shown"
            cells.append(
                "" if row["fusion"] == REFERENCE else f"{_interval(one['difference'], '+.1f')}{sign}"
            )
        lines.append(f"| {' | '.join(cells)} |")
    guesses = found["without_looking"]
    asked = " and ".join(
        f"{found['questions'][source]:,} questions about {found['photos'][source]:,} photos of "
        f"{NAMES[source]} (the commonest answer to each question, without looking: {guesses[source]:.1f})"
        for source in SETS
    )
    lines += [
        "",
        f"Exact match in percent, with 95% intervals, of {asked}. {found['tflop_per_run']:g} x 10^12 "
        f"operations a run, seeds: {found['seeds']}, torch {found['torch']}, {found['machine']}.",
    ]
    return "\n".join(lines) + "\n"


def _interval(one: Mapping[str, float], form: str) -> str:
    return f"{one['value']:{form}} ({one['low']:{form}} to {one['high']:{form}})"


def plot(found: Mapping[str, Any], path: Path) -> None:
    """Both sets side by side: the mean over seeds with its interval, and each seed as a small mark."""
    # No window, and a file that is the same whenever the figures are.
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "fusion-study"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(SETS), figsize=(9.5, 3.8), sharey=True)
    places = range(len(FUSIONS))
    for axis, source in zip(axes, SETS, strict=True):
        for shift, encoder, marker in ((0.12, "vit", "o"), (-0.12, "resnet", "s")):
            rows = [row for row in found["models"] if row["encoder"] == encoder]
            heights = [-place + shift for place in places]
            values = [row[source]["exact_match"] for row in rows]
            bars = [
                [one["value"] - one["low"] for one in values],
                [one["high"] - one["value"] for one in values],
            ]
            drawn = axis.errorbar(
                [one["value"] for one in values],
                heights,
                xerr=bars,
                fmt=marker,
                capsize=3,
                label=NAMES[encoder],
            )
            for height, row in zip(heights, rows, strict=True):
                seeds = row[source]["by_seed"]
                axis.plot(seeds, [height - 0.07] * len(seeds), "|", color=drawn[0].get_color(), alpha=0.6)
        guess = found["without_looking"][source]
        axis.axvline(guess, color="grey", linestyle=":", label="without looking")
        axis.set_title(NAMES[source])
        axis.set_xlabel("held-out questions answered right, %")
        axis.set_yticks([-place for place in places], [NAMES[fusion] for fusion in FUSIONS])
        axis.grid(axis="x", alpha=0.3)
    axes[0].legend(loc="best", fontsize=8)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def publish(study: Study, found: Mapping[str, Any], docs: Path) -> None:
    """The plot and the figures into ``docs``, the table between the marks of its page."""
    shutil.copyfile(study.out / "fusion-study.svg", docs / "fusion-study.svg")
    atomic_write_text(docs / "fusion-study.json", json.dumps(found, indent=1) + "\n")
    page = docs / "fusion-study.md"
    before, _, rest = page.read_text(encoding="utf-8").partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    atomic_write_text(page, f"{before}{MARKS[0]}\n{table(found)}{MARKS[1]}{after}")


def carry_out(study: Study) -> dict[str, Any]:
    """The whole study; its figures, which also lie in OUT."""
    study.out.mkdir(parents=True, exist_ok=True)
    if not (study.out / "scenes").is_dir():
        write_scenes(study.out / "scenes", study.scenes, seed=7)
    runs = [run_one(study, *one) for one in study.runs]
    found = summary(study, runs)
    atomic_write_text(study.out / "result.json", json.dumps(found, indent=1) + "\n")
    atomic_write_text(study.out / "table.md", table(found))
    plot(found, study.out / "fusion-study.svg")
    return found


def main() -> None:
    """Carry it out, or go on with it, and print the table."""
    parser = argparse.ArgumentParser(description="Ways of fusing text and image, at the same compute.")
    parser.add_argument("easy_vqa", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--tflop", type=float, default=2.0, help="operations of each run, in 10^12")
    parser.add_argument("--scenes", type=int, default=3000, help="how many are rendered")
    parser.add_argument("--batch", type=int, default=64, help="photos a step")
    parser.add_argument("--docs", type=Path, default=None)
    given = parser.parse_args()
    study = Study(given.easy_vqa, given.out, given.seeds, given.tflop, given.scenes, given.batch)
    found = carry_out(study)
    if given.docs is not None:
        publish(study, found, given.docs)
    print(table(found))


if __name__ == "__main__":
    main()
