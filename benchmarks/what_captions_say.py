"""How well captions alone tell photos apart, per language: what bounds retrieval from the side of the text.

    python benchmarks/what_captions_say.py CAPTIONS_DEV.json CAPTIONS_TRAIN.json

No model and no photo is involved. Each photo is known by all its captions but one, and is looked for with
the one left out (text -> photo), or that one caption looks among the single others of all photos (photo ->
text), by the cosine of their words weighed by inverse document frequency. English words are words; Chinese
ones are characters and pairs of characters, so that no word segmentation decides the result. Ties rank last,
as in `seetell evaluate`.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seetell.data.coco import read_coco_captions

_ENGLISH = re.compile(r"[a-z0-9']+")
_CHINESE = re.compile(r"[\w]")


def words(text: str, language: str) -> list[str]:
    """What is compared: words, or characters and pairs of them."""
    if language == "zh":
        characters = _CHINESE.findall(text)
        return characters + [a + b for a, b in pairwise(characters)]
    return _ENGLISH.findall(text.lower())


def recalls(dev: list[tuple[str, ...]], train: list[str], language: str) -> dict[str, float]:
    """R@10 in both directions, in percent, and the mean length; ``dev`` has the captions of each photo."""
    count = min(map(len, dev))
    texts = [text for captions in dev for text in captions]
    documents = Counter(word for text in [*train, *texts] for word in set(words(text, language)))
    places = {word: place for place, word in enumerate(documents)}
    total = len(train) + len(texts)

    def vectors(of: list[str]) -> NDArray[np.float32]:
        found = np.zeros((len(of), len(places)), dtype=np.float32)
        for row, text in enumerate(of):
            for word in words(text, language):
                found[row, places[word]] += np.log(total / documents[word])
        return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9)

    columns = [vectors([captions[place] for captions in dev]) for place in range(count)]
    to_photo: list[float] = []
    to_text: list[float] = []
    for place, query in enumerate(columns):
        others = [column for other, column in enumerate(columns) if other != place]
        scores = query @ (sum(others) / len(others)).T
        to_photo.append(float(np.mean((scores >= np.diag(scores)[:, None]).sum(axis=1) <= 10)))
        single = np.stack([query @ column.T for column in others], axis=2)  # [photos, photos, captions]
        best = single[np.arange(len(dev)), np.arange(len(dev))].max(axis=1)
        to_text.append(float(np.mean((single >= best[:, None, None]).sum(axis=(1, 2)) <= 10)))
    lengths = [len(_CHINESE.findall(t) if language == "zh" else words(t, language)) for t in texts]
    return {
        "text_to_photo_r10": round(100 * float(np.mean(to_photo)), 1),
        "photo_to_text_r10": round(100 * float(np.mean(to_text)), 1),
        "mean_length": round(float(np.mean(lengths)), 1),
    }


def main() -> None:
    """One JSON line per language."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dev", type=Path)
    parser.add_argument("train", type=Path)
    parser.add_argument("--languages", nargs="+", default=["en", "zh"])
    given = parser.parse_args()
    dev, train = (read_coco_captions(path, path.parent / "images") for path in (given.dev, given.train))
    for language in given.languages:
        photos = [record.texts(language) for record in dev if len(record.texts(language)) > 1]
        learned = [text for record in train for text in record.texts(language)]
        print(json.dumps({"language": language, "photos": len(photos), **recalls(photos, learned, language)}))


if __name__ == "__main__":
    main()
