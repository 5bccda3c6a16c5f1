"""How far a search should move away from what is not wanted: the measurement behind ``NEGATIVE_WEIGHT``.

    python benchmarks/negative_weight.py CAPTIONS IMAGES [--model BUNDLE]

CAPTIONS is COCO captions JSON, IMAGES the folder of its photos. For pairs of words, one wanted and one not,
the 10 best photos of each weight are judged by their own English captions. Prints one JSON object per weight:
the share of photos whose captions have the wanted word, the unwanted one, and the wanted one alone.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

import numpy as np

import seetell

WANTED = ("dog", "man", "child", "boy", "girl", "woman", "people")
UNWANTED = ("water", "grass", "snow", "street", "beach", "ball", "red", "bike")
WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
K = 10
# Fewer photos with both words say nothing.
LEAST_BOTH = 15


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("captions", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--model", default="builtin")
    settings = parser.parse_args()
    document = json.loads(settings.captions.read_text(encoding="utf-8"))
    said: dict[int, list[str]] = {}
    for one in document["annotations"]:
        if one.get("language", "en") == "en":
            said.setdefault(one["image_id"], []).append(one["caption"].lower())
    model = seetell.load(settings.model)
    images = [one for one in document["images"] if one["id"] in said]
    photos = [settings.images / one["file_name"] for one in images]
    vectors = np.stack(list(model.stream("embed_images", photos)))
    texts = [" ".join(said[one["id"]]) for one in images]
    words = sorted({*WANTED, *UNWANTED})
    has = {word: np.array([bool(re.search(rf"\b{word}", text)) for text in texts]) for word in words}
    embeds = dict(zip(words, model.embed_texts(words), strict=True))
    pairs = [(a, b) for a in WANTED for b in UNWANTED if (has[a] & has[b]).sum() >= LEAST_BOTH]
    for weight in WEIGHTS:
        shares = []
        for wanted, unwanted in pairs:
            top = np.argsort(-(vectors @ (embeds[wanted] - weight * embeds[unwanted])))[:K]
            good, bad = has[wanted][top], has[unwanted][top]
            shares.append((good.mean(), bad.mean(), (good & ~bad).mean()))
        found = np.mean(shares, axis=0).round(3).tolist()
        report = dict(zip(("wanted", "unwanted", "wanted_only"), found, strict=True))
        print(json.dumps({"weight": weight, **report, "pairs": len(pairs), "photos": len(photos)}))


if __name__ == "__main__":
    main()
