"""Every family in every precision: size, time at 1 photo and at 8, and quality.

    python benchmarks/families.py OUT [--families clip,vilt] [--steps 400] [--scenes 1500] [--runs 7]

No published source says what int8 does to BLIP or ViLT, and no published checkpoint can be had without a
download. So size and time are of the published shape with random weights, which cost what trained ones cost,
and quality is of a small model of the same family that `seetell train` teaches here on rendered scenes,
measured on scenes it has not seen: R@10 from words to photos, BLEU-4 of captions, or the answers that are
right. `int8` is calibrated, `int8 weights` is not. Time is the median of a whole task, decoding the photo and
writing ten words included, of runs in which the precisions take turns. Writes OUT/families.json, kept up
after each family (a run that is started again goes on), and OUT/families.md.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from PIL import Image

from seetell.evaluation.machine import describe_machine
from seetell.learning.scenes import write_scenes
from seetell.runtime.generation import GenerationOptions
from seetell.tasks.model import Model, load

# family -> what it is measured by: the source it learns from, the task, and the metric.
JUDGED = {
    "clip": ("coco_captions", "embed", "text_to_image.r10"),
    "siglip": ("coco_captions", "embed", "text_to_image.r10"),
    "blip_captions": ("coco_captions", "caption", "captions.bleu_4"),
    "blip_answers": ("vqa", "ask", "vqa.exact_match"),
    "blip_retrieval": ("coco_captions", "embed", "text_to_image.r10"),
    "vilt": ("vqa", "ask", "vqa.exact_match"),
}
METHODS = ("fp32", "bf16", "int8 weights", "int8")
QUESTION = "what colour is the circle?"
CAPTION_TOKENS = 10
PHOTOS = (1, 8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("out", type=Path)
    parser.add_argument("--families", default=",".join(JUDGED))
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--scenes", type=int, default=1500)
    parser.add_argument("--runs", type=int, default=7)
    settings = parser.parse_args()
    settings.out.mkdir(parents=True, exist_ok=True)
    result = settings.out / "families.json"
    asked = {"steps": settings.steps, "scenes": settings.scenes, "runs": settings.runs}
    found: dict[str, Any] = {"settings": asked, "machine": describe_machine(), "families": {}}
    if result.exists():
        found = json.loads(result.read_text(encoding="utf-8"))
        if found["settings"] != asked:
            sys.exit(f"{result} was measured with {found['settings']}; give another OUT")
    write_data(settings.out, settings.scenes)
    for family in settings.families.split(","):
        if family not in found["families"]:
            found["families"][family] = {
                "quality": quality(settings, family),
                "cost": cost(settings, family),
            }
            result.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    (settings.out / "families.md").write_text(table(found), encoding="utf-8")
    print(table(found))


def write_data(out: Path, count: int) -> None:
    """Scenes to learn from, to be measured on and to calibrate with, and every text of the first."""
    for name, number, seed in (("train", count, 0), ("dev", 300, 1), ("calibration", 64, 2)):
        if not (out / name).exists():
            write_scenes(out / name, number, seed=seed, split=name)
    texts = []
    for file, key, field in (("captions", "annotations", "caption"), ("questions", "questions", "question")):
        document = json.loads((out / "train" / f"{file}_train.json").read_text(encoding="utf-8"))
        texts += [one[field] for one in document[key] if one.get("language", "en") == "en"]
    (out / "texts.txt").write_text("\n".join(dict.fromkeys(texts)) + "\n", encoding="utf-8")


def quality(settings: argparse.Namespace, family: str) -> dict[str, dict[str, Any]]:
    """method -> the metric's value and interval, and with int8 the drop's own."""
    out = settings.out
    source, _, metric = JUDGED[family]
    bundle = out / f"{family}-trained"
    if not bundle.exists():
        checkpoint, run = out / f"{family}-small", out / f"{family}-run"
        if not checkpoint.exists():
            told(Path(__file__).with_name("family_shapes.py"), family, "small", out / "texts.txt", checkpoint)
        recipe = out / f"{family}.yaml"
        recipe.write_text(yaml.safe_dump(teaching(settings, source, checkpoint, run)), encoding="utf-8")
        seetell("train", recipe)
        seetell("convert", run, bundle)
    data = judged_by(out, source)
    found: dict[str, dict[str, Any]] = {}
    for precision in ("fp32", "bf16"):
        said = json.loads(seetell("evaluate", *data, "--model", bundle, "--precision", precision, "--json"))
        part, _, name = metric.partition(".")
        found[precision] = {"value": said[part][name], "interval": said[part]["intervals"][name]}
    for method, more in (("int8 weights", []), ("int8", calibration(out))):
        report = json.loads(compress(bundle, out / f"{family}-{method.replace(' ', '-')}", [*data, *more]))
        row = next(one for one in report["quality"] if one["metric"] == metric)
        found[method] = {
            "value": row["after"],
            "interval": row["after_interval"],
            "drop": row["drop"],
            "drop_interval": row["drop_interval"],
        }
    return {"metric": metric, **found}  # type: ignore[dict-item]  # the metric's name stands beside the methods


def teaching(settings: argparse.Namespace, source: str, checkpoint: Path, run: Path) -> dict[str, Any]:
    """The recipe. Scenes are not cut or tinted: what they show is in their edges and colours."""
    still = {"scale": [0.9, 1], "aspect": [0.95, 1.05], "brightness": 0, "contrast": 0, "saturation": 0}
    data = {"format": source, "path": "train", "split": "train", "batch_size": 32, "augment": still}
    return {
        "init": str(checkpoint),
        "data_root": str(settings.out),
        "data": [data],
        "optimizer": {"lr": 1.0e-3},
        "steps": settings.steps,
        "checkpoint": {"dir": str(run)},
        **({"answers": 20} if source == "vqa" else {}),
    }


def judged_by(out: Path, source: str) -> list[object]:
    """The options of `seetell evaluate` that name the unseen scenes."""
    images = ["--images", out / "dev" / "images"]
    if source == "coco_captions":
        return ["--captions", out / "dev" / "captions_dev.json", "--language", "en", *images]
    files = [out / "dev" / f"{name}_dev.json" for name in ("questions", "annotations")]
    return ["--questions", files[0], "--annotations", files[1], *images]


def calibration(out: Path) -> list[object]:
    """The options of `seetell compress` that name photos and texts to calibrate with."""
    return ["--calibration", out / "calibration" / "images", "--calibration-texts", out / "texts.txt"]


def compress(bundle: Path, out: Path, options: Sequence[object]) -> str:
    """The report. 99 points: what int8 costs is what is asked, not whether it may."""
    return seetell("compress", bundle, out, "--max-drop", "99", "--overwrite", "--json", *options)


def cost(settings: argparse.Namespace, family: str) -> dict[str, Any]:
    """method -> bytes and milliseconds, of the published shape."""
    out = settings.out
    base, checkpoint = out / f"{family}-base", out / f"{family}-checkpoint"
    if not base.exists():
        told(Path(__file__).with_name("family_shapes.py"), family, "base", out / "texts.txt", checkpoint)
        seetell("convert", checkpoint, base)
    folders = {"fp32": base, "bf16": base}
    for method, more in (("int8 weights", []), ("int8", calibration(out))):
        folders[method] = out / f"{family}-base-{method.replace(' ', '-')}"
        if not folders[method].exists():
            compress(base, folders[method], more)
    pictures = [Image.open(path) for path in sorted((out / "dev" / "images").iterdir())[: max(PHOTOS)]]
    took: dict[str, dict[int, float]] = {}
    for count in PHOTOS:
        models = {
            method: load(folder, precision=method.partition(" ")[0], device="cpu", batch_size=count)
            for method, folder in folders.items()
        }
        times: dict[str, list[float]] = {method: [] for method in METHODS}
        for number in range(settings.runs + 1):  # the first compiles
            for method in METHODS:
                start = time.perf_counter()
                work(models[method], JUDGED[family][1], pictures[:count])
                if number:
                    times[method].append(1000 * (time.perf_counter() - start))
        for method, model in models.items():
            took.setdefault(method, {})[count] = round(statistics.median(times[method]), 2)
            model.close()
    sizes = {
        method: sum(path.stat().st_size for path in folder.iterdir()) for method, folder in folders.items()
    }
    return {method: {"size_bytes": sizes[method], "ms": took[method]} for method in METHODS}


def work(model: Model, task: str, photos: list[Image.Image]) -> None:
    """The task, of all photos at once."""
    if task == "embed":
        model.embed_images(photos)
    elif task == "caption":
        words = GenerationOptions(min_tokens=CAPTION_TOKENS, max_tokens=CAPTION_TOKENS)
        list(model.stream("caption", photos, options=words))
    else:
        list(model.stream("ask", [(photo, QUESTION) for photo in photos]))


def table(found: dict[str, Any]) -> str:
    """Markdown: a row for each family and method."""
    lines = [
        "| family | method | size | 1 photo | 8 photos | quality (95%) | lost against fp32 |",
        "|---|---|---|---|---|---|---|",
    ]
    for family, one in found["families"].items():
        metric = one["quality"]["metric"]
        for method in METHODS:
            row, judged = one["cost"][method], one["quality"][method]
            low, high = judged["interval"]
            lost = "–"
            if "drop" in judged:
                low_drop, high_drop = judged["drop_interval"]
                lost = f"{judged['drop']:.2f} ({low_drop:.2f} to {high_drop:.2f})"
            ms = {int(count): value for count, value in row["ms"].items()}
            lines.append(
                f"| {family} | {method} | {row['size_bytes'] / 1e6:.0f} MB "
                f"| {ms[1]:.1f} ms | {ms[8]:.1f} ms "
                f"| {metric} {judged['value']:.1f} ({low:.1f} to {high:.1f}) | {lost} |"
            )
    return "\n".join([*lines, "", f"{found['machine']}, {found['settings']}", ""])


def seetell(*arguments: object) -> str:
    """What the command says on standard output. Ends this process where it fails."""
    return told("-m", "seetell.cli.main", *arguments)


def told(*arguments: object) -> str:
    """What a Python process says on standard output."""
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(done.returncode)
    return done.stdout


if __name__ == "__main__":
    main()
