"""The log that is kept of a run says what the run's own log says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from benchmarks.training_log import main


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    recipe = {"steps": 50, "optimizer": {"lr": 0.1}, "data": [{"batch_size": 3}, {"batch_size": 4}]}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    rows = [
        {"step": step, "kind": "train", "loss": 9.0, "contrastive": float(step), "mfu": 0.5}
        for step in range(1, 51)
    ]
    rows.insert(25, {"step": 25, "kind": "validate", "flickr8k.en.text_to_image.r10": 12.5})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


def test_means_and_validations(run: Path, tmp_path: Path) -> None:
    main([str(tmp_path / "log"), f"first={run}", str(run)])
    first, second = json.loads((tmp_path / "log.json").read_text(encoding="utf-8"))
    assert (first["name"], second["name"]) == ("first", "run")
    assert (first["steps"], first["photos_a_step"], first["highest_rate"]) == (50, 7, 0.1)
    # The last one is of the ten steps that were left.
    assert first["train"] == [
        {"step": 20, "contrastive": 10.5},
        {"step": 40, "contrastive": 30.5},
        {"step": 50, "contrastive": 45.5},
    ]
    assert first["validate"] == [{"step": 25, "flickr8k.en.text_to_image.r10": 12.5}]


def test_the_plot_is_drawn_again_from_what_was_kept(run: Path, tmp_path: Path) -> None:
    main([str(tmp_path / "log"), f"first={run}"])
    main([str(tmp_path / "again"), "--from", str(tmp_path / "log.json")])
    assert (tmp_path / "again.svg").read_bytes() == (tmp_path / "log.svg").read_bytes()
    assert not (tmp_path / "again.json").exists()
    with pytest.raises(SystemExit):
        main([str(tmp_path / "log")])
