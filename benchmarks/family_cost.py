"""What a family costs by each method: bytes, and time of each graph for 1 photo and for 8.

Published checkpoints cannot be had without a download, and time, memory and size need none: the shape is the
published one, its weights random. Each graph is given what the model's own task gave it, photo decoded and
tokens read, and is run by the methods in turns.
"""

from __future__ import annotations

import os
import shutil
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.family_methods import MAKING, RESHAPING, bundle_folder, make, methods, precision
from benchmarks.family_quality import FAMILIES, seetell, told
from numpy.typing import NDArray

from seetell.bundle.store import Bundle, open_bundle, resolve
from seetell.learning.compression.calibration import read_texts
from seetell.learning.scenes import write_scenes
from seetell.runtime.engine import Arrays, Engine
from seetell.runtime.generation import GenerationOptions
from seetell.runtime.select import choose_engine
from seetell.tasks.model import Model

SHAPES = {
    "clip": "CLIP ViT-B/32, 224 pixels",
    "siglip": "SigLIP B/16, 224 pixels",
    "chinese_clip": "Chinese-CLIP ViT-B/16, 224 pixels",
    "blip_captions": "BLIP base captioning, 384 pixels",
    "blip_answers": "BLIP base VQA, 384 pixels",
    "blip_retrieval": "BLIP base ITM, 384 pixels",
    "vilt": "ViLT B/32, 384 pixels",
    "seetell": "the built-in model",
}
BATCHES = (1, 8)
QUESTION = "what colour is the circle on the left?"
TEXT = "a red circle left of a blue square ."
CAPTION_TOKENS = 10
WARM_RUNS, LEAST_ROUNDS = 1, 3
CALIBRATION_PHOTOS = 4


# --- bundles ----------------------------------------------------------------------------------------------


def base_bundle(family: str, out: Path) -> tuple[Bundle, list[Path], Path]:
    """The family's bundle in floats below ``out``/FAMILY; photos; a file of texts. What is there stays."""
    folder = out / family
    folder.mkdir(parents=True, exist_ok=True)
    scenes = out / "scenes"
    if not scenes.exists():
        # Larger than what any model here sees, as photos are.
        write_scenes(scenes, max(BATCHES), size=400)
    texts = out / "texts.txt"
    texts.write_text(f"{TEXT}\n{QUESTION}\na green triangle .\nis there a black shape?\n", encoding="utf-8")
    base = folder / "fp32"
    if not base.exists():
        if FAMILIES[family].own:
            shutil.copytree(resolve("builtin").folder, base)
        else:
            checkpoint = folder / "checkpoint"
            shutil.rmtree(checkpoint, ignore_errors=True)
            told("-m", "benchmarks.family_shapes", family, "base", texts, checkpoint)
            seetell("convert", checkpoint, base)
            shutil.rmtree(checkpoint)
    return open_bundle(base), sorted((scenes / "images").iterdir()), texts


def make_bundles(family: str, out: Path) -> None:
    """A bundle for each method that makes one, and what their graphs are given, below ``out``/FAMILY. What is
    there stays."""
    folder = out / family
    bundle, photos, texts = base_bundle(family, out)
    given = methods(FAMILIES[family].own)
    for method in given:
        if method in MAKING:
            some = photos[:CALIBRATION_PHOTOS]
            make(method, bundle, bundle_folder(folder, method), some, read_texts(texts, CALIBRATION_PHOTOS))
    for method in ("fp32", *(one for one in given if one in RESHAPING)):
        if not _given(folder, method).exists():
            _write_inputs(open_bundle(bundle_folder(folder, method)), photos, _given(folder, method))


