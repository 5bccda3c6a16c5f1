"""``seetell train --from MODEL --data FOLDER OUT``: its recipe is cautious, whole and found again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from seetell.core.errors import BundleNotFound, DataError, RecipeError, StorageError, UsageError
from seetell.data.preparing.run import PrepareOptions, prepare
from seetell.data.shards import open_shards
from seetell.learning.training.recipe import read_recipe
from seetell.learning.training.run import run
from seetell.learning.training.validation import build_validate
from seetell.learning.training.written_recipe import write_recipe
from tests.data.preparing.heap import plain
from tests.learning.shard_folder import write_shards
from tests.learning.training.test_public import MAKERS


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``shards`` with captions in two languages, questions and labels; ``told`` with English captions."""
    folder = tmp_path_factory.mktemp("data")
    write_shards(folder, 34)
    prepare(plain(folder / "heap", 60), folder / "told", PrepareOptions(workers=1))
    return folder


def test_what_it_says_is_cautious_and_fits_data_and_model(root: Path, tmp_path: Path) -> None:
    path = write_recipe("builtin", root / "told", tmp_path / "run")
    assert path == tmp_path / "run" / "train.yaml"
    told = yaml.safe_load(path.read_text(encoding="utf-8"))
    size = len(open_shards(root / "told", "train"))
    assert 20 < size < 48
    measured = {"path": str(root / "told"), "languages": ["en"], "split": "val", "limit": 1000}
    assert told == {
        "init": "builtin",
        "data": [
            {
                "format": "webdataset",
                "path": str(root / "told"),
                "languages": ["en"],
                "split": "train",
                "batch_size": size,
            }
        ],
        "objectives": [{"name": "contrastive"}, {"name": "captioning"}],
        "tune": {"lora": {"rank": 8}},
        "optimizer": {"lr": 1e-4, "weight_decay": 0.01},
        "schedule": {"warmup_fraction": 0.1},
        "epochs": 5,
        "validate": {"every": 1, "data": [{"format": "webdataset", **measured}]},
        "checkpoint": {"dir": str(tmp_path / "run")},
    }
    read = read_recipe(path)
    assert (read.fine_tunes, read.batch_sizes(), read.optimizer.lr) == (True, (size,), 1e-4)
    # The same again goes on, and what was changed by hand is not written over.
    assert write_recipe("builtin", root / "told", tmp_path / "run") == path
    path.write_text(path.read_text(encoding="utf-8").replace("epochs: 5", "epochs: 9"), encoding="utf-8")
    with pytest.raises(StorageError, match=rf"train\.yaml is another recipe .*\(seetell train {path}\)"):
        write_recipe("builtin", root / "told", tmp_path / "run")
    assert read_recipe(path).epochs == 9


def test_all_that_the_data_hold_and_the_model_knows_is_taught(root: Path, tmp_path: Path) -> None:
    path = write_recipe("builtin", root / "shards", tmp_path / "run", ["steps=20", "validate.every=10"])
    told = yaml.safe_load(path.read_text(encoding="utf-8"))
    names = [one["name"] for one in told["objectives"]]
    assert names[:3] == ["contrastive", "captioning", "answer_list"]
    assert set(told["data"][0]["languages"]) == {"en", "zh"}
    assert told["steps"] == 20 and "epochs" not in told and told["validate"]["every"] == 10
    assert told["validate"]["data"][0]["split"] == "dev"
    assert told["data"][0]["batch_size"] == 30


@pytest.mark.slow
def test_a_public_model_learns_and_its_page_of_curves_is_there(root: Path, tmp_path: Path) -> None:
    (tmp_path / "clip").mkdir()
    MAKERS["clip"](tmp_path / "clip")
    changes = ["steps=3", "validate.every=3", "trackers=[]", "precision=fp32", "data.0.batch_size=4"]
    path = write_recipe(str(tmp_path / "clip"), root / "told", tmp_path / "run", changes)
    assert "objectives" not in yaml.safe_load(path.read_text(encoding="utf-8"))
    result = run(read_recipe(path), build_validate=build_validate)
    assert (result.outcome, result.step, result.best_step) == ("finished", 3, 3)
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "told.en.text_to_image.r5" in page and "contrastive" in page


def test_what_cannot_be_said(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(DataError, match=r"^--data: .*heap: no prepared data"):
        write_recipe("builtin", root / "heap", out)
    with pytest.raises(BundleNotFound, match=r"^--from: nothing is no folder"):
        write_recipe("nothing", root / "told", out)
    with pytest.raises(RecipeError, match="no such key"):
        write_recipe("builtin", root / "told", out, ["stepps=3"])
    assert not out.exists()
    shutil.copytree(root / "heap", out)
    with pytest.raises(StorageError, match="holds other files; name a new folder"):
        write_recipe("builtin", root / "told", out)
    prepare(plain(tmp_path / "silent", 5), tmp_path / "split", PrepareOptions(workers=1))
    with pytest.raises(UsageError, match="no split"):
        shutil.copytree(tmp_path / "split", tmp_path / "other")
        text = (tmp_path / "other" / "prepared.json").read_text().replace('"train":', '"third":')
        (tmp_path / "other" / "prepared.json").write_text(text)
        write_recipe("builtin", tmp_path / "other", tmp_path / "new")
