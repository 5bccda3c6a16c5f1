"""Do a bundle's graphs say what its torch model says? On real photos, at fp32.

    python benchmarks/export_agreement.py BUNDLE PHOTOS [--count 100]

Prints one JSON object: per role and output the largest absolute difference between OpenVINO and torch over
the photos, and how many greedy captions are identical, per language. Exit status 1 when an output differs by
more than 1e-3 or a caption differs. Needs the extra `train`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seetell.bundle.store import open_bundle
from seetell.media.images import decode_image, list_photos
from seetell.media.preprocess import preprocess
from seetell.modeling.checkpoints.own import read_bundle_model
from seetell.modeling.export.torch_engine import TorchEngine
from seetell.runtime.engine import Arrays, Engine
from seetell.runtime.generation import GenerationOptions
from seetell.runtime.select import choose_engine
from seetell.tasks.model import Model

TOLERANCE = 1e-3
GREEDY = GenerationOptions(beams=1)
QUESTION = "what is in the picture?"


class Watched:
    """An engine that runs every graph on a second engine too and keeps the largest differences."""

    def __init__(self, engine: Engine, reference: Engine) -> None:
        self._engine, self._reference = engine, reference
        self.differences: dict[str, float] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def run(
        self, role: str, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None
    ) -> Arrays:
        found = self._engine.run(role, inputs, outputs)
        expected = self._reference.run(role, inputs, outputs)
        for name, value in found.items():
            gap = np.abs(value.astype(np.float64) - expected[name].astype(np.float64))
            key = f"{role}.{name}"
            self.differences[key] = max(self.differences.get(key, 0.0), float(gap.max(initial=0.0)))
        return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--count", type=int, default=100)
    settings = parser.parse_args()

    bundle = open_bundle(settings.bundle)
    tokenizer = bundle.tokenizer()
    exported = Watched(
        choose_engine(bundle, precision="fp32"), TorchEngine(read_bundle_model(settings.bundle))
    )
    reference = TorchEngine(read_bundle_model(settings.bundle))
    photos = list(list_photos([settings.photos]))[: settings.count]
    ours = Model(bundle.manifest, tokenizer, exported)
    theirs = Model(bundle.manifest, tokenizer, reference)

    same: dict[str, int] = {}
    for language in bundle.manifest.languages:
        written = [
            [caption.text for caption in model.caption(photos, language=language, options=GREEDY)]
            for model in (ours, theirs)
        ]
        same[language] = sum(left == right for left, right in zip(*written, strict=True))
    # The roles that captions do not use.
    ours.embed_images(photos)
    ours.embed_texts([QUESTION, "两只狗在雪地里跑"])
    for photo in photos[:20]:
        ours.ask(photo, QUESTION)
        ours.match(photo, [QUESTION])
    assert bundle.manifest.image is not None
    pixels, _ = preprocess([decode_image(photo) for photo in photos[:8]], bundle.manifest.image)
    exported.run("image_encoder", {"pixel_values": pixels})

    worst = max(exported.differences.values())
    report = {
        "photos": len(photos),
        "greedy_captions_identical": same,
        "largest_difference": worst,
        "differences": dict(sorted(exported.differences.items())),
    }
    print(json.dumps(report, indent=1))
    return int(worst > TOLERANCE or any(count < len(photos) for count in same.values()))


if __name__ == "__main__":
    sys.exit(main())
