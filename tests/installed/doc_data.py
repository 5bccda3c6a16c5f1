"""What the commands of the documentation read: photos, captions and questions, small and made here."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from PIL import Image

from tests.installed.doc_commands import Command
from tests.media.heic_files import TURNED
from tests.test_docs import ROOT, fences

PACKAGE = ROOT / "src" / "seetell"
# Sample photo: its label, captions in English and in Chinese.
SAMPLES: dict[str, tuple[str, list[str], str]] = {
    "chelsea": ("cat", ["a photo of a cat .", "the cat looks at us ."], "照片里有一只猫。"),
    "coffee": ("cup_of_coffee", ["a cup of coffee .", "coffee on a table ."], "桌上有一杯咖啡。"),
    "rocket": ("rocket", ["a rocket takes off .", "a white rocket ."], "火箭升空。"),
}
OBJECTS = {
    "cat": ["cat", "nose", "fur"],
    "cup_of_coffee": ["cup", "spoon", "table"],
    "rocket": ["rocket", "sky", "tower"],
}
LABELS_ZH = {"cat": "猫", "cup_of_coffee": "咖啡", "rocket": "火箭"}
PER_LABEL = 10
# Question: the answer of each label, where that is not the label itself.
ANSWERED: dict[str, dict[str, str]] = {"what is in the picture?": {}, "is there a cat?": {"cat": "yes"}}
# Files that pages show as a block: the page, and what the block holds, by which it is found.
SHOWN = {
    "recover.yaml": ("docs/compress.md", "{name: matching}]"),
    "my-recipe.yaml": ("docs/train-your-own.md", "stop_on: my-photos"),
    "fine-tune.yaml": ("docs/fine-tune.md", "data_root: data\n"),
    "questions.jsonl": ("docs/ask-a-photo.md", '"photo": "photos/coffee.png"'),
}
# For what a page shows on no data of its own: a recipe with a teacher that has read its photos before.
TAUGHT = """\
data_root: data
data: [{format: coco_captions, path: my-photos, languages: [en], batch_size: 4, augment: none}]
objectives: [{name: contrastive}, {name: distil_affinity}]
teacher: builtin
steps: 2
checkpoint: {dir: runs/taught}
"""
POPE = [{"question_id": number, "image": "cat/0.jpg", "text": text, "label": label}
        for number, (text, label) in enumerate([("Is there a cat in the image?", "yes"),
                                                 ("Is there a dog in the image?", "no")])]  # fmt: skip


def prepare(folder: Path, commands: list[Command]) -> None:
    """Fill the folder in which a page's commands run."""
    photos = _write_photos(folder / "photos")
    captions, questions, annotations = _describe(photos)
    files: dict[str, Any] = {
        "captions.json": captions,
        "captions_dev.json": captions,
        "questions.json": questions,
        "annotations.json": annotations,
        "names.json": LABELS_ZH,
    }
    for name in ("dev", "train"):
        for kind in ("captions", "questions", "annotations"):
            files[f"data/my-photos/{kind}_{name}.json"] = files[f"{kind}.json"]
    for name, document in files.items():
        _write(folder / name, json.dumps(document, ensure_ascii=False))
    lines = [{"image": name, "objects": OBJECTS[_label(name)]} for name in photos]
    for name in ("random", "popular"):
        _write(folder / f"coco_pope_{name}.json", "".join(json.dumps(row) + "\n" for row in POPE))
    _write(folder / "instances.json", "".join(json.dumps(line) + "\n" for line in lines))
    _write(folder / "synonyms.txt", "".join(f"{one}\n" for shown in OBJECTS.values() for one in shown))
    _write(folder / "labels.txt", "cat\nrocket\n")
    _write(folder / "taught.yaml", TAUGHT)
    for name in (
        "images",
        "val2014",
        "rooms",
        "imagenette",
        "data/my-photos/images",
        "mine/images",
        "data/labelled",
    ):
        _link(folder / name, folder / "photos")
    for name in ("dev", "flickr8k", "photos-with-captions", "judge"):
        _link(folder / name, folder / "data" / "my-photos")
    _link(folder / "judge" / "captions.json", folder / "captions.json")
    for name in ("recipes", "benchmarks"):
        _link(folder / name, ROOT / name)
    for name in ("my-bundle", "scenes-model"):
        shutil.copytree(PACKAGE / "builtin", folder / name)
    texts = [(name, text) for name in photos for text in SAMPLES[_sample(name)][1]]
    _write_table(folder / "mine" / "photos.csv", ("filepath", "title"), texts)
    split = [(name, text, "val" if name.endswith("0.jpg") else "train") for name, text in texts]
    _write_table(folder / "mine" / "split.csv", ("filepath", "title", "split"), split)
    _write_what_is_shown(folder, commands)
    _write_broken(folder / "broken")