class Keeper:
    """An engine that keeps, of each graph, the inputs of the last run of the most rows."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.given: dict[str, Arrays] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def run(
        self, role: str, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None
    ) -> Arrays:
        """Run ``role`` and remember its inputs."""
        kept = self.given.get(role)
        if kept is None or _rows(inputs) >= _rows(kept):
            self.given[role] = {name: np.array(value) for name, value in inputs.items()}
        return self._engine.run(role, inputs, outputs)


def _rows(inputs: Mapping[str, NDArray[Any]]) -> int:
    return max((value.shape[0] for value in inputs.values() if value.ndim), default=0)


def _write_inputs(bundle: Bundle, photos: Sequence[Path], given: Path) -> None:
    writing = given.with_name(f"{given.name}-writing")
    shutil.rmtree(writing, ignore_errors=True)
    writing.mkdir()
    for count in BATCHES:
        keeper = Keeper(choose_engine(bundle, precision="fp32", device="cpu"))
        tokenizer = bundle.tokenizer() if bundle.manifest.text is not None else None
        with Model(bundle.manifest, tokenizer, keeper, batch_size=count) as model:
            work(model, list(photos[:count]))
        for role, inputs in keeper.given.items():
            np.savez(writing / f"{role}.{count}.npz", **inputs)  # type: ignore[arg-type]  # names are words
    writing.rename(given)


def work(model: Model, photos: Sequence[Path]) -> None:
    """All that the model can do of: embed photos and texts, match, write captions, answer."""
    if "embed" in model.tasks:
        list(model.stream("embed_images", photos))
        model.embed_texts([TEXT] * len(photos))
    if "match" in model.tasks and "fusion_encoder" in model.manifest.graphs and "ask" not in model.tasks:
        model.match(photos[0], [TEXT] * len(photos))
    if "caption" in model.tasks:
        words = GenerationOptions(min_tokens=CAPTION_TOKENS, max_tokens=CAPTION_TOKENS)
        list(model.stream("caption", photos, options=words))
    if "ask" in model.tasks:
        list(model.stream("ask", [(photo, QUESTION) for photo in photos]))


def _given(folder: Path, method: str) -> Path:
    """Where the inputs of a method's graphs lie: a pruned or merged model has caches of its own."""
    return bundle_folder(folder, method if method in RESHAPING else "fp32").with_suffix(".inputs")


# --- time -------------------------------------------------------------------------------------------------


def measure_cost(family: str, out: Path, rounds: int, budget_s: float) -> dict[str, Any]:
    """The family's part of the result; its bundles are there (:func:`make_bundles`).

    rounds: at most so many runs of each graph and method; fewer, but three, where they take longer than
    ``budget_s`` together.
    """
    folder = out / family
    bundles = {method: open_bundle(bundle_folder(folder, method)) for method in methods(FAMILIES[family].own)}
    began = time.monotonic()
    graphs: dict[str, dict[str, Any]] = {}
    for role in bundles["fp32"].manifest.graphs:
        found = time_graph(folder, role, bundles, rounds, budget_s)
        if found:
            graphs[role] = found
    return {
        "shape": SHAPES[family],
        "size_bytes": {method: bundle.size_bytes for method, bundle in bundles.items()},
        "graphs": graphs,
        "took_s": round(time.monotonic() - began),
    }


def time_graph(
    folder: Path, role: str, bundles: Mapping[str, Bundle], rounds: int, budget_s: float
) -> dict[str, Any]:
    """batch -> method -> median milliseconds, and how many rounds that is of. Empty for a graph that the
    model's work does not run."""
    engines = {
        method: choose_engine(bundle, precision=precision(method, bundle), device="cpu")
        for method, bundle in bundles.items()
    }
    found: dict[str, Any] = {}
    try:
        for count in BATCHES:
            inputs = {method: _read(_given(folder, method) / f"{role}.{count}.npz") for method in bundles}
            turns = {method: (engines[method], one) for method, one in inputs.items() if one is not None}
            if turns:
                found[str(count)] = in_turns(role, turns, rounds, budget_s)
    finally:
        for engine in engines.values():
            engine.close()
    return found


def _read(path: Path) -> Arrays | None:
    if not path.exists():
        return None
    with np.load(path) as stored:
        return dict(stored)


def in_turns(
    role: str, turns: Mapping[str, tuple[Engine, Arrays]], rounds: int, budget_s: float
) -> dict[str, Any]:
    """Medians of runs in which the methods take turns, each round begun by another."""
    took: dict[str, list[float]] = {method: [] for method in turns}
    order = list(turns)
    began = time.monotonic()
    done = 0
    for number in range(-WARM_RUNS, rounds):
        if done >= LEAST_ROUNDS and time.monotonic() - began > budget_s:
            break
        for method in order:
            engine, inputs = turns[method]
            start = time.perf_counter()
            engine.run(role, inputs)
            if number >= 0:
                took[method].append(1000 * (time.perf_counter() - start))
        done += number >= 0
        order = [*order[1:], order[0]]
    return {
        "rounds": done,
        "ms": {method: round(statistics.median(times), 3) for method, times in took.items()},
    }


def without_compiled_graphs() -> None:
    """Keep no compiled graphs: of large bundles that nobody runs again they take gigabytes."""
    os.environ["SEETELL_CACHE"] = os.devnull
