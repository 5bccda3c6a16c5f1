"""Captions of photos drawn at random, beside one of people's, as a Markdown table.

    python benchmarks/random_captions.py CAPTIONS.json IMAGES [--count 20] [--seed 0] [--model BUNDLE]

The photos are drawn before any caption is made, so that nobody chooses them.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import seetell
from seetell.data.coco import read_coco_captions


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Captions of photos drawn at random.")
    parser.add_argument("captions", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", default=None)
    given = parser.parse_args()
    records = random.Random(given.seed).sample(read_coco_captions(given.captions, given.images), given.count)
    photos = [record.photo for record in records]
    with seetell.load(given.model) as model:
        english, chinese = (model.caption(photos, language=code) for code in ("en", "zh"))
    print("| the first of five people | the model | the model, in Chinese |\n|---|---|---|")
    for record, one, other in zip(records, english, chinese, strict=True):
        print(f"| {record.texts('en')[0]} | {one.text} | {other.text} |")


if __name__ == "__main__":
    main()
