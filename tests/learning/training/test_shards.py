"""A recipe on prepared shards from end to end: killed in the middle of an epoch, it goes on exactly."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from seetell.core.errors import CheckpointError, DataError, RecipeError, UsageError
from seetell.data.preparing.run import PrepareOptions, prepare
from seetell.learning.training import checkpoint as checkpoints
from seetell.learning.training.metrics_log import read_metrics
from seetell.learning.training.recipe import Recipe, parse_recipe
from seetell.learning.training.run import build_collator, run
from seetell.learning.training.run import prepare as prepare_run
from seetell.learning.training.teacher_outputs import write_teacher_outputs
from seetell.learning.training.validation import build_validate
from seetell.modeling.checkpoints.run_folder import read_description
from tests.learning.shard_folder import write_shards, write_table
from tests.learning.training.test_public import MAKERS

COUNT, STEPS = 34, 10

# Trains by the recipe in a file and kills itself in the middle of a step.
KILLED = """
import json, os, signal, sys
from seetell.learning.training import run as runs
from seetell.learning.training.recipe import parse_recipe
prepared = runs.prepare(parse_recipe(json.loads(sys.argv[1]), "test"))
calls = 0
def count(*_):
    global calls
    calls += 1
    if calls == 6:
        os.kill(os.getpid(), signal.SIGKILL)
prepared.step.register_forward_pre_hook(count)
runs.prepare = lambda _: prepared
runs.run(prepared.recipe)
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_shards(folder, COUNT)
    return folder


def document(root: Path, folder: Path, **changes: Any) -> dict[str, Any]:
    """A recipe of two and a half epochs: a checkpoint stands after steps 4 and 8."""
    return {
        "data_root": str(root),
        "model": {
            "image": {"kind": "vit", "patch_size": 16, "embed_dim": 16, "depth": 1, "num_heads": 2},
            "text": {"embed_dim": 16, "num_heads": 2, "depth": 1, "context_length": 32},
            "fusion": {"depth": 1, "num_heads": 2},
            "image_size": [32, 32],
            "shared_dim": 16,
        },
        "tokenizer": {"vocab_size": 300, "context_length": 32},
        "data": [
            {"format": "webdataset", "path": "shards", "batch_size": 7, "shuffle_shards": 3, "length_pool": 2}
        ],
        "objectives": [{"name": name} for name in ("contrastive", "captioning", "answer_list", "labels")],
        "resolution": [{"until": 1.0, "size": 32}],
        "steps": STEPS,
        "precision": "fp32",
        "device": "cpu",
        "checkpoint": {"dir": str(folder), "every": 4, "every_minutes": None},
        "trackers": [],
        **changes,
    }


def recipe(root: Path, folder: Path, **changes: Any) -> Recipe:
    return parse_recipe(document(root, folder, **changes), "test")


def batches(recipe: Recipe, steps: range) -> list[Any]:
    """The photos and texts of some steps, as a process that has just started makes them."""
    collator = build_collator(prepare_run(recipe, writes=False))
    found = []
    for step in steps:
        batch = collator.batch(step)
        assert batch.captions is not None
        found.append((batch.keys, batch.captions.ids.tolist(), batch.pixel_values.sum().item()))
    return found


def losses(folder: Path) -> list[float]:
    return [row["loss"] for row in read_metrics(folder / "metrics.jsonl") if row["kind"] == "train"]


