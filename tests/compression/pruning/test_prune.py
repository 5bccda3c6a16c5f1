"""A whole pruning: a bundle of ours to a smaller one, which runs, passes its own check and can be taught."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

import seetell
from seetell.bundle.check import run_check
from seetell.bundle.manifest import AnswerCalibration
from seetell.bundle.store import Bundle, open_bundle
from seetell.core.errors import GateFailed, UsageError
from seetell.learning.compression import footprint
from seetell.learning.compression.footprint import Footprint
from seetell.learning.compression.gate import Tolerance
from seetell.learning.compression.pruning.prune import Pruned, Pruning
from seetell.learning.compression.pruning.work import bundle_flops
from seetell.learning.compression.run import Result, compress
from seetell.learning.compression.settings import Settings
from seetell.learning.scenes import write_scenes
from seetell.learning.training.recipe import read_recipe
from seetell.learning.training.run import prepare, run
from seetell.media.preprocess import ImageSpec
from seetell.modeling.checkpoints.own import read_bundle_model
from seetell.modeling.checkpoints.run_folder import read_run
from seetell.modeling.export.write_bundle import write_bundle
from seetell.modeling.facts import BundleFacts
from seetell.modeling.models.unified import UnifiedModel
from seetell.runtime.select import choose_engine
from tests.compression.pruning.test_surgery import deep
from tests.compression.test_run import fingerprint, save_photos

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_clock")]
ANYTHING = Tolerance(200, relative=False)


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory, tokenizer_json: bytes, facts: BundleFacts) -> Bundle:
    """A tiny model of square photos, so that it can be taught; it ships neither labels nor masked words."""
    folder = tmp_path_factory.mktemp("whole") / "whole"
    told = facts.model_copy(
        update={
            "image": ImageSpec(height=32, width=32),
            "calibration": AnswerCalibration(answer_temperature=1.7, abstain_below=0.1),
        }
    )
    write_bundle(
        lambda: deep(image_size=[32, 32]),
        tokenizer_json,
        folder,
        told,
        without=("label_logits", "token_logits"),
    )
    return open_bundle(folder)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_photos(tmp_path_factory.mktemp("photos") / "photos")


@pytest.fixture(scope="module")
def pruned(whole: Bundle, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Result]:
    out = tmp_path_factory.mktemp("pruned") / "half"
    before = fingerprint(whole.folder)
    settings = Settings(calibration=photos, prune=Pruning(0.5, layers=1), quantize=False, tolerance=ANYTHING)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(footprint, "_in_process", lambda *_: Footprint({"image_encoder": 1.0}, 80.0))
        result = compress(whole, out, settings)
    assert fingerprint(whole.folder) == before
    return open_bundle(out), result


def test_it_is_a_smaller_dense_bundle_of_the_same_abilities(
    whole: Bundle, pruned: tuple[Bundle, Result]
) -> None:
    made, result = pruned
    made.verify(full=True)
    before, after = bundle_flops(whole), bundle_flops(made)
    # Half, as near below as one head or unit allows.
    assert 0.45 < sum(after.values()) / sum(before.values()) <= 0.5
    assert all(after[role] < before[role] for role in before)
    assert made.size_bytes < whole.size_bytes
    assert result.manifest == made.manifest
    assert made.manifest.tasks == whole.manifest.tasks
    assert made.manifest.score == whole.manifest.score
    assert set(made.manifest.graphs) == set(whole.manifest.graphs)
    assert not {"label_logits", "token_logits"} & {
        name for graph in made.manifest.graphs.values() for name in graph.outputs
    }
    depths = [made.manifest.config[part]["depth"] for part in ("image", "text", "fusion")]
    assert sum(depths) == 3 + 3 + 2 - 1


def test_its_graphs_agree_with_torch(pruned: tuple[Bundle, Result]) -> None:
    """With what torch gave for the check set when it was exported."""
    made, _ = pruned
    engine = choose_engine(made, precision="fp32", device="cpu")
    differences = run_check(made, engine)
    engine.close()
    assert {one.role for one in differences} == set(made.manifest.graphs)
    assert max(one.max_abs_diff for one in differences) < 1e-3


def test_every_task_runs(pruned: tuple[Bundle, Result]) -> None:
    made, _ = pruned
    photo = np.random.default_rng(0).integers(0, 256, (20, 40, 3), np.uint8)
    with seetell.load(made.folder, precision="fp32") as model:
        assert model.caption(photo, options=model.generation_options(max_tokens=6, beams=2)).text
        assert model.ask(photo, "two dogs?").answer in made.manifest.answers
        assert model.match(photo, ["a dog"])[0].probability is not None


def test_what_it_cost_is_written_down(whole: Bundle, pruned: tuple[Bundle, Result]) -> None:
    made, result = pruned
    told = json.loads((made.folder / "compression.json").read_text())
    assert told == result.document
    assert told["method"]["quantize"] is None
    cut = told["method"]["prune"]
    assert told["flops"] == {
        "before": sum(bundle_flops(whole).values()),
        "after": sum(bundle_flops(made).values()),
    }
    assert len(cut["layers_dropped"]) == 1
    assert sum(cut["estimated_cost"].values()) == pytest.approx(1, abs=0.01)
    gate = made.manifest.gate
    assert gate is not None and gate.passed and gate.worst_layer == next(iter(cut["estimated_cost"]))
    # Both are in floats, and the figures of the whole model say that they are from before.
    assert {row.precision for row in made.manifest.measurements} == {"fp32"}
    rows = [(row.metric, row.split) for row in made.manifest.measurements]
    assert len(rows) == len(set(rows))
    names = [metric for metric, split in rows if "before" not in split]
    assert 2 * len(names) == len(rows)
    # The caches of the decoder are others now, so the check set judges what reads photos and texts.
    judged = {name.split(".")[1] for name in names if name.startswith("check.")}
    assert judged == {"image_encoder", "text_encoder", "fusion_encoder"}
    card = (made.folder / "README.md").read_text()
    assert "Pruned: heads" in card and "of the arithmetic." in card
    assert card.startswith((whole.folder / "README.md").read_text().rstrip("\n"))


def test_what_loses_too_much_is_not_written(
    whole: Bundle,
    photos: Path,
    pruned: tuple[Bundle, Result],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def again(source: Bundle, folder: Path, *_: Any) -> Pruned:
        from seetell.learning.compression.calibration import Calibration

        shutil.copytree(pruned[0].folder, folder)
        costly = {"text_trunk.blocks.0.mlp": 0.75, "fusion.stack.blocks.0.mlp": 0.25}
        return Pruned(pruned[0], Pruning(0.5), {}, [], costly, Calibration())

    monkeypatch.setattr("seetell.learning.compression.pruning.prune.prune", again)
    settings = Settings(calibration=photos, prune=Pruning(0.5), quantize=False)
    with pytest.raises(GateFailed, match=r"by estimate text_trunk\.blocks\.0\.mlp costs most \(75% of"):
        compress(whole, tmp_path / "out", settings)
    assert list(tmp_path.iterdir()) == []


def test_it_can_be_taught_further(pruned: tuple[Bundle, Result], tmp_path: Path) -> None:
    """``init`` alone: the recipe says nothing of the model, which keeps its uneven blocks, and all learn."""
    made, _ = pruned
    write_scenes(tmp_path / "scenes", 12, seed=5)
    document = {
        "init": str(made.folder),
        "data": [{"format": "coco_captions", "path": str(tmp_path / "scenes"), "batch_size": 4}],
        "objectives": [{"name": "contrastive"}, {"name": "captioning"}, {"name": "matching"}],
        "precision": "fp32",
        "steps": 2,
        "checkpoint": {"dir": str(tmp_path / "run")},
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(document))
    recipe = read_recipe(tmp_path / "recipe.yaml")
    start = read_bundle_model(made.folder)
    begun = prepare(recipe).step.state_dict()
    for name, tensor in start.state_dict().items():
        # The bundle ships no labels, so no head for them is kept.
        if not name.startswith("label_head."):
            assert torch.equal(begun[f"model.{name}"], tensor), name
    run(recipe)
    taught = read_run(tmp_path / "run", use_ema=False).model
    assert isinstance(start, UnifiedModel) and taught.config.image == start.config.image
    assert taught.config.text == start.config.text and taught.config.fusion == start.config.fusion
    old = start.state_dict()
    moved = [name for name, tensor in taught.state_dict().items() if not torch.equal(tensor, old[name])]
    assert any(name.startswith("fusion.stack") for name in moved)


def test_a_share_of_the_time(
    whole: Bundle, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock that takes a third of a model's time for what does not shrink, a quarter of the time is more
    than a quarter of the arithmetic."""
    of_whole = sum(bundle_flops(whole).values())
    measured = set[Path]()

    def by_arithmetic(folder: Path, precision: str) -> Footprint:
        measured.add(folder)
        left = sum(bundle_flops(open_bundle(folder)).values()) / of_whole
        return Footprint({"image_encoder": 1 + 2 * left}, 80.0)

    monkeypatch.setattr(footprint, "_in_process", by_arithmetic)
    wish = Pruning(0.25, measure="latency")
    settings = Settings(calibration=photos, prune=wish, quantize=False, tolerance=ANYTHING)
    heard: list[str] = []
    result = compress(whole, tmp_path / "out", settings, say=heard.append)
    flops = result.document["flops"]
    left = flops["after"] / flops["before"]
    assert 0.7 < (1 + 2 * left) / 3 <= 0.75
    told = result.document["method"]["prune"]
    assert told["measure"] == "latency" and told["share"] == 0.25
    assert told["trials"][0]["left_out"] == 0.25 and told["trials"][0]["time"] > 0.75
    assert min(one["time"] for one in told["trials"]) <= 0.75
    assert sum("of the time" in line for line in heard) == len(told["trials"])
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    # A killed run leaves one of these, and the next one takes it for what it is: half written.
    trials = [folder.parent.name for folder in measured if folder.parent.name.startswith(".trial-")]
    assert len(trials) == len(told["trials"]) and all(name.endswith(".tmp") for name in trials)


