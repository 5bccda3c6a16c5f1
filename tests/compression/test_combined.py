"""The command as it is typed, with every stage real: pruned, taught again by a few steps, in int8."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import seetell
from seetell.bundle.manifest import GenerationDefaults
from seetell.bundle.store import Bundle, open_bundle
from seetell.cli.main import run
from seetell.learning.scenes import write_scenes
from seetell.media.preprocess import ImageSpec
from seetell.modeling.checkpoints.own import read_bundle_model
from seetell.modeling.export.write_bundle import write_bundle
from seetell.modeling.facts import BundleFacts
from tests.compression.pruning.test_surgery import deep
from tests.compression.test_run import fingerprint

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, tokenizer_json: bytes, facts: BundleFacts) -> Bundle:
    """A tiny model of square photos, so that it can be taught."""
    folder = tmp_path_factory.mktemp("whole") / "whole"
    short = GenerationDefaults(max_tokens=8)
    told = facts.model_copy(update={"image": ImageSpec(height=32, width=32), "generation": short})
    write_bundle(
        lambda: deep(image_size=[32, 32]),
        tokenizer_json,
        folder,
        told,
        without=("label_logits", "token_logits"),
    )
    return open_bundle(folder)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scenes to learn from, and a recipe that says nothing of model, teacher and place."""
    folder = tmp_path_factory.mktemp("data")
    write_scenes(folder / "scenes", 12, seed=5)
    document = {
        "data": [{"format": "coco_captions", "path": "scenes", "batch_size": 4}],
        "objectives": [
            {"name": "distil_affinity"},
            {"name": "distil_captioning", "temperature": 2},
            {"name": "distil_hidden"},
            {"name": "matching"},
        ],
        "precision": "fp32",
        "steps": 3,
        "ema": None,
        "trackers": [],
        "checkpoint": {"every": 1},
    }
    (folder / "recover.yaml").write_text(yaml.safe_dump(document))
    return folder


def words(whole: Bundle, data: Path, out: Path) -> list[str]:
    images = data / "scenes" / "images"
    return [
        *("compress", str(whole.folder), str(out), "--prune", "0.5", "--distill", str(data / "recover.yaml")),
        *("--quantize", "int8", "--calibration", str(images), "--calibration-count", "4"),
        *("--captions", str(data / "scenes" / "captions_train.json"), "--images", str(images)),
        *("--max-drop", "100", "--json"),
    ]


# Kills itself when the second step of the training has been saved.
KILLED = """
import os, signal, sys
from seetell.learning.training import loop
real = loop.checkpoints.save_checkpoint
def killing(folder, progress, *rest):
    path = real(folder, progress, *rest)
    if progress.step == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return path
loop.checkpoints.save_checkpoint = killing
from seetell.cli.main import run
sys.exit(run(sys.argv[1:]))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="signals of Linux")
def test_pruned_taught_again_and_in_int8_killed_in_training(
    whole: Bundle, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = fingerprint(whole.folder)
    out, work = tmp_path / "out", tmp_path / "out.stages"
    command = words(whole, data, out)
    killed = subprocess.run([sys.executable, "-c", KILLED, *command], capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert not out.exists() and (work / "run" / "checkpoints" / "step-0000002").is_dir()

    assert run(command) == 0
    printed = capsys.readouterr()
    assert "prune: done by the run before" in printed.err
    assert "going on from step 2 of 3" in printed.err
    told = json.loads(printed.out)
    assert [one["stage"] for one in told["stages"]] == ["source", "prune", "distil", "quantize"]
    assert told["method"]["distil"]["steps"] == 3 and told["method"]["distil"]["teacher"] == "tiny"
    assert told["flops"]["after"] <= 0.5 * told["flops"]["before"]
    assert {row["metric"] for row in told["quality"]} >= {"text_to_image.r10", "captions.bleu_4"}
    assert told["peak_memory_mb"]["after"] > 10
    assert all(graph["latency_ms"]["after"] > 0 for graph in told["graphs"].values())
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert fingerprint(whole.folder) == before

    made = open_bundle(out)
    made.verify(full=True)
    assert made.has_int8 and made.manifest.name == whole.manifest.name
    assert made.manifest.tasks == whole.manifest.tasks
    assert made.manifest.source.recipe == "recover.yaml, 3 steps"
    assert made.size_bytes < whole.size_bytes
    with seetell.load(out) as model:
        photo = data / "scenes" / "images" / "000000.png"
        assert model.precision == "int8"
        assert model.caption(photo, options=model.generation_options(max_tokens=6)).text


def test_what_is_taught_is_what_pruning_left(
    whole: Bundle, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Merged tokens, no int8: the weights are narrower than the source's, and the merging stays."""
    out = tmp_path / "out"
    command = [word for word in words(whole, data, out) if word not in ("--quantize", "int8")]
    assert run([*command, "--merge-tokens", "2", "--distill-set", "steps=2"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [one["stage"] for one in told["stages"]] == ["source", "prune", "merge", "distil"]
    assert told["method"]["distil"]["steps"] == 2
    made = open_bundle(out)
    assert made.manifest.config["image"]["merge_tokens"] == 2
    old, new = (read_bundle_model(one.folder).state_dict() for one in (whole, made))
    assert sum(one.numel() for one in new.values()) < sum(one.numel() for one in old.values())