@pytest.mark.slow
def test_a_run_killed_within_an_epoch_goes_on_with_the_same_photos_and_texts(
    data: Path, tmp_path: Path
) -> None:
    whole = run(recipe(data, tmp_path / "whole"))
    assert (whole.outcome, whole.step) == ("finished", STEPS)
    facts = read_description(tmp_path / "whole").facts
    assert facts.labels == ("kind 0", "kind 1") and "a dog" in facts.answers

    killed = subprocess.run(
        [sys.executable, "-c", KILLED, json.dumps(document(data, tmp_path / "killed"))],
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert [number for number, _ in checkpoints.checkpoints(tmp_path / "killed" / "checkpoints")] == [4]
    expected = batches(recipe(data, tmp_path / "whole"), range(STEPS))
    assert batches(recipe(data, tmp_path / "killed"), range(4, STEPS)) == expected[4:]
    again = run(recipe(data, tmp_path / "killed"))
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")
    one, two = (checkpoints._read(path.checkpoint / "step.safetensors") for path in (whole, again))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_shards_prepared_anew_are_another_run(tmp_path: Path) -> None:
    table = write_table(tmp_path / "photos", 16)
    shards = tmp_path / "shards"
    prepare(table, shards, PrepareOptions(workers=1, shard_samples=4))
    run(recipe(tmp_path, tmp_path / "run", steps=1))
    text = table.read_text(encoding="utf-8").replace("another photo", "some other photo")
    table.write_text(text, encoding="utf-8")
    prepare(table, shards, PrepareOptions(workers=1, shard_samples=4, overwrite=True))
    with pytest.raises(CheckpointError, match="is of a run with another model, data or seed"):
        run(recipe(tmp_path, tmp_path / "run", steps=2))


def test_what_is_not_there_is_said(data: Path, tmp_path: Path) -> None:
    def start(**source: Any) -> None:
        settings = {"format": "webdataset", "path": "shards", "batch_size": 2, **source}
        prepare_run(recipe(data, tmp_path / "run", data=[settings]))

    with pytest.raises(UsageError, match=r"^data\.0: .*shards has no split 'val'; it has: dev, train\."):
        start(split="val")
    with pytest.raises(DataError, match=r"^data\.0: .*no prepared data"):
        start(path="photos")
    with pytest.raises(RecipeError, match="shards has no captions in fr"):
        start(languages=["fr"])
    with pytest.raises(RecipeError, match="shuffle_shards belongs to the format webdataset"):
        start(format="coco_captions", shuffle_shards=4)


@pytest.mark.slow
def test_shards_are_measured_while_training(data: Path, tmp_path: Path) -> None:
    measured = {"format": "webdataset", "path": "shards", "split": "dev", "languages": ["en"]}
    settings = recipe(
        data,
        tmp_path / "run",
        steps=1,
        validate={"every": 1, "data": [measured], "stop_on": "shards.en.text_to_image.r5"},
    )
    result = run(settings, build_validate=build_validate)
    assert result.best_step == 1
    [row] = [row for row in read_metrics(tmp_path / "run" / "metrics.jsonl") if row["kind"] == "validate"]
    # Of the photos 30 to 33, 31 and 32 have captions in English, and 30 and 32 questions.
    assert {"shards.en.text_to_image.r5", "shards.vqa.accuracy"} <= row.keys()


def test_a_teacher_can_have_spoken_of_the_photos_in_shards(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "clip"
    folder.mkdir()
    torch.manual_seed(0)
    MAKERS["clip"](folder)
    named: dict[str, Any] = {"objectives": [{"name": "distil_affinity"}, {"name": "distil_features"}]}
    source = {"format": "webdataset", "path": "shards", "batch_size": 7, "augment": "none"}

    def recipe(name: str, **teacher: str) -> Any:
        changes = {**named, "data": [source], "teacher": teacher, "steps": 3}
        return parse_recipe(document(data, tmp_path / name, **changes), "test")

    beside = recipe("beside", model=str(folder))
    written = write_teacher_outputs(beside, tmp_path / "said")
    assert len(written.photo_names) == COUNT - 4  # the last four are of another split
    assert written.photo_names[0].startswith("shards/train-000000.tar:")
    before = recipe("before", outputs=str(tmp_path / "said"))
    run(beside)
    run(before)
    rows = [read_metrics(tmp_path / name / "metrics.jsonl") for name in ("beside", "before")]
    for one, other in zip(*rows, strict=True):
        assert one["distil_affinity"] == pytest.approx(other["distil_affinity"], rel=1e-3)
        assert one["distil_features"] == pytest.approx(other["distil_features"], rel=1e-3)
