"""The user's story of docs/fine-tune.md, from a table of photos and captions to models that are asked.

    python benchmarks/fine_tune_story.py FLICKR8K OUT [--photos 800] [--steps 60] [--measured 300]

Prints every command with what it said and how long it took, and the total at the end. The table holds the
captions of the first training photos of FLICKR8K (COCO captions JSON) and four rows that are wrong on
purpose; nothing is measured on a photo that was learned from. The CLIP-shaped checkpoint is made here with
transformers, its weights random and its words learned from the captions: it shows what happens to a public
checkpoint without a download, and not how good one is. OUT must be new.
"""

from __future__ import annotations

import argparse
import csv
import json
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

from seetell.data.coco import read_coco_captions
from seetell.data.records import CaptionRecord
from seetell.evaluation.machine import describe_machine

# One in ten of the user's photos is kept to choose the best checkpoint by.
VALIDATION_PART = 0.1
BEGIN, END = "<|startoftext|>", "<|endoftext|>"

DATA = """\
data_root: .
data:
  - {format: webdataset, path: clean, languages: [en], batch_size: BATCH}
"""
VALIDATE = """\
validate:
  every: EVERY
  data:
    - {format: webdataset, path: clean, split: val, languages: [en]}
"""
BUILTIN = """\
init: builtin
DATAobjectives:
  - {name: contrastive}
  - {name: captioning}
tune:
  lora: {rank: 8}
steps: STEPS
VALIDATEcheckpoint: {dir: runs/mine}
"""
CLIP = """\
init: clip
DATAtune:
  lora: {rank: 16}
optimizer: {lr: 2.0e-3}
steps: STEPS
VALIDATEcheckpoint: {dir: runs/my-clip}
"""


