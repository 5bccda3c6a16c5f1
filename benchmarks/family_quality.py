"""What a family loses by each method: a small model of it is taught here, made smaller, and measured.

Rendered scenes teach captions and retrieval, easy-VQA teaches answers: small models learn both well above
chance in minutes, where of photos they would learn too little for a loss to be seen. Every way is measured on
the same pictures, none of which was learned from, and a drop has the paired interval of the gate of
`seetell compress`.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import family_shapes
from benchmarks.family_methods import MAKING, bundle_folder, make, methods, precision

from seetell.bundle.store import open_bundle
from seetell.core.results import Caption
from seetell.data.coco import read_coco_captions
from seetell.data.holdout import Holdout, split_holdout
from seetell.data.records import CaptionRecord, QuestionRecord
from seetell.data.vqa import read_vqa
from seetell.evaluation.captions import score_captions
from seetell.evaluation.predictors import Predictors
from seetell.evaluation.runner import Evaluation, evaluate_captions, evaluate_questions
from seetell.evaluation.vqa import exact_match
from seetell.learning.compression.calibration import find_photos, read_texts
from seetell.learning.compression.gate import Tolerance, compare, main_metrics
from seetell.learning.scenes import write_scenes
from seetell.learning.training.recipe import parse_recipe
from seetell.learning.training.run import run
from seetell.modeling.export.run import export_run
from seetell.tasks.model import Model, load

ROOT = Path(__file__).resolve().parent.parent
HELD_OUT = Holdout(modulo=10, remainder=9)
# Photos and texts to calibrate with.
CALIBRATION = 64
TRAIN_SCENES, DEV_SCENES = 3000, 500
# Scenes are not cut or tinted: what they show is in their edges and colours.
STILL = {"scale": [0.9, 1], "aspect": [0.95, 1.05], "brightness": 0, "contrast": 0, "saturation": 0}
OWN_MODEL = {
    "model": {
        "image": {"kind": "vit", "patch_size": 8, "embed_dim": 64, "depth": 2, "num_heads": 4},
        "text": {"embed_dim": 64, "depth": 2, "num_heads": 4, "context_length": 32},
        "fusion": {"depth": 2, "num_heads": 4},
        "image_size": [64, 64],
        "shared_dim": 64,
    },
    "tokenizer": {"vocab_size": 400, "context_length": 32},
    "objectives": [{"name": "contrastive"}, {"name": "captioning"}],
}


@dataclass(frozen=True, slots=True)
class Judged:
    """How a family is judged. metric: as the gate calls it. language: of the captions, empty for questions.
    steps, batch, rate: of the teaching. own: a model of ours, which can be pruned and merge tokens."""

    metric: str
    language: str = "en"
    steps: int = 500
    batch: int = 64
    rate: float = 1.5e-3
    own: bool = False

    @property
    def asks(self) -> bool:
        return self.metric.startswith("vqa")


FAMILIES: dict[str, Judged] = {
    "clip": Judged("text_to_image.r10"),
    "siglip": Judged("text_to_image.r10"),
    "chinese_clip": Judged("text_to_image.r10", language="zh"),
    "blip_captions": Judged("captions.bleu_4"),
    "blip_answers": Judged("vqa.exact_match", language="", steps=900, batch=24),
    "blip_retrieval": Judged("text_to_image.r10", batch=32),
    "vilt": Judged("vqa.exact_match", language="", steps=900, batch=24),
    "seetell": Judged("text_to_image.r10", own=True),
}


def measure_quality(family: str, steps: int, out: Path, easy_vqa: Path) -> dict[str, Any]:
    """The family's part of the result. What it makes lies below ``out`` and is found there again, so that a
    run that was cut off goes on; only what was made smaller is thrown away."""
    judged = FAMILIES[family]
    folder = out / family
    folder.mkdir(parents=True, exist_ok=True)
    data = _data(judged, out, easy_vqa)
    _teach(family, steps, folder, data)
    before = data.judge(folder / "fp32", "fp32")
    found: dict[str, Any] = {"fp32": _value(main_metrics([before])[judged.metric])}
    source, photos = open_bundle(folder / "fp32"), find_photos(data.photos, CALIBRATION)
    texts = read_texts(data.texts, CALIBRATION)
    for method in methods(judged.own)[1:]:
        made = bundle_folder(folder, method)
        if method in MAKING:
            make(method, source, made, photos, texts)
        after = data.judge(made, precision(method, open_bundle(made)))
        rows = compare(main_metrics([before]), main_metrics([after]), Tolerance(100, relative=False))
        row = next(one for one in rows if one.metric == judged.metric)
        drop = row.drop_interval
        found[method] = {
            **_value(row.after),
            "drop": round(row.drop, 4),
            "drop_interval": None if drop is None else [round(one, 4) for one in drop],
        }
    chance, of = data.chance(folder / "fp32")
    for method in MAKING:
        shutil.rmtree(bundle_folder(folder, method), ignore_errors=True)
    return {
        "metric": judged.metric,
        "chance": round(chance, 2),
        "chance_is": of,
        "data": data.name,
        "pictures": before.n_images,
        "texts": before.n_texts,
        "steps": steps,
        "batch": judged.batch,
        "methods": found,
    }


def _value(one: Any) -> dict[str, Any]:
    return {"value": round(one.value, 4), "interval": [round(one.low, 4), round(one.high, 4)]}


# --- data -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Data:
    """What a family learns from and is measured on. texts: a file of what may be read, one a line. photos: a
    folder to calibrate with, of pictures learned from. source: the recipe's. judge: measures a bundle in a
    precision. chance: what a model that does not look gets, of a bundle, and how that was found."""

    name: str
    texts: Path
    photos: Path
    source: Mapping[str, Any]
    judge: Callable[[Path, str], Evaluation]
    chance: Callable[[Path], tuple[float, str]]


def _data(judged: Judged, out: Path, easy_vqa: Path) -> Data:
    return _questions(out, easy_vqa) if judged.asks else _captions(judged, out)


def _questions(out: Path, easy_vqa: Path) -> Data:
    """easy-VQA: every tenth picture is held out, as its data has no test split here."""
    files = [easy_vqa / f"{name}_train.json" for name in ("questions", "annotations")]
    taught, held = split_holdout(read_vqa(files[0], files[1], easy_vqa / "images"), HELD_OUT)
    # A vocabulary is made of them, and an answer that is not in it cannot be written.
    said = [record.question for record in taught] + [one for record in taught for one in record.answers]
    texts = _write_texts(out / "questions.txt", said)
    photos = out / "asked"
    if not photos.exists():
        photos.mkdir()
        for photo in list(dict.fromkeys(record.photo for record in taught))[:64]:
            shutil.copyfile(photo, photos / photo.name)

    def judge(folder: Path, precision: str) -> Evaluation:
        with load(folder, precision=precision, device="cpu") as model:
            predict = Predictors(model.name, model.precision, ask=partial(model.stream, "ask"))
            return evaluate_questions(predict, held)

    source = {
        "format": "vqa",
        "path": str(easy_vqa.resolve()),
        "questions_per_photo": 2,
        # Three questions in four are answered yes or no, which teaches nothing before shapes are known.
        "rare_answers": 0.5,
        "holdout": {"modulo": HELD_OUT.modulo, "remainder": HELD_OUT.remainder},
    }
    chance = (blind_answers(taught, held), "the commonest answer to each question")
    return Data("easy-VQA, every tenth picture", texts, photos, source, judge, lambda _: chance)


def _captions(judged: Judged, out: Path) -> Data:
    """Rendered scenes; those measured on are drawn from another seed."""
    for name, count, seed in (("taught", TRAIN_SCENES, 0), ("unseen", DEV_SCENES, 1), ("shown", 64, 2)):
        if not (out / name).exists():
            write_scenes(out / name, count, seed=seed)
    language = judged.language
    taught = _read(out / "taught")
    unseen = _read(out / "unseen")
    said = [text for record in taught for text in record.texts(language)]
    texts = _write_texts(out / f"captions-{language}.txt", said)

    def judge(folder: Path, precision: str) -> Evaluation:
        with load(folder, precision=precision, device="cpu") as model:
            return evaluate_captions(_predictors(model, judged), unseen, language)

    def chance(folder: Path) -> tuple[float, str]:
        if judged.metric.startswith("text_to_image"):
            return 1000 / len(unseen), "ten drawn by lot"
        with load(folder, precision="fp32", device="cpu") as model:
            photos = [record.photo for record in unseen]
            written: list[Caption] = list(model.stream("caption", photos, language=language))
        references = [record.texts(language) for record in unseen]
        return strangers_captions([one.text for one in written], references, language), (
            "its own captions, each of the scene before"
        )

    source = {
        "format": "coco_captions",
        "path": str((out / "taught").resolve()),
        "languages": [language],
    }
    return Data(f"rendered scenes ({language})", texts, out / "shown" / "images", source, judge, chance)


def _read(folder: Path) -> list[CaptionRecord[Path]]:
    return read_coco_captions(folder / "captions_train.json", folder / "images")


def _predictors(model: Model, judged: Judged) -> Predictors:
    """What the metric needs and no more: captions are slow to write."""
    if judged.metric.startswith("captions"):
        caption = partial(model.stream, "caption", language=judged.language)
        return Predictors(model.name, model.precision, caption=caption)
    return Predictors(
        model.name,
        model.precision,
        embed_images=partial(model.stream, "embed_images"),
        embed_texts=model.embed_texts,
    )


def _write_texts(path: Path, texts: Sequence[str]) -> Path:
    path.write_text("\n".join(dict.fromkeys(texts)) + "\n", encoding="utf-8")
    return path


def blind_answers(taught: Sequence[QuestionRecord[Any]], held: Sequence[QuestionRecord[Any]]) -> float:
    """Of 100 questions so many are answered by what is answered most often to the same words, or to any."""
    by_question: dict[str, Counter[str]] = defaultdict(Counter)
    overall: Counter[str] = Counter()
    for record in taught:
        answer = record.majority or record.answers[0]
        by_question[record.question][answer] += 1
        overall[answer] += 1
    right = 0
    for record in held:
        said = (by_question.get(record.question) or overall).most_common(1)[0][0]
        right += bool(exact_match(said, record.answers, record.majority))
    return 100 * right / len(held)


def strangers_captions(texts: Sequence[str], references: Sequence[Sequence[str]], language: str) -> float:
    """BLEU-4 of captions that each belong to the photo before: what knowing the style alone gives."""
    moved = [*texts[-1:], *texts[:-1]]
    return score_captions(moved, references, language)["bleu_4"].value


# --- models -----------------------------------------------------------------------------------------------


def recipe(
    judged: Judged, steps: int, source: Mapping[str, Any], run: Path, init: Path | None
) -> dict[str, Any]:
    """The recipe: from ``init``, or without one of our own model."""
    return {
        **(OWN_MODEL if init is None else {"init": str(init)}),
        "data": [{**source, "batch_size": judged.batch, "augment": STILL}],
        "optimizer": {"lr": judged.rate},
        "schedule": {"warmup_fraction": 0.05},
        "steps": steps,
        "checkpoint": {"dir": str(run), "keep": 1},
        **({"answers": 20} if judged.asks else {}),
    }


def _teach(family: str, steps: int, folder: Path, data: Data) -> None:
    """Write the trained bundle to ``folder``/fp32, unless it is there. Training goes on where it was."""
    judged, bundle = FAMILIES[family], folder / "fp32"
    if bundle.exists():
        return
    init = None if judged.own else folder / "checkpoint"
    if init is not None and not init.exists():
        family_shapes.make(family, True, data.texts.read_text(encoding="utf-8").splitlines(), init)
    # A run that was cut off before its first step has no recipe and cannot go on.
    taught = folder / "run"
    if taught.exists() and not (taught / "recipe.yaml").exists():
        shutil.rmtree(taught)
    document = recipe(judged, steps, data.source, taught, init)
    run(parse_recipe(document, f"the recipe of {family}"))
    export_run(taught, bundle)


def seetell(*arguments: object) -> None:
    """Run the command. Ends this process where it fails."""
    told("-m", "seetell.cli.main", *arguments)


def told(*arguments: object) -> None:
    """Run a Python process; what it says goes to standard error. Ends this process where it fails."""
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, stdout=sys.stderr, check=False, cwd=ROOT)
    if done.returncode:
        sys.exit(f"{' '.join(command[1:])} ended with status {done.returncode}")
