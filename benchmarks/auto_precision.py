"""`--precision auto` beside every precision it could have been, in turns: what its choice costs or gains.

    python -m benchmarks.auto_precision OUT [--families seetell,clip] [--quick] [--batches 1,8,32]
        [--rounds 9] [--budget-s 8] [--beside "nothing else"]
    python -m benchmarks.auto_precision --table OUT/auto_precision.json

The built-in model, and a bundle of each family's published shape with random weights, which cost what trained
ones cost. Each has graphs in floats and in int8, and counts as having passed its gate, so that `auto` has all
there is to choose from; it measures for itself, once, in OUT/cache. Timed is what the engine does for a verb
(embed photos, caption, ask, match): its graphs, each as often as the verb runs it, on what the verb gives it.
Ways take turns, each round begun by another. A ratio is the fastest fixed precision's time over auto's: 1 is
the best that could be chosen, and `auto` may be above it by chance alone.

Bundles and each family's result stay in OUT, so that a run that was cut off goes on. `--quick` leaves out
batches of 32, and int8 where it would have to be made first, which takes minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.family_cost import (
    CALIBRATION_PHOTOS,
    CAPTION_TOKENS,
    QUESTION,
    SHAPES,
    TEXT,
    Keeper,
    base_bundle,
    in_turns,
)
from benchmarks.family_methods import make

from seetell.bundle.manifest import GateRecord
from seetell.bundle.store import Bundle, open_bundle, resolve
from seetell.core.files import atomic_write_text
from seetell.evaluation.machine import describe_machine
from seetell.learning.compression.calibration import read_texts
from seetell.learning.compression.manifests import write_manifest
from seetell.learning.compression.packing import beside_floats
from seetell.runtime.engine import Arrays, Engine
from seetell.runtime.fastest_engine import FastestEngine
from seetell.runtime.generation import GenerationOptions
from seetell.runtime.openvino_engine import OpenVINOEngine, has_bf16
from seetell.runtime.select import choose_engine
from seetell.tasks.model import Model

BUILTIN = "seetell"
AUTO = "auto"
BATCHES, QUICK_BATCHES = (1, 8, 32), (1, 8)
QUICK_FAMILIES = (BUILTIN, "clip")
# What is asked of auto.
LEAST = 0.95


# --- bundles ----------------------------------------------------------------------------------------------


def bundle_of(family: str, out: Path, quick: bool) -> tuple[Bundle, list[Path]]:
    """The family's bundle with all the precisions it can have, and photos. What is there stays."""
    base, photos, texts = base_bundle(family, out)
    shipped = resolve("builtin") if family == BUILTIN else base
    if shipped.has_int8 or quick:
        return passed(shipped), photos
    folder = out / family / "both"
    if not folder.exists():
        int8 = out / family / "int8"
        make("int8", base, int8, photos[:CALIBRATION_PHOTOS], read_texts(texts, CALIBRATION_PHOTOS))
        joined(base, open_bundle(int8), folder)
    return passed(open_bundle(folder)), photos


def passed(bundle: Bundle) -> Bundle:
    """The bundle as if its int8 had passed a gate: speed is measured here, quality elsewhere."""
    gate = GateRecord(passed=True, tolerance=0.0, metric="not asked", drop=0.0)
    return Bundle(bundle.folder, bundle.manifest.model_copy(update={"gate": gate}))


def joined(base: Bundle, int8: Bundle, folder: Path) -> None:
    """Write to ``folder`` one bundle with the graphs of both, as `seetell compress --keep-floats` does."""
    writing = folder.with_name(f"{folder.name}-writing")
    shutil.rmtree(writing, ignore_errors=True)
    shutil.copytree(int8.folder, writing)
    graphs = beside_floats(writing, base, int8)
    write_manifest(writing, int8.manifest.model_copy(update={"graphs": graphs}))
    open_bundle(writing)
    writing.rename(folder)


# --- what a verb has the engine do ------------------------------------------------------------------------