def main() -> None:
    """Tell it."""
    parser = argparse.ArgumentParser(description="The user's story of docs/fine-tune.md.")
    parser.add_argument("flickr8k", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--photos", type=int, default=800)
    parser.add_argument(
        "--steps", type=int, default=60, help="of the built-in model; the other does twice that"
    )
    parser.add_argument("--measured", type=int, default=300, help="dev photos to measure on")
    given = parser.parse_args()
    given.out.mkdir(parents=True)
    source = given.flickr8k.resolve()
    records = read_coco_captions(source / "captions_train.json", source / "images")[: given.photos]
    write_table(records, given.out / "mine")
    write_clip(records, given.out / "clip")
    (given.out / "dev").symlink_to(source)
    for name, recipe, batch, steps in (
        ("mine.yaml", BUILTIN, 48, given.steps),
        ("my-clip.yaml", CLIP, 64, 2 * given.steps),
    ):
        for mark, part in (("DATA", DATA), ("VALIDATE", VALIDATE)):
            recipe = recipe.replace(mark, part, 1)
        for mark, number in (("BATCH", batch), ("EVERY", max(1, steps // 4)), ("STEPS", steps)):
            recipe = recipe.replace(mark, str(number))
        (given.out / name).write_text(recipe, encoding="utf-8")
    dev = read_coco_captions(source / "captions_dev.json", source / "images")
    tell(given.out, dev[0], given.measured)


def tell(out: Path, photo: CaptionRecord, measured: int) -> None:
    """Every command, in order."""
    measure = ["seetell", "evaluate", "--captions", "dev/captions_dev.json", "--images", "dev/images"]
    measure += ["--language", "en", "--limit", str(measured), "--model"]
    picture = f"dev/images/{photo.photo.name}"
    text = photo.texts("en")[0]
    began = time.monotonic()
    for command in (
        ["head", "-n", "4", "mine/photos.csv"],
        ["seetell", "prepare", "mine/photos.csv", "clean", "--languages", "en"],
        [*measure, "builtin"],
        ["cat", "mine.yaml"],
        ["seetell", "train", "mine.yaml"],
        ["seetell", "convert", "runs/mine", "my-model"],
        [*measure, "my-model"],
        ["seetell", "ask", picture, "what is in the picture?", "--model", "my-model"],
        ["seetell", "caption", picture, "--model", "my-model"],
        [*measure, "clip"],
        ["cat", "my-clip.yaml"],
        ["seetell", "train", "my-clip.yaml"],
        ["seetell", "convert", "runs/my-clip", "my-clip"],
        [*measure, "my-clip"],
        ["seetell", "match", picture, text, "--model", "my-clip"],
    ):
        show(command, out)
    total_s = time.monotonic() - began
    print(f"all of it: {total_s / 60:.1f} minutes on {describe_machine()}")


def show(command: Sequence[str], folder: Path) -> None:
    """Run it in ``folder``, and print it with what it says. Ends the program where it fails."""
    print(f"$ {shlex.join(command)}", flush=True)
    program = [str(Path(sys.executable).with_name("seetell"))] if command[0] == "seetell" else [command[0]]
    began = time.monotonic()
    done = subprocess.run(
        [*program, *command[1:]], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    print(done.stdout.strip())
    print(f"# {time.monotonic() - began:.0f} s\n", flush=True)
    if done.returncode:
        sys.exit(f"it ended with status {done.returncode}")


def write_table(records: Sequence[CaptionRecord], folder: Path) -> None:
    """``photos.csv`` and ``images/``, as a user might have them: a split, and four rows that are wrong."""
    images = folder / "images"
    images.mkdir(parents=True)
    learned = round(len(records) * (1 - VALIDATION_PART))
    rows: list[tuple[str, str, str]] = []
    for number, record in enumerate(records):
        shutil.copyfile(record.photo, images / record.photo.name)
        split = "train" if number < learned else "val"
        rows += [(record.photo.name, text, split) for text in record.texts("en")]
    first = records[0].photo.name
    Image.open(images / first).save(images / "copy.png")
    Image.new("RGB", (160, 160), (200, 200, 200)).save(images / "blank.jpg")
    (images / "broken.jpg").write_bytes((images / first).read_bytes()[:300])
    rows += [
        ("copy.png", "the first photo once more", "val"),
        ("blank.jpg", "a grey wall", "train"),
        ("broken.jpg", "half of a download", "train"),
        (first, "IMG_2034.JPG", "train"),
    ]
    with (folder / "photos.csv").open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([("filepath", "title", "split"), *rows])


def write_clip(records: Sequence[CaptionRecord], folder: Path) -> None:
    """A checkpoint as transformers saves CLIP: random weights, and a tokenizer of the captions' words."""
    vocabulary, merges = learn_words([text for record in records for text in record.texts("en")])
    torch.manual_seed(0)
    tower = {"hidden_size": 192, "intermediate_size": 768, "num_attention_heads": 3, "num_hidden_layers": 4}
    ids = {
        "bos_token_id": vocabulary[BEGIN],
        "eos_token_id": vocabulary[END],
        "pad_token_id": vocabulary[END],
    }
    config = CLIPConfig(
        text_config={**tower, **ids, "vocab_size": len(vocabulary), "max_position_embeddings": 48},
        vision_config={**tower, "image_size": 96, "patch_size": 16},
        projection_dim=192,
    )
    CLIPModel(config).save_pretrained(folder)
    CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=48).save_pretrained(folder)
    CLIPImageProcessorPil(size={"shortest_edge": 96}, crop_size={"height": 96, "width": 96}).save_pretrained(
        folder
    )


def learn_words(texts: Sequence[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """CLIP's kind of byte-pair encoding, of these texts: vocabulary and merges."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=3000, initial_alphabet=letters, end_of_word_suffix="</w>", show_progress=False
    )
    tokenizer.train_from_iterator((text.lower() for text in texts), trainer)
    learned = json.loads(tokenizer.to_str())["model"]
    # Every letter may end a word, whether these texts have one that it ends or not.
    words = dict.fromkeys([*learned["vocab"], *(f"{letter}</w>" for letter in letters), BEGIN, END])
    return {word: number for number, word in enumerate(words)}, [tuple(pair) for pair in learned["merges"]]


if __name__ == "__main__":
    main()