def test_more_of_the_time_than_can_go(
    whole: Bundle, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(footprint, "_in_process", lambda *_: Footprint({"image_encoder": 3.0}, 80.0))
    settings = Settings(calibration=photos, prune=Pruning(0.5, measure="latency"), quantize=False)
    with pytest.raises(UsageError, match=r"--prune 0\.5: so much of the time cannot go; with \d+% of the"):
        compress(whole, tmp_path / "out", settings)
    assert list(tmp_path.iterdir()) == []


def test_tokens_merge(whole: Bundle, tmp_path: Path) -> None:
    """Of the 16 tokens of a photo three merge in each of three blocks, and no weight changes."""
    settings = Settings(merge_tokens=3, quantize=False, tolerance=ANYTHING)
    result = compress(whole, tmp_path / "out", settings)
    made = open_bundle(tmp_path / "out")
    made.verify(full=True)
    assert made.manifest.tasks == whole.manifest.tasks and made.manifest.score == whole.manifest.score
    told = result.document["method"]["merge_tokens"]
    assert told == {"in_every_block": 3, "image_tokens": {"before": 32 // 8 * 4, "after": 16 - 9}}
    before, after = bundle_flops(whole), bundle_flops(made)
    assert after["image_encoder"] < before["image_encoder"]
    assert after["decoder_memory"] * 16 == before["decoder_memory"] * 7
    old, new = (read_bundle_model(one.folder).state_dict() for one in (whole, made))
    assert all(torch.equal(tensor, new[name]) for name, tensor in old.items())
    engine = choose_engine(made, precision="fp32", device="cpu")
    differences = run_check(made, engine)
    engine.close()
    assert max(one.max_abs_diff for one in differences) < 1e-3
    # The same vectors, nearly: nothing but the attention among tokens much alike has changed.
    cosines = {row["metric"]: row["after"] for row in result.document["quality"]}
    assert cosines["check.image_encoder.image_embeds"] > 90
    assert cosines["check.text_encoder.text_embeds"] == 100
    photo = np.random.default_rng(0).integers(0, 256, (20, 40, 3), np.uint8)
    with seetell.load(made.folder, precision="fp32") as model:
        assert model.caption(photo, options=model.generation_options(max_tokens=6)).text
    with pytest.raises(UsageError, match="tiny merges tokens already"):
        compress(made, tmp_path / "again", settings)


def test_pruned_and_in_int8(whole: Bundle, photos: Path, tmp_path: Path) -> None:
    settings = Settings(calibration=photos, prune=Pruning(0.3), tolerance=ANYTHING)
    result = compress(whole, tmp_path / "out", settings)
    made = open_bundle(tmp_path / "out")
    made.verify(full=True)
    assert made.has_int8 and made.size_bytes < whole.size_bytes
    assert result.document["method"]["quantize"] == "int8"
    flops = result.document["flops"]
    assert flops["after"] <= 0.7 * flops["before"]
    assert all({"flops", "weights_bytes"} <= set(graph) for graph in result.document["graphs"].values())
    assert {row.precision for row in made.manifest.measurements} == {"fp32", "int8"}
    photo = np.random.default_rng(0).integers(0, 256, (20, 40, 3), np.uint8)
    with seetell.load(made.folder) as model:
        assert model.precision == "int8"
        assert model.caption(photo, options=model.generation_options(max_tokens=6)).text
