"""Small photos, and the toy model made to remember which of them it was given."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from seetell.search.photo_index import PhotoIndex
from seetell.tasks.model import Model
from tests.runtime.toy import ToyEngine, make_manifest, make_tokenizer


class CountingModel(Model):
    """Remembers the photos it was given to embed."""

    seen: list[str]

    def stream(self, verb: str, photos: Any, **options: Any) -> Iterator[Any]:
        def counted() -> Iterator[Any]:
            for photo in photos:
                self.seen.append(Path(photo).name)
                yield photo

        return super().stream(verb, counted(), **options)


def make_model(version: str = "1", name: str = "toy", seed: int = 0) -> CountingModel:
    tokenizer = make_tokenizer()
    engine = ToyEngine(tokenizer.vocab_size, seed=seed)
    manifest = make_manifest(engine).model_copy(update={"version": version, "name": name})
    model = CountingModel(manifest, tokenizer, engine, batch_size=3)
    model.seen = []
    return model


def draw(path: Path, seed: int) -> None:
    """A photo that differs from those of other seeds, written long ago so that its time can be trusted."""
    patches = np.random.default_rng(seed).integers(0, 256, size=(2, 2, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(patches.repeat(9, axis=0).repeat(9, axis=1)).save(path)
    os.utime(path, (1_600_000_000 + seed, 1_600_000_000 + seed))


def found(index: PhotoIndex) -> dict[str, float]:
    """Every photo of the index and its score; one that is there twice fails the test."""
    hits = index.search("a dog", k=1000, all_copies=True)
    assert len({hit.photo for hit in hits}) == len(hits) == len(index)
    return {hit.photo: hit.score for hit in hits}


def expected(model: Model, folder: Path) -> dict[str, float]:
    paths = sorted(folder.rglob("*.png"))
    if not paths:
        return {}
    scores = model.embed_images(list(paths)) @ model.embed_texts("a dog")[0]
    return {str(path): float(score) for path, score in zip(paths, scores, strict=True)}
