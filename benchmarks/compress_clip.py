"""Int8 by `seetell compress` beside NNCF's default: speed on CLIP's shape, quality on a trained bundle.

    python benchmarks/compress_clip.py --calibration DIR --calibration-texts F --captions F --images DIR
        [--model builtin] [--limit N] [--rounds 15] [--loads 8]

Both quantise the same graphs with the same inputs, recorded from photos and texts, and are run by OpenVINO.
NNCF's default is `nncf.quantize(graph, dataset)`, nothing said besides; `nncf transformer` is told that the
graph is one (`model_type`), which its documentation advises and which is reported beside it. Speed is of a
CLIP ViT-B/32 with random weights (`clip_shape.py`): the median of interleaved runs of each graph, 1 photo
and 8, 1 text and 8. Which graph was loaded first and which ran before which move these times by a hundredth
or two, so the graphs are loaded several times over, each time in another order, and take turns in another
order in every round. Quality is R@10 of `--model`, which is trained (on random weights every embedding is
like every other), at fp32 and with each int8, with what that lost. Prints one JSON object; under `demands`
what the project asks for and whether it holds; exit status 1 where it does not.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from safetensors.numpy import load_file, save_file

from seetell.bundle.check import CHECK_NAME
from seetell.bundle.manifest import MANIFEST_NAME, manifest_json
from seetell.bundle.store import Bundle, file_record, open_bundle, resolve
from seetell.evaluation.machine import describe_machine
from seetell.learning.compression.calibration import find_photos, read_texts, record
from seetell.learning.compression.graphs import read_graph
from seetell.learning.compression.nncf_backend import import_nncf
from seetell.runtime.engine import Arrays
from seetell.runtime.select import choose_engine

TOWERS = ("image_encoder", "text_encoder")
CONTENDERS = ("fp32", "seetell", "nncf", "nncf transformer")
WARM_RUNS = 3


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    for name in ("calibration", "calibration-texts", "captions", "images"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--model", default="builtin")
    parser.add_argument("--language", default="en")
    parser.add_argument("--limit", type=int, help="photos to measure quality on; default all")
    parser.add_argument("--rounds", type=int, default=15, help="of every load")
    parser.add_argument("--loads", type=int, default=8)
    settings = parser.parse_args()
    # NNCF shows its progress where the result belongs.
    with tempfile.TemporaryDirectory() as scratch, contextlib.redirect_stdout(sys.stderr):
        report = {
            "speed": speed(settings, Path(scratch) / "clip"),
            "quality": quality(settings, Path(scratch) / "trained"),
            "machine": describe_machine(),
        }
    report["demands"] = demands(report)
    print(json.dumps(report, indent=1))
    return int(not all(one["holds"] for one in report["demands"]))


def speed(settings: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """Milliseconds of CLIP's graphs at fp32, with our int8 and with NNCF's."""
    scratch.mkdir()
    told(Path(__file__).with_name("clip_shape.py"), str(scratch / "checkpoint"))
    seetell("convert", str(scratch / "checkpoint"), str(scratch / "fp32"))
    folders = quantised(settings, scratch)
    timed = cases(open_bundle(folders["fp32"]))
    took: dict[str, dict[str, list[float]]] = {case: {name: [] for name in folders} for case in timed}
    for load in range(settings.loads):
        one_load(folders, turned(list(folders), load), timed, settings.rounds, took)
    return {
        "shape": "CLIP ViT-B/32, random weights",
        "loads": settings.loads,
        "rounds": settings.rounds,
        "ms": {
            case: {name: round(statistics.median(times), 3) for name, times in each.items()}
            for case, each in took.items()
        },
    }


def one_load(
    folders: Mapping[str, Path],
    order: Sequence[str],
    timed: Mapping[str, tuple[str, Arrays]],
    rounds: int,
    took: Mapping[str, Mapping[str, list[float]]],
) -> None:
    """Load the bundles in ``order`` and add to ``took`` the milliseconds of ``rounds`` runs of each case."""
    engines = {
        name: choose_engine(
            open_bundle(folders[name]), precision="fp32" if name == "fp32" else "int8", device="cpu"
        )
        for name in order
    }
    for case, (role, inputs) in timed.items():
        for number in range(WARM_RUNS + rounds):
            for name in turned(order, number):
                start = time.perf_counter()
                engines[name].run(role, inputs)
                if number >= WARM_RUNS:
                    took[case][name].append(1000 * (time.perf_counter() - start))
    for engine in engines.values():
        engine.close()


def turned(names: Sequence[str], number: int) -> list[str]:
    """The names in their turn: each begins as often, and the order is reversed every other time, so that none
    always follows the same one."""
    first = number // 2 % len(names)
    order = [*names[first:], *names[:first]]
    return order[::-1] if number % 2 else order


def cases(bundle: Bundle) -> dict[str, tuple[str, Arrays]]:
    """What is timed: the photos' values are noise, the texts ten tokens each, as captions are."""
    random = np.random.default_rng(0)
    found: dict[str, tuple[str, Arrays]] = {}
    image = bundle.manifest.image
    assert image is not None
    for count in (1, 8):
        pixels = random.standard_normal((count, 3, image.height, image.width)).astype(np.float32)
        found[f"{count} photos"] = ("image_encoder", {"pixel_values": pixels})
        tokens = random.integers(2, 40, (count, 10))
        # The end token is the highest id in CLIP's vocabulary and where its text is read.
        tokens[:, -1] = 1
        mask = np.ones(tokens.shape, bool)
        found[f"{count} texts"] = ("text_encoder", {"input_ids": tokens, "attention_mask": mask})
    return found


