"""What is wrong with a recipe's data, metrics or folder is said before the first step, in one line."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from seetell.core.errors import DataError, SeetellError, StorageError, UsageError
from seetell.data.photo_refs import lost
from seetell.learning.scenes import write_scenes
from seetell.learning.training.metrics_log import read_metrics
from seetell.learning.training.run import run
from seetell.learning.training.validation import build_guard, build_validate
from tests.learning.shard_folder import write_shards
from tests.learning.training.test_shards import recipe

SHARDS = {"format": "webdataset", "path": "shards", "split": "dev", "languages": ["en"]}
SCENES = {"format": "coco_captions", "path": "scenes", "languages": ["en"]}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_shards(folder, 12)
    write_scenes(folder / "scenes", 12, seed=2, size=32)
    return folder


def refused(root: Path, folder: Path, **changes: Any) -> SeetellError:
    """What a run of one step says that must not begin."""
    objectives = {"objectives": [{"name": "contrastive"}], "steps": 1}
    with pytest.raises(SeetellError) as caught:
        run(
            recipe(root, folder, **{**objectives, **changes}),
            build_validate=build_validate,
            build_guard=build_guard,
        )
    assert "\n" not in str(caught.value)
    assert not (folder / "checkpoints").exists()
    assert not read_metrics(folder / "metrics.jsonl")
    return caught.value


def validate(**source: Any) -> dict[str, Any]:
    return {"every": 1, "data": [SCENES, {**SHARDS, **source}]}


def test_a_split_that_is_not_there(root: Path, tmp_path: Path) -> None:
    error = refused(root, tmp_path / "run", validate=validate(split="val"))
    assert isinstance(error, UsageError)
    assert str(error) == (
        f"validate.data.1: {root}/shards has no split 'val'; it has: dev, train. Name one of these as the "
        f"split, or make one: seetell prepare SOURCE {root}/shards --val 0.1 --overwrite"
    )


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ({"path": "none"}, r"^validate\.data\.1: .*/none: no prepared data .*run `seetell prepare`"),
        ({"languages": ["fr"]}, r"^validate\.data\.1: shards has no captions in fr, only in en, zh; name"),
        (
            {**SCENES, "split": "dev"},
            r"^validate\.data\.1: .*/captions_dev\.json: no such file; .*has: train",
        ),
        (
            {"format": "vqa", "path": "none"},
            r"^validate\.data\.1: .*/none: no such .*; paths start at data_r",
        ),
        ({"format": "imagefolder", "path": "none"}, r"^validate\.data\.1: .*none: cannot be listed"),
        (
            {**SCENES, "split": "train", "images": "other"},
            r"^validate\.data\.1: 12 of its 12 photos are not there, .*\(images",
        ),
    ],
)
def test_a_source_to_measure_on_that_cannot_be_read(
    root: Path, tmp_path: Path, source: dict[str, Any], said: str
) -> None:
    error = refused(root, tmp_path / "run", validate=validate(**source))
    assert re.search(said, str(error)), error


@pytest.mark.parametrize("key", ["stop_on", "metrics"])
def test_a_metric_that_nothing_measures(root: Path, tmp_path: Path, key: str) -> None:
    name = "shards.en.text_to_image.r55"
    given = {**validate(), key: [name] if key == "metrics" else name}
    said = str(refused(root, tmp_path / "run", validate=given))
    assert said.startswith(f"validate.{key}: '{name}' is not measured; there are scenes.en.image_to_text.")
    assert said.endswith("shards.en.text_to_image.r5")


def test_a_guard_is_tried_too(root: Path, tmp_path: Path) -> None:
    guard = {"data": {**SHARDS, "split": "val"}, "max_drop": 5, "every": 1}
    assert str(refused(root, tmp_path / "run", guard=guard)).startswith("guard.data: ")
    guard = {"data": SHARDS, "metric": "zero_shot.r9", "max_drop": 5, "every": 1}
    assert "guard.metric: 'zero_shot.r9' is not measured" in str(
        refused(root, tmp_path / "other", guard=guard)
    )


def test_a_photo_that_is_lost_is_missed_before_it_is_wanted(root: Path, tmp_path: Path) -> None:
    scenes = Path(shutil.copytree(root / "scenes", tmp_path / "scenes"))
    photos = json.loads((scenes / "captions_train.json").read_text(encoding="utf-8"))["images"]
    gone = scenes / "images" / photos[7]["file_name"]
    gone.unlink()
    source = {**SCENES, "path": str(scenes), "batch_size": 4}
    error = refused(root, tmp_path / "run", data=[source])
    assert isinstance(error, DataError)
    assert str(error).startswith(f"data.0: 1 of its 12 photos are not there, {gone} the first of them; ")
    skips = recipe(
        root,
        tmp_path / "run",
        data=[source],
        objectives=[{"name": "contrastive"}],
        steps=1,
        unreadable_photos="skip",
    )
    assert run(skips).outcome == "finished"


def test_a_folder_that_cannot_be_written(root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    error = refused(root, tmp_path / "file" / "run")
    assert isinstance(error, StorageError)
    assert str(error).startswith(f"checkpoint.dir: {tmp_path}/file/run: cannot write ")
    assert str(error).endswith("a file stands where a folder is needed; name another folder")


def test_trying_the_measures_changes_nothing_that_is_learned(root: Path, tmp_path: Path) -> None:
    settings = {"objectives": [{"name": "contrastive"}], "steps": 2}
    run(recipe(root, tmp_path / "alone", **settings))
    run(recipe(root, tmp_path / "tried", validate=validate(), **settings), build_validate=build_validate)
    rows = [
        [row["loss"] for row in read_metrics(tmp_path / name / "metrics.jsonl") if row["kind"] == "train"]
        for name in ("alone", "tried")
    ]
    assert len(rows[0]) == 2 and rows[0] == rows[1]


def test_lost_files_are_found_by_their_folders(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).touch()
    wanted = [tmp_path / name for name in ("a.jpg", "c.jpg", "b.jpg", "c.jpg", "none/a.jpg")]
    assert lost(wanted) == [tmp_path / "c.jpg", tmp_path / "none" / "a.jpg"]