class CountingKeeper(Keeper):
    """Keeps inputs, and counts the runs of each graph."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.runs: Counter[str] = Counter()

    def run(self, role: str, inputs: Mapping[str, Any], outputs: Sequence[str] | None = None) -> Arrays:
        """Run ``role``, counted."""
        self.runs[role] += 1
        return super().run(role, inputs, outputs)


def verbs(model: Model) -> dict[str, Callable[[Sequence[Path]], object]]:
    """What the model can be asked of several photos at once."""
    words = GenerationOptions(min_tokens=CAPTION_TOKENS, max_tokens=CAPTION_TOKENS)
    found: dict[str, Callable[[Sequence[Path]], object]] = {}
    if "embed" in model.tasks:
        found["embed"] = model.embed_images
    if "caption" in model.tasks:
        found["caption"] = lambda photos: model.caption(photos, options=words)
    if "ask" in model.tasks:
        found["ask"] = lambda photos: model.ask(photos, QUESTION)
    elif "match" in model.tasks and "fusion_encoder" in model.manifest.graphs:
        found["match"] = lambda photos: model.match(photos[0], [TEXT] * len(photos))
    return found


def given_by(bundle: Bundle, verb: str, photos: Sequence[Path]) -> tuple[Counter[str], dict[str, Arrays]]:
    """How often each graph is run for these photos, and what it is given."""
    tokenizer = bundle.tokenizer() if bundle.manifest.text is not None else None
    counter = CountingKeeper(choose_engine(bundle, precision="fp32", device="cpu"))
    with Model(bundle.manifest, tokenizer, counter, batch_size=len(photos)) as model:
        verbs(model)[verb](photos)
    return counter.runs, counter.given


# --- time -------------------------------------------------------------------------------------------------


@contextmanager
def engines_of(bundle: Bundle) -> Iterator[dict[str, Engine]]:
    """auto, and every precision that it could be."""
    made: dict[str, Engine] = {AUTO: choose_engine(bundle, device="cpu"), "fp32": OpenVINOEngine(bundle)}
    bf16 = has_bf16()
    if bf16:
        made["bf16"] = OpenVINOEngine(bundle, precision="bf16")
    if bundle.has_int8:
        made["int8, rest f32"] = OpenVINOEngine(bundle, precision="int8")
        if bf16:
            made["int8, rest bf16"] = OpenVINOEngine(bundle, precision="int8", floats="bf16")
    try:
        yield made
    finally:
        for engine in made.values():
            engine.close()


def measure(
    family: str, out: Path, quick: bool, batches: Sequence[int], rounds: int, budget_s: float
) -> dict[str, Any]:
    """The family's part of the result."""
    bundle, photos = bundle_of(family, out, quick)
    with engines_of(bundle) as made:
        auto = made[AUTO]
        chosen = auto.comparison.chosen.name if isinstance(auto, FastestEngine) else auto.precision
    tokenizer = bundle.tokenizer() if bundle.manifest.text is not None else None
    with Model(bundle.manifest, tokenizer, OpenVINOEngine(bundle)) as model:
        can = list(verbs(model))
    rows = []
    for batch in batches:
        some = [photos[number % len(photos)] for number in range(batch)]
        for verb in can:
            ms: Counter[str] = Counter()
            runs, given = given_by(bundle, verb, some)
            for role, inputs in given.items():
                # Engines of their own: a graph that is done with need not stay in memory.
                with engines_of(bundle) as made:
                    turns = {way: (engine, inputs) for way, engine in made.items()}
                    for way, took in in_turns(role, turns, rounds, budget_s)["ms"].items():
                        ms[way] += runs[role] * took
            rows.append({"verb": verb, "batch": batch, "runs": dict(runs), "ms": dict(ms)})
            print(f"{family} {verb} {batch}: {ratio(ms):.2f}", file=sys.stderr, flush=True)
    shape = SHAPES[family]
    return {"shape": shape, "auto": chosen, "rows": rows}


def ratio(ms: Mapping[str, float]) -> float:
    """The fastest fixed precision's time over auto's."""
    return min(took for way, took in ms.items() if way != AUTO) / ms[AUTO]


def table(found: Mapping[str, Any]) -> str:
    """The result as Markdown."""
    families: Mapping[str, Any] = found["families"]
    ways = list(dict.fromkeys(way for one in families.values() for row in one["rows"] for way in row["ms"]))
    lines = [
        "| | auto is | verb | photos | " + " | ".join(f"{way}, ms" for way in ways) + " | fastest / auto |",
        "|---" * (5 + len(ways)) + "|",
    ]
    for one in families.values():
        for row in one["rows"]:
            times = " | ".join(f"{row['ms'][way]:.3g}" if way in row["ms"] else "" for way in ways)
            lines.append(
                f"| {one['shape']} | {one['auto']} | {row['verb']} | {row['batch']} | {times} | "
                f"{ratio(row['ms']):.2f} |"
            )
    every = [(ratio(row["ms"]), name, row) for name, one in families.items() for row in one["rows"]]
    least, name, row = min(every, key=lambda one: one[0])
    lines += [
        "",
        f"Least: {least:.2f} ({name}, {row['verb']}, {row['batch']} photos); {LEAST:g} is asked. "
        f"{found['machine']}; beside: {found['beside']}; load {found['load']}.",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("out", type=Path, nargs="?")
    parser.add_argument("--table", type=Path, help="print this result, measure nothing")
    parser.add_argument("--families", help=f"separated by commas, of {', '.join(SHAPES)}; default all")
    parser.add_argument("--quick", action="store_true", help="a few minutes; see above")
    parser.add_argument("--batches", help="separated by commas; default 1,8,32")
    parser.add_argument("--rounds", type=int, default=9, help="timed runs of each graph in each precision")
    parser.add_argument("--budget-s", type=float, default=8, help="fewer runs, but 3, where they take longer")
    parser.add_argument("--beside", default="not told", help="what else the machine was doing")
    settings = parser.parse_args()
    if settings.table is not None:
        print(table(json.loads(settings.table.read_text(encoding="utf-8"))))
        return
    if settings.out is None:
        parser.error("give OUT, a folder, or --table F")
    families = settings.families.split(",") if settings.families else list(SHAPES)
    if settings.quick and not settings.families:
        families = list(QUICK_FAMILIES)
    if unknown := sorted(set(families) - set(SHAPES)):
        parser.error(f"unknown families: {', '.join(unknown)}; there are {', '.join(SHAPES)}")
    batches = QUICK_BATCHES if settings.quick else BATCHES
    if settings.batches:
        batches = tuple(int(batch) for batch in settings.batches.split(","))
    out: Path = settings.out.resolve()
    (out / "parts").mkdir(parents=True, exist_ok=True)
    os.environ["SEETELL_CACHE"] = str(out / "cache")
    load = round(os.getloadavg()[0], 1)
    parts = {}
    for family in families:
        kept = out / "parts" / f"{family}.{'quick' if settings.quick else 'full'}.json"
        if not kept.exists():
            part = measure(family, out, settings.quick, batches, settings.rounds, settings.budget_s)
            atomic_write_text(kept, json.dumps(part, indent=1) + "\n")
        parts[family] = json.loads(kept.read_text(encoding="utf-8"))
    found = {"machine": describe_machine(), "beside": settings.beside, "load": load, "families": parts}
    atomic_write_text(out / "auto_precision.json", json.dumps(found, indent=1) + "\n")
    print(table(found))


if __name__ == "__main__":
    main()
