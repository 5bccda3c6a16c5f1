"""One process of several, or the only one: trains a seeded dual encoder and writes its weights.

``processes_script.py FOLDER STEPS``, with RANK, WORLD_SIZE and the like in the environment.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import torch

from seetell.learning.batch import Batch, Captions
from seetell.learning.training.dual_encoder_step import DualEncoderStep
from seetell.learning.training.loop import TrainingLoop
from seetell.learning.training.objective_spec import ObjectiveSpec
from seetell.learning.training.processes import Processes
from tests.learning.training.stand_in import recipe
from tests.learning.training.test_tuning import dual

PHOTOS = 8


def joint_batch(step: int, rank: int = 0, count: int = 1) -> Batch:
    """Eight photos with one to three texts each, or every ``count``-th of them: processes get different
    numbers of texts."""
    random = np.random.default_rng(step)
    pixels = torch.from_numpy(random.standard_normal((PHOTOS, 3, 16, 16), dtype=np.float32))
    texts = random.integers(2, 20, (PHOTOS, 3, 6))
    mine = list(range(rank, PHOTOS, count))
    told = [(place, photo, text) for place, photo in enumerate(mine) for text in range(1 + photo % 3)]
    rows = [(place, texts[photo, text]) for place, photo, text in told]
    ids = torch.from_numpy(np.stack([row for _, row in rows]))
    ids[:, -1] = 1
    languages = tuple("en" if (photo + text) % 2 else "zh" for _, photo, text in told)
    captions = Captions(
        ids, torch.ones_like(ids, dtype=torch.bool), torch.tensor([p for p, _ in rows]), languages
    )
    return Batch(tuple(f"photo-{photo}" for photo in mine), pixels[mine], captions)


def build(chunk: int | None = None) -> DualEncoderStep:
    torch.manual_seed(0)
    model = dual()
    with torch.no_grad():
        model.logit_scale.fill_(1.0)
    return DualEncoderStep(model, ObjectiveSpec(name="contrastive", chunk=chunk))


def main() -> None:
    folder, steps = Path(sys.argv[1]), int(sys.argv[2])
    accumulate = int(sys.argv[3])
    processes = Processes("cpu")
    step = build()
    settings = recipe(
        steps=steps, accumulate=accumulate, optimizer={"lr": 0.01}, schedule={"warmup_steps": 0}, trackers=[]
    )
    TrainingLoop(
        settings,
        step,
        step.model,
        lambda number: joint_batch(number, processes.rank, processes.count),
        total_steps=steps,
        folder=folder,
        fingerprint="x",
        processes=processes,
    ).run()
    assert int(os.environ.get("WORLD_SIZE", "1")) == processes.count


if __name__ == "__main__":
    main()