def _write_photos(folder: Path) -> list[str]:
    """``LABEL/N.jpg``, different parts of the samples, and one that no folder has labelled. Their names."""
    names = []
    for sample, (label, _, _) in SAMPLES.items():
        (folder / label).mkdir(parents=True)
        with Image.open(PACKAGE / "samples" / f"{sample}.jpg") as photo:
            for number in range(PER_LABEL):
                shift = 4 * number
                part = photo.crop((shift, shift // 2, photo.width - shift, photo.height - shift))
                part.resize((160, 120)).rotate(number).save(folder / label / f"{number}.jpg")
                names.append(f"{label}/{number}.jpg")
    Image.open(folder / names[0]).save(folder / "coffee.png")
    return names


def _label(name: str) -> str:
    return name.partition("/")[0]


def _sample(name: str) -> str:
    return next(sample for sample, (label, _, _) in SAMPLES.items() if label == _label(name))


def _describe(photos: list[str]) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Captions, questions and their answers, in COCO's and VQAv2's layouts."""
    images: list[dict[str, Any]] = []
    captions: list[dict[str, Any]] = []
    questions: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, name in enumerate(photos):
        images.append({"id": number, "file_name": name})
        _, english, chinese = SAMPLES[_sample(name)]
        for text, language in [*((one, "en") for one in english), (chinese, "zh")]:
            ids = {"id": len(captions), "image_id": number}
            captions.append({**ids, "caption": text, "language": language})
        for question, answers in ANSWERED.items():
            label = _label(name).replace("_", " ")
            answer = answers.get(label, "no") if answers else label
            ids = {"question_id": len(questions), "image_id": number}
            questions.append({**ids, "image": name, "question": question})
            annotations.append({**ids, "answers": [{"answer": answer}], "multiple_choice_answer": answer})
    return (
        {"images": images, "annotations": captions},
        {"questions": questions},
        {"annotations": annotations},
    )


def _write_what_is_shown(folder: Path, commands: list[Command]) -> None:
    """Files that the page prints, or shows as a block, and every photo that its commands name."""
    for command in commands:
        if command.line.startswith("cat "):
            _write(folder / command.line.removeprefix("cat "), command.printed.replace("# 0 s\n", ""))
    page = (ROOT / commands[0].page).read_text(encoding="utf-8")
    named = [name for one in commands for name in re.findall(r"[\w/-]+\.(?:jpg|png|heic)\b", one.line)]
    phone = re.findall(r"\b(Phone/\d[\d-]+/)(IMG_\w+\.\w+)\b", page) or [("Phone/", "one.jpg")]
    # One that stays in each folder: one that has lost all its photos is taken for a disk not mounted.
    named += [path for month, name in phone for path in (month + name, f"{month}kept.jpg")]
    for name in named:
        if not (folder / name).exists() and "nosuch" not in name:
            _write_phone_photo(folder / name)
    for name, (where, mark) in SHOWN.items():
        shown = fences((ROOT / where).read_text(encoding="utf-8"))
        _write(folder / name, next(body for _, body in shown if mark in body))


def _write_phone_photo(path: Path) -> None:
    """As a camera leaves it. A name that says HEIC is one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".heic":
        path.write_bytes(TURNED)
        return
    with Image.open(PACKAGE / "samples" / "chelsea.jpg") as photo:
        exif = Image.Exif()
        exif[271], exif[272], exif[306] = "Canon", "EOS R10", "2025:07:12 06:27:00"
        shift = len(list(path.parent.iterdir())) * 3
        photo.crop((shift, 0, photo.width, photo.height - shift)).save(path, exif=exif)


def _write_broken(folder: Path) -> None:
    folder.mkdir()
    whole = (PACKAGE / "samples" / "rocket.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.jpg").touch()
    (folder / "notes.png").write_text("notes")
    for cut in folder.parent.glob("Phone/*/IMG_20250730_181500.jpg"):
        shutil.copyfile(folder / "cut.jpg", cut)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _write_table(path: Path, head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([head, *rows])


def _link(path: Path, there: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(there)