def quality(settings: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """R@10 of the trained model's towers, both directions, at fp32, with our int8 and with NNCF's."""
    scratch.mkdir()
    towers(resolve(settings.model), scratch / "fp32")
    found: dict[str, Any] = {"model": settings.model}
    for name, folder in quantised(settings, scratch).items():
        limit = [] if settings.limit is None else ["--limit", str(settings.limit)]
        said = seetell(
            *(
                "evaluate",
                "--model",
                str(folder),
                "--precision",
                "fp32" if name == "fp32" else "int8",
                "--json",
            ),
            *("--captions", str(settings.captions), "--images", str(settings.images)),
            *("--language", settings.language, *limit),
        )
        measured = json.loads(said)
        found[name] = {way: measured[way]["r10"] for way in ("image_to_text", "text_to_image")}
    for name in CONTENDERS[1:]:
        found[name]["lost"] = round(
            statistics.mean(found["fp32"][way] - found[name][way] for way in found["fp32"]), 3
        )
    return found


def towers(bundle: Bundle, out: Path) -> None:
    """The bundle with nothing but what searching needs, so that both quantise the same."""
    out.mkdir()
    graphs = {role: graph for role, graph in bundle.manifest.graphs.items() if role in TOWERS}
    kept = {name for graph in graphs.values() for name in graph.files.values()}
    for path in bundle.folder.iterdir():
        if path.suffix != ".onnx" or path.name in kept:
            shutil.copyfile(path, out / path.name)
    recorded = load_file(bundle.path(CHECK_NAME))
    save_file({name: one for name, one in recorded.items() if name.startswith(TOWERS)}, out / CHECK_NAME)
    manifest = bundle.manifest.model_copy(
        update={"graphs": graphs, "tasks": ("embed", "match", "classify"), "gate": None, "measurements": ()}
    )
    write_manifest(out, manifest)


def quantised(settings: argparse.Namespace, scratch: Path) -> dict[str, Path]:
    """The bundle at ``scratch``/fp32, and its int8 by either way."""
    source = open_bundle(scratch / "fp32")
    # 99 points: what is compared is int8 throughout.
    seetell(
        *("compress", str(source.folder), str(scratch / "seetell"), "--max-drop", "99"),
        *("--calibration", str(settings.calibration)),
        *("--calibration-texts", str(settings.calibration_texts)),
    )
    photos, texts = find_photos(settings.calibration, 96), read_texts(settings.calibration_texts, 96)
    samples = record(source, photos, texts).samples
    nncf = import_nncf()
    by_nncf(source, scratch / "nncf", samples)
    by_nncf(source, scratch / "nncf transformer", samples, model_type=nncf.ModelType.TRANSFORMER)
    return {name: scratch / name for name in CONTENDERS}


def by_nncf(source: Bundle, out: Path, samples: Mapping[str, Sequence[Arrays]], **options: Any) -> None:
    """The bundle with every graph as NNCF makes it, on the inputs `seetell compress` calibrates with."""
    nncf = import_nncf()
    out.mkdir()
    graphs = {}
    for role, graph in source.manifest.graphs.items():
        working = read_graph(source.graph_path(role), role)
        model = nncf.quantize(working.model, nncf.Dataset(list(samples[role])), **options)
        name = f"{role}.int8.onnx"
        onnx.save(model, str(out / name))
        graphs[role] = graph.model_copy(update={"files": {"int8": name}})
    for path in source.folder.iterdir():
        if path.suffix != ".onnx":
            shutil.copyfile(path, out / path.name)
    write_manifest(out, source.manifest.model_copy(update={"graphs": graphs}))


def write_manifest(folder: Path, manifest: Any) -> None:
    """``manifest`` with the sums of what is in ``folder``."""
    names = sorted(path.name for path in folder.iterdir() if path.name != MANIFEST_NAME)
    manifest = manifest.model_copy(update={"files": {name: file_record(folder / name) for name in names}})
    (folder / MANIFEST_NAME).write_text(manifest_json(manifest), encoding="utf-8")


def demands(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What is asked for: as fast as NNCF's default or faster, and no more of R@10 lost."""
    rows = [
        {
            "demand": f"{case}: at most NNCF's time",
            "figure": round(took["nncf"] / took["seetell"], 3),
            "holds": took["seetell"] <= took["nncf"],
        }
        for case, took in report["speed"]["ms"].items()
    ]
    lost = {name: report["quality"][name]["lost"] for name in ("seetell", "nncf")}
    return [
        *rows,
        {"demand": "at most NNCF's loss of R@10", "figure": lost, "holds": lost["seetell"] <= lost["nncf"]},
    ]


def seetell(*arguments: str) -> str:
    """What the command says on standard output. Ends this process where it fails."""
    return told("-m", "seetell.cli.main", *arguments)


def told(*arguments: object) -> str:
    """What a Python process says on standard output."""
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, env=os.environ)
    if done.returncode:
        sys.exit(done.returncode)
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
